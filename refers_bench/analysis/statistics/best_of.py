"""Tests one row against the best of several, with the choice of the best accounted for in both directions.

The best of several equal rows lies above their mean by chance. A two-sided t-test against it, as if it had been named
beforehand, therefore finds "lower" too often and "higher" too seldom. The two directions ask different questions:

* Higher than all others: true only if it is higher than each, so the largest of the one-sided P-values is one for it,
  whichever is largest, without any correction (intersection-union test; Berger, Technometrics 24, 1982).
* Lower than the best of the others: true if it is lower than any, so the largest of the t statistics is compared with
  its own distribution when all seeds' values are dealt to the rows anew (max-t permutation test; Westfall and Young,
  Resampling-Based Multiple Testing, 1993). Its null hypothesis is that seeds of all rows have one distribution; where
  some of the others are worse, it errs towards fewer findings.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.statistics.significance import Refusal, TTest, t_test

#: Names of the tests, as they are printed.
HIGHER = "largest one-sided P of the t-tests against each other row (intersection-union)"
LOWER = "max-t permutation test over all other rows, one-sided"
#: Deals of the seeds' values to the rows.
PERMUTATIONS = 9999

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """One row against several.

    Attributes:
        n: seeds of the row.
        others: seeds of each other row.
        df: degrees of freedom of the t-test that gave `p_higher`.
        p_higher: one-sided P-value for "higher than all others"; test: `HIGHER`.
        p_lower: one-sided P-value for "lower than the best of the others"; test: `LOWER`, or of one other row alone
            the one-sided t-test, where nothing was chosen.
        permutations: that `p_lower` rests on; 0 for none.
    """

    n: int
    others: tuple[int, ...]
    df: float
    p_higher: float
    p_lower: float
    permutations: int

    @property
    def p(self) -> float:
        """Two-sided: twice the smaller of the two, at most 1."""
        return min(1.0, 2 * min(self.p_higher, self.p_lower))


# Several tables ask for the same.
@functools.lru_cache(maxsize=10_000)
def best_of(values: tuple[float, ...], others: tuple[tuple[float, ...], ...], welch: bool = False) -> BestOf | Refusal:
    """One row against the best of some others, over seeds.

    Refused where `t_test` against any of the others is.

    Args:
        values: one mean AUC per seed.
        others: the same of each other row, at least one.
        welch: whether the t-tests take variances as unequal; the permutation test is one of equal distributions.
    """
    tests = [t_test(values, other, welch=welch) for other in others]
    for test in tests:
        if isinstance(test, Refusal):
            return test
    largest = max((test for test in tests if isinstance(test, TTest)), key=lambda test: test.p_higher)
    alone = len(others) == 1
    return BestOf(
        n=len(values),
        others=tuple(map(len, others)),
        df=largest.df,
        p_higher=largest.p_higher,
        p_lower=1 - largest.p_higher if alone else max_t(values, others),
        permutations=0 if alone else PERMUTATIONS,
    )


def max_t(values: tuple[float, ...], others: tuple[tuple[float, ...], ...]) -> float:
    """P-value for "lower than the best of the others", by permutation.

    The statistic is the largest t of the others minus the row, with the variance pooled over all rows.

    Args:
        values: of the row, one per seed, two or more.
        others: of each other row, two or more each.
    """
    sizes = (len(values), *map(len, others))
    observed = np.array([value for group in (values, *others) for value in group])
    statistic = _largest_t(observed[None], sizes)[0]
    dealt_B = _largest_t(observed[_deals(len(observed))], sizes)
    # Rounding must not make a deal that equals the observed one smaller.
    reached = int((dealt_B >= statistic - 1e-9 * max(1.0, abs(statistic))).sum())
    return (1 + reached) / (1 + PERMUTATIONS)


# The same for every column with as many seeds.
@functools.lru_cache(maxsize=8)
def _deals(count: int) -> npt.NDArray[np.intp]:
    """Orders (`PERMUTATIONS`, count) of so many values."""
    rng = np.random.default_rng(identity.seed("max-t", str(count)))
    orders: npt.NDArray[np.intp] = rng.permuted(np.tile(np.arange(count), (PERMUTATIONS, 1)), axis=1)
    return orders


def _largest_t(values_BN: _Floats, sizes: tuple[int, ...]) -> _Floats:
    groups = np.split(values_BN, np.cumsum(sizes)[:-1], axis=1)
    means_GB = np.array([group.mean(axis=1) for group in groups])
    within_B = sum(((group - group.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for group in groups)
    pooled_B = np.sqrt(within_B / (sum(sizes) - len(sizes)))
    widths = np.array([math.sqrt(1 / size + 1 / sizes[0]) for size in sizes[1:]])
    # A deal without any spread within its rows has no t; it is as far out as a deal can be.
    with np.errstate(divide="ignore", invalid="ignore"):
        t_GB = (means_GB[1:] - means_GB[0]) / (pooled_B * widths[:, None])
    largest_B: _Floats = np.nan_to_num(t_GB.max(axis=0), nan=0.0)
    return largest_B
