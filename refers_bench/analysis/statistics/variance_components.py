"""Splits the variance of a run's AUC by source: what the seeds drew, their interactions, and the test sample.

Runs with crossed seeds are a balanced random-effects design with one run per combination: an AUC is a mean plus an
effect of each seed and of each combination of them. Mean squares give the variance of each effect without bias (ANOVA;
expected mean squares); an estimate can be negative, and counts as 0 in a share. The interaction of all seeds that vary
is also what is left over. What a source does on these test images alone is in its own part; the part of the test
sample is what all runs share when test patients are drawn anew.

Intervals are generalised ones: each mean square is divided by a drawn chi-square variable in place of its own. Measured
in `tests/oracle/test_variance_components.py` (nominal 95 %): they hold the true variance of a source in 94 to 99 % of
repetitions, its share in 91 to 99 %, and the mean in 95 to 99.9 %: they err on the wide side where a seed has two or
three levels.

Source: Searle, Casella and McCulloch, Variance Components, 1992, chapter 4; Weerahandi, JASA 88, 1993, and Hannig,
Iyer and Patterson, JASA 101, 2006 (generalised intervals); Bouthillier et al., MLSys 2021 (which sources a benchmark
has).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.statistics.seeds import without_spread
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.store.plan import CROSSED

INTERACTIONS, TEST = "interactions", "test"
#: Source of variance -> its words, in the order of a table.
SOURCES: Mapping[str, str] = {**CROSSED, INTERACTIONS: "interactions", TEST: "test sample"}
#: Name of the intervals, as it is printed.
GENERALISED = "ANOVA of a balanced random-effects design, generalised 95 % interval"
#: Draws of an interval.
DRAWS = 10_000
#: Why there is no part.
NOT_VARIED, NO_INTERACTION = "not varied", "fewer than two seeds vary"

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a source adds to the variance of a run's AUC.

    Attributes:
        variance: unbiased estimate, of AUCs in [0, 1]; may be negative.
        low: lower end of its 95 % interval, at least 0.
        high: upper end.
        share: of the variance of all sources, in [0, 1]; negative estimates count as 0.
        share_low: lower end of its 95 % interval.
        share_high: upper end.
        df: degrees of freedom of its mean square, or, of the test sample, of its error.
    """

    variance: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float
    df: float


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """The variance of a run's AUC by source.

    Attributes:
        parts: name in `SOURCES` -> its part.
        refusals: name -> why there is none.
        mean: over all runs, in [0, 1].
        low: lower end of the 95 % interval of the mean over all seeds that could be drawn, on these test images.
        high: upper end.
        runs: how many.
    """

    parts: Mapping[str, Part]
    refusals: Mapping[str, str]
    mean: float
    low: float
    high: float
    runs: int

    @property
    def largest(self) -> str:
        """The source with the largest part."""
        return max(self.parts, key=lambda name: self.parts[name].variance)


@dataclass(frozen=True, kw_only=True)
class TestVariance:
    """Variance that all runs share over test images, or patients, and its degrees of freedom."""

    __test__ = False
    variance: float
    df: float


def variance_components(values_SIO: npt.ArrayLike, test: TestVariance | Refusal) -> VarianceComponents | Refusal:
    """The parts of crossed seeds, and of the test sample where that is known.

    Args:
        values_SIO: AUC of each label subset, initialisation and data order, in [0, 1].
        test: of the test sample, or why it is not known.

    Raises:
        ValueError: not three axes, or a value that is not finite.
    """
    values = np.asarray(values_SIO, float)
    if values.ndim != len(CROSSED) or not np.isfinite(values).all():
        raise ValueError(f"finite AUCs by {', '.join(CROSSED)}, got an array of shape {values.shape}")
    varied = {axis: name for axis, name in enumerate(CROSSED) if values.shape[axis] > 1}
    if not varied:
        return Refusal(reason="a single run")
    if without_spread(values.ravel().tolist()):
        return Refusal(reason="zero variance over seeds")
    effects = [some for size in range(1, len(varied) + 1) for some in combinations(varied, size)]
    df_E = np.array([np.prod([values.shape[axis] - 1 for axis in effect]) for effect in effects], float)
    squares_E, to_components_EE = _sums_of_squares(values, effects), _solution(values.shape, effects)
    rng = np.random.default_rng(identity.seed("variance-components", *values.shape))
    drawn_BE = squares_E / rng.chisquare(df_E, size=(DRAWS, len(effects))) @ to_components_EE.T
    estimate_E = to_components_EE @ (squares_E / df_E)
    # Of each source: the estimate, then the draws.
    all_BE = np.concatenate([estimate_E[None], drawn_BE])
    sources = {name: (all_BE[:, effects.index((axis,))], values.shape[axis] - 1.0) for axis, name in varied.items()}
    refusals = {name: NOT_VARIED for name in CROSSED if name not in sources}
    if len(varied) > 1:
        several = [len(effect) > 1 for effect in effects]
        sources[INTERACTIONS] = (all_BE[:, several].sum(axis=1), float(df_E[several].sum()))
    else:
        refusals[INTERACTIONS] = NO_INTERACTION
    if isinstance(test, Refusal):
        refusals[TEST] = test.reason
    else:
        pivot_B = test.variance * test.df / rng.chisquare(test.df, DRAWS)
        sources[TEST] = (np.concatenate([[test.variance], pivot_B]), test.df)
    # The variance of the mean over all runs: each effect is averaged over its own levels.
    levels_E = [float(np.prod([values.shape[axis] for axis in effect])) for effect in effects]
    se_B = np.sqrt(np.maximum(0.0, (drawn_BE / levels_E).sum(axis=1)))
    mean = float(values.mean())
    low, high = np.quantile(mean + se_B * rng.standard_normal(DRAWS), (0.025, 0.975))
    return VarianceComponents(
        parts=_parts(sources), refusals=refusals, mean=mean, low=float(low), high=float(high), runs=values.size
    )


def _sums_of_squares(values: _Floats, effects: list[tuple[int, ...]]) -> _Floats:
    """Sum of squares of each effect over all runs."""
    found = []
    for effect in effects:
        own = np.zeros(())
        for size in range(len(effect) + 1):
            for kept in combinations(effect, size):
                others = tuple(axis for axis in range(values.ndim) if axis not in kept)
                own = own + (-1) ** (len(effect) - size) * values.mean(axis=others, keepdims=True)
        found.append(float((np.broadcast_to(own, values.shape) ** 2).sum()))
    return np.array(found)


def _solution(shape: tuple[int, ...], effects: list[tuple[int, ...]]) -> _Floats:
    """Weights of the mean squares in the variance of each effect (E, E).

    The expected mean square of an effect is the sum, over all effects that contain it, of their variances times the
    runs of one of their levels; solved for the variances, the signs of the mean squares alternate.
    """
    weights_EE = np.zeros((len(effects), len(effects)))
    for row, effect in enumerate(effects):
        runs = np.prod(shape) / np.prod([shape[axis] for axis in effect])
        for column, other in enumerate(effects):
            if set(effect) <= set(other):
                weights_EE[row, column] = (-1) ** (len(other) - len(effect)) / runs
    return weights_EE


def _parts(sources: Mapping[str, tuple[_Floats, float]]) -> dict[str, Part]:
    """Each source's part, from its estimate with the draws that follow it, in the order of `SOURCES`."""
    cut = {name: np.maximum(0.0, variance_B) for name, (variance_B, _) in sources.items()}
    total_B = np.maximum(np.sum(list(cut.values()), axis=0), np.finfo(float).tiny)
    found = {}
    for name in (name for name in SOURCES if name in sources):
        (variance_B, df), share_B = sources[name], cut[name] / total_B
        (low, high), (share_low, share_high) = (
            np.quantile(one_B[1:], (0.025, 0.975)) for one_B in (cut[name], share_B)
        )
        found[name] = Part(
            variance=float(variance_B[0]),
            low=float(low),
            high=float(high),
            share=float(share_B[0]),
            share_low=float(share_low),
            share_high=float(share_high),
            df=df,
        )
    return found
