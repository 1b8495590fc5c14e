"""Aggregates the AUCs of one row over several columns: mean, median, interquartile mean, and performance profile.

The mean and the median are over columns, of the mean over seeds. The interquartile mean (IQM) is that of the middle
half of all runs, columns and seeds together: a single easy or hard column moves it less than the mean, and it uses
more runs than the median. A performance profile is the share of runs above each of some thresholds.

Intervals take seeds as drawn, column by column (stratified bootstrap); columns are fixed, and so are test images. Of n
seeds n - 1 are drawn, which makes the variance that of few seeds, too small by (n - 1) / n where n are drawn; and the
standard error of the draws is taken with the t distribution. Its degrees of freedom are Satterthwaite's over columns;
those of the median are of the one or two columns in the middle, which alone decide it.

Coverage of the nominal 95 %, measured in `tests/oracle/test_aggregates.py` on 3 to 27 columns of three and five seeds:
93 to 98 %, the median up to 100 %.

Source: Agarwal et al., NeurIPS 2021 (IQM, stratified bootstrap, performance profiles); Rao and Wu, Journal of the
American Statistical Association 83, 1988 (draws of n - 1 within strata).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.resampling import interval
from refers_bench.analysis.statistics.significance import Refusal

#: Draws of the seeds of all columns.
DRAWS = 2000
#: Names of the aggregates.
MEAN, MEDIAN, IQM = "mean", "median", "interquartile mean"
#: Name of the interval, as it is printed.
BOOTSTRAP = (
    f"stratified bootstrap over seeds, {DRAWS:,} draws of n - 1 of the n seeds of each column, standard error with the "
    "t distribution, on the logit scale"
)

_Floats = npt.NDArray[np.float64]


def interquartile_mean(values: npt.ArrayLike) -> _Floats:
    """Mean of the middle half along the last axis: of N values the N // 4 lowest, and as many highest, are left out.

    Example:
        >>> float(interquartile_mean([0.0, 0.6, 0.8, 9.0]))
        0.7
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def aggregates(columns: Sequence[Sequence[float]]) -> Mapping[str, Interval] | Refusal:
    """Aggregates of one row with their 95 % intervals; se is 0 where there is no spread, or one seed.

    Args:
        columns: AUC of each seed, in [0, 1], column by column.
    """
    if len(columns) < 2:
        return Refusal(reason="there are fewer than two columns")
    if len(set(map(len, columns))) > 1:
        return Refusal(reason="its columns have different numbers of seeds")
    runs_CN = np.asarray(columns, np.float64)
    count, seeds = runs_CN.shape
    places = np.zeros((0, count, 1), np.int64)
    if seeds > 1:
        rng = np.random.default_rng(identity.seed("aggregates", count, seeds))
        places = rng.integers(seeds, size=(DRAWS, count, seeds - 1))
    drawn_BCN = np.take_along_axis(np.broadcast_to(runs_CN, (len(places), count, seeds)), places, axis=2)
    found = {}
    for (name, whole), drawn_B in zip(_figures(runs_CN).items(), _figures(drawn_BCN).values(), strict=True):
        figures_B = np.append(whole, drawn_B)
        no_interval = Interval(estimate=float(whole), low=float(whole), high=float(whole), se=0.0, df=0.0)
        # Rounding leaves a spread of some 1e-17 where seeds have none.
        spread = seeds > 1 and float(drawn_B.std()) > 1e-12
        found[name] = interval(figures_B, df=_freedom(runs_CN, name)) if spread else no_interval
    return found


def _figures(runs: _Floats) -> dict[str, _Floats]:
    """The aggregates of runs (..., C, N)."""
    means = runs.mean(axis=-1)
    pooled = runs.reshape(*runs.shape[:-2], runs.shape[-2] * runs.shape[-1])
    return {MEAN: means.mean(axis=-1), MEDIAN: np.median(means, axis=-1), IQM: interquartile_mean(pooled)}


def _freedom(runs_CN: _Floats, name: str) -> float:
    """Degrees of freedom: of a median those of the columns in the middle, else Satterthwaite's of a mean."""
    count, seeds = runs_CN.shape
    if name == MEDIAN:
        return float((seeds - 1) * (1 if count % 2 else 2))
    variances = runs_CN.var(axis=1, ddof=1)
    return float(variances.sum() ** 2 / (variances**2).sum() * (seeds - 1))


def profile(columns: Sequence[Sequence[float]], thresholds: npt.ArrayLike) -> _Floats:
    """Share of runs whose AUC lies above each threshold; every column counts alike, whatever its number of seeds."""
    above = [(np.asarray(one)[:, None] > np.asarray(thresholds)).mean(axis=0) for one in columns]
    return np.asarray(np.mean(above, axis=0))
