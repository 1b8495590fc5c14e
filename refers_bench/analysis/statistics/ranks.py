"""Do methods differ over several targets at once (Friedman's test), and by how many ranks must two of them (Nemenyi)?

Source: Demsar, Journal of Machine Learning Research 7, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.significance import Refusal

FRIEDMAN = "Friedman's test on the ranks of the methods, chi-squared approximation"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranks:
    """Mean ranks of methods over targets; rank 1 has the highest AUC, ties share the mean of their ranks.

    Attributes:
        mean_M: mean rank of each method.
        n_targets: targets.
        statistic: Friedman's chi-squared, corrected for ties.
        df: methods minus 1.
        p: its P-value.
        critical: two methods whose mean ranks differ by less are not told apart at 5 % (Nemenyi).
    """

    mean_M: npt.NDArray[np.float64]
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
    # scipy.stats takes seconds to import; its distribution functions live in scipy.special.
    from scipy.special import chdtrc

    values = np.asarray(auc_TM, np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3:
        return Refusal(reason=f"needs three methods on two targets, has {values.shape[-1]} on {values.shape[0]}")
    if np.isnan(values).any():
        return Refusal(reason="a figure is missing")
    targets, methods = values.shape
    rank_TM = _ranked(values)
    mean_M = rank_TM.mean(axis=0)
    centre = (methods + 1) / 2
    spread = ((rank_TM - centre) ** 2).sum() / (targets * (methods - 1))
    if not spread:
        return Refusal(reason="all methods tie on every target")
    statistic = float(targets * ((mean_M - centre) ** 2).sum() / spread)
    quantile = range_quantile(1 - ALPHA, methods) / math.sqrt(2)
    return Ranks(
        mean_M=mean_M,
        n_targets=targets,
        statistic=statistic,
        df=methods - 1,
        p=float(chdtrc(methods - 1, statistic)),
        critical=quantile * math.sqrt(methods * (methods + 1) / (6 * targets)),
    )


def _ranked(values_TM: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rank of every method on its target, 1 for the highest; ties share the mean of their ranks."""
    above = (values_TM[:, None, :] > values_TM[:, :, None]).sum(axis=2)
    level = (values_TM[:, None, :] == values_TM[:, :, None]).sum(axis=2)
    return np.asarray(above + (level + 1) / 2, np.float64)


def range_quantile(share: float, methods: int) -> float:
    """Quantile of the range of so many standard normal values (the studentised range, infinite degrees of freedom).

    Example:
        >>> round(range_quantile(0.95, 3), 4)
        3.3145
    """
    from scipy.special import ndtr

    x = np.linspace(-9.0, 9.0, 4001)
    # The lowest value lies at x, the others within the range above it.
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    below = ndtr(x)
    low, high = 0.0, 18.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = methods * float((density * (ndtr(x + middle) - below) ** (methods - 1)).sum() * (x[1] - x[0]))
        low, high = (middle, high) if reached < share else (low, middle)
    return high
