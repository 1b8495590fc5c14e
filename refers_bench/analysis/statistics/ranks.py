"""Tests whether methods differ over several targets (Friedman), and by how many ranks two must differ (Nemenyi).

Source: Demsar, Journal of Machine Learning Research 7, 2006.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.significance import Refusal

FRIEDMAN = "Friedman's test on the ranks of the methods, chi-squared approximation"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Mean ranks of methods over targets; rank 1 has the highest AUC, ties share the mean of their ranks.

    Attributes:
        means: mean rank of each method.
        n_targets: targets.
        statistic: Friedman's chi-squared, corrected for ties.
        df: methods minus 1.
        p: its P-value.
        critical: two methods whose mean ranks differ by less are not told apart at 5 % (Nemenyi).
    """

    means: tuple[float, ...]
    n_targets: int
    statistic: float
    df: int
    p: float
    critical: float
    test: str = FRIEDMAN


def ranks(auc_TM: npt.ArrayLike) -> Ranks | Refusal:
    """Compare M methods on T targets.

    Args:
        auc_TM: one mean AUC per target and method, no NaN.
    """
    # Takes seconds to import, and only this report needs it.
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    values = np.asarray(auc_TM, np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3:
        return Refusal(reason=f"needs three methods on two targets, has {values.shape[-1]} on {values.shape[0]}")
    if np.isnan(values).any():
        return Refusal(reason="a figure is missing")
    if (values == values[:, :1]).all():
        return Refusal(reason="all methods tie on every target")
    targets, methods = values.shape
    found = friedmanchisquare(*values.T)
    quantile = float(studentized_range.ppf(1 - ALPHA, methods, np.inf)) / math.sqrt(2)
    return Ranks(
        means=tuple(rankdata(-values, axis=1).mean(axis=0).tolist()),
        n_targets=targets,
        statistic=float(found.statistic),
        df=methods - 1,
        p=float(found.pvalue),
        critical=quantile * math.sqrt(methods * (methods + 1) / (6 * targets)),
    )
