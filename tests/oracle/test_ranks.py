"""Is Friedman's test scipy's, and Nemenyi's critical difference the tabulated one?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, studentized_range

from refers_bench.analysis.statistics.ranks import Ranks, range_quantile, ranks
from refers_bench.analysis.statistics.significance import Refusal


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys(ties: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.random((6, 5))
        values = np.round(values, 1) if ties else values
        found = ranks(values)
        expected = friedmanchisquare(*values.T)
        assert isinstance(found, Ranks)
        assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(("methods", "quantile"), [(3, 2.343), (5, 2.728), (9, 3.102), (10, 3.164)])
def test_critical_difference_is_demsars(methods: int, quantile: float) -> None:
    """Quantiles of Demsar's Table 5."""
    found = ranks(np.random.default_rng(1).random((12, methods)))
    assert isinstance(found, Ranks)
    assert found.critical == pytest.approx(quantile * math.sqrt(methods * (methods + 1) / 72), abs=2e-3)


@pytest.mark.parametrize("methods", [2, 3, 7, 20, 100])
def test_quantiles_of_the_range_are_scipys(methods: int) -> None:
    for share in (0.5, 0.9, 0.95, 0.999):
        expected = studentized_range.ppf(share, methods, np.inf)
        assert range_quantile(share, methods) == pytest.approx(expected, abs=1e-9)


def test_best_has_rank_one() -> None:
    found = ranks([[0.9, 0.8, 0.7], [0.9, 0.7, 0.7]])
    assert isinstance(found, Ranks) and found.mean_M.tolist() == [1.0, 2.25, 2.75]


@pytest.mark.parametrize("values", [[[0.1, 0.2]], [[0.1, 0.2, 0.3]], [[0.5] * 3] * 3, [[0.1, 0.2, math.nan]] * 2])
def test_refusals(values: list[list[float]]) -> None:
    assert isinstance(ranks(values), Refusal)
