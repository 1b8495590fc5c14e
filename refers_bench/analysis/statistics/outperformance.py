"""Computes the probability that a run of one method beats a run of another, and that a bold figure is not the best row.

P(A > B) is the share of draws in which the mean AUC of A lies above that of B, ties counted as one half: a draw takes
one pair of seeds and one test set, drawn with replacement by units. Its interval repeats this on drawn pairs of seeds
and test sets. It answers another question than a test of means: how often does one run of A beat one of B?

The probability of false outperformance is that some other row of a column has a higher true mean AUC, over seeds and
test images, than the row with the highest figure. It is a posterior probability with flat priors: a row's true mean
lies about its figure with a t error of the seeds, whose variance is pooled over rows, and with the error of the test
images, which all rows share. Seeds of different rows are taken as independent.

What a test set does to one seed and not to another shows in the spread over seeds and again in the draws of the test
set. It is taken out of the former (components of variance of a crossed design), and counts once.

Measured in `tests/oracle/test_outperformance.py`: the interval of P(A > B) holds the truth in 97 % of repetitions with
3 seeds and with 10 (nominal 95 %). Of bold rows among four of three seeds each, 26 % are said to be false and 24 % are;
where the rows lie twice as far apart, 14 and 13 %.

Source: Bouthillier et al., MLSys 2021 (probability of outperformance over seeds and test sets; 0.75 as what matters).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.statistics.auc import places
from refers_bench.analysis.statistics.placements import Units, class_errors
from refers_bench.analysis.statistics.resampling import unit_weights
from refers_bench.analysis.statistics.significance import Refusal

#: P(A > B) from which on a difference matters in practice.
MEANINGFUL = 0.75

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outperformance:
    """P(A > B) with its 95 % interval.

    Attributes:
        p: share of draws in which A lies above B, in [0, 1].
        low: lower end.
        high: upper end.
        pairs: of seeds.
    """

    p: float
    low: float
    high: float
    pairs: int

    @property
    def significant(self) -> bool:
        """Whether the interval lies above one half: A beats B more often than not."""
        return self.low > 0.5

    @property
    def meaningful(self) -> bool:
        """Whether A beats B significantly, and may do so as often as `MEANINGFUL`."""
        return self.significant and self.high > MEANINGFUL


@dataclass(frozen=True, kw_only=True)
class FalseOutperformance:
    """How far the row with the highest figure may be trusted to be the best.

    Attributes:
        row: with the highest mean AUC.
        p: probability that another row is truly better, in [0, 1].
        best: row -> probability that it is truly the best; they add up to 1.
        df: degrees of freedom of the spread over seeds.
    """

    row: str
    p: float
    best: Mapping[str, float]
    df: int


def mean_auc_draws(labels_NK: npt.ArrayLike, scores_RNK: npt.ArrayLike, units: Units) -> _Floats:
    """Mean AUC of R runs on the test set as it is, and on each draw of it: (R, 1 + `DRAWS`).

    A draw's AUC is taken to first order, from the placements of its units. The mean is over the classes with an AUC.

    Args:
        labels_NK: 1 positive, 0 negative; anything else is left out.
        scores_RNK: of each run on the same images.
        units: of the N images.

    Raises:
        ValueError: no class has an AUC, or a score of a labelled image is NaN.
    """
    labels, scores = np.asarray(labels_NK), np.asarray(scores_RNK)
    found = [class_errors(labels[:, k], scores[:, :, k], units) for k in range(labels.shape[1])]
    defined = [one for one in found if not np.isnan(one.auc_M).any()]
    if not defined:
        raise ValueError("no class has positive and negative test images")
    errors_RU = np.zeros((len(scores), units.count))
    for one in defined:
        for group in one.groups:
            group.add_to(errors_RU)
    mean_R = np.mean([one.auc_M for one in defined], axis=0)
    # Errors of a group add up to 0, so that the test set as it is keeps its figure but for rounding.
    draws_RB = mean_R[:, None] + errors_RU @ (unit_weights(units.count).T - 1.0) / len(defined)
    return np.asarray(draws_RB)


def outperformance(first_SB: npt.ArrayLike, second_SB: npt.ArrayLike) -> Outperformance | Refusal:
    """P(A > B) of runs that are paired by seed.

    Args:
        first_SB: mean AUC of each seed of A, on the test set as it is and on draws of it, see `mean_auc_draws`.
        second_SB: of B, seed for seed and draw for draw.

    Raises:
        ValueError: they have different numbers of draws.
    """
    first, second = np.asarray(first_SB, float), np.asarray(second_SB, float)
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"draws {first.shape} and {second.shape} do not fit")
    if len(first) != len(second):
        return Refusal(reason=f"runs are paired by seed, there are {len(first)} and {len(second)}")
    if len(first) < 2:
        return Refusal(reason=f"needs at least two pairs of seeds, has {len(first)}")
    difference_SB = first - second
    spread_S, moves_SB = difference_SB[:, 0] - difference_SB[:, 0].mean(), _moves(difference_SB)
    squares = float(spread_S @ spread_S)
    kept = np.sqrt(_seeds_own(difference_SB) / squares) if squares > 0 else 0.0
    drawn_SB = (difference_SB[:, 0].mean() + kept * spread_S)[:, None] + moves_SB
    # The whole is repeated with each drawn test set in place of the real one: all differences move by what it adds.
    shares_SB = np.stack([_share(own_B, moved_B) for own_B, moved_B in zip(drawn_SB, moves_SB, strict=True)])
    pairs, draws = drawn_SB.shape
    rng = np.random.default_rng(identity.seed("outperformance", pairs, draws))
    times_SB = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=draws).T
    low, high = np.quantile((shares_SB * times_SB).sum(axis=0) / pairs, (0.025, 0.975))
    p = np.mean([_share(own_B, np.zeros(1))[0] for own_B in drawn_SB])
    return Outperformance(p=float(p), low=float(low), high=float(high), pairs=pairs)


def _moves(difference_SB: _Floats) -> _Floats:
    return difference_SB[:, 1:] - difference_SB[:, :1]


def _seeds_own(values_SB: _Floats) -> float:
    """Sum of squares over seeds, without what the test images do to each of them alone."""
    moves_SB = _moves(values_SB)
    images = float(((moves_SB - moves_SB.mean(axis=0)) ** 2).sum(axis=0).mean())
    return max(0.0, float(((values_SB[:, 0] - values_SB[:, 0].mean()) ** 2).sum()) - images)


def _share(drawn_B: _Floats, moved_C: _Floats) -> _Floats:
    """Share of draws that lie above 0 when all are moved, ties counted as one half: (C,)."""
    ordered_B = np.sort(drawn_B)
    below_C, not_above_C = places(-moved_C, ordered_B)
    return 1 - (below_C + not_above_C) / (2 * len(ordered_B))


def false_outperformance(rows: Mapping[str, npt.ArrayLike]) -> FalseOutperformance | Refusal:
    """How likely it is that the row with the highest mean AUC is not the best of a column.

    Args:
        rows: name -> mean AUC of each seed, on the test set as it is and on draws of it, see `mean_auc_draws`; two rows
            or more on the same draws.
    """
    draws = {name: np.atleast_2d(np.asarray(one, float)) for name, one in rows.items()}
    if len(draws) < 2:
        return Refusal(reason="there is no other row")
    seeds = np.array([len(one) for one in draws.values()])
    df = int((seeds - 1).sum())
    if seeds.min() < 2:
        return Refusal(reason="a row of one seed has no spread over seeds")
    means_M = np.array([one[:, 0].mean() for one in draws.values()])
    images_MB = np.stack([_moves(one).mean(axis=0) for one in draws.values()])
    variance = sum(map(_seeds_own, draws.values())) / df
    rng = np.random.default_rng(identity.seed("false-outperformance", len(draws), images_MB.shape[1]))
    sd_B = np.sqrt(variance * df / rng.chisquare(df, images_MB.shape[1]))
    seeds_MB = rng.standard_normal(images_MB.shape) * sd_B / np.sqrt(seeds)[:, None]
    true_MB = means_M[:, None] + images_MB + seeds_MB
    best_MB = true_MB == true_MB.max(axis=0)
    share_M = (best_MB / best_MB.sum(axis=0)).mean(axis=1)
    top = int(np.argmax(means_M))
    return FalseOutperformance(
        row=list(draws)[top], p=float(1 - share_M[top]), best=dict(zip(draws, share_M.tolist(), strict=True)), df=df
    )
