"""Is Friedman's test scipy's, and Nemenyi's critical difference the tabulated one?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from refers_bench.analysis.statistics.ranks import Ranks, ranks
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


@pytest.mark.parametrize("methods", [3, 7, 20, 100])
def test_critical_difference_is_the_quantile_of_the_range_by_simulation(methods: int) -> None:
    """The range of so many normal values exceeds the quantile in 5 of 100 of 20,000 draws, up to chance."""
    found = ranks(np.random.default_rng(2).random((12, methods)))
    assert isinstance(found, Ranks)
    quantile = found.critical * math.sqrt(2) / math.sqrt(methods * (methods + 1) / 72)
    spans = np.ptp(np.random.default_rng(3).normal(size=(20_000, methods)), axis=1)
    assert (spans > quantile).mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 20_000))


def test_best_has_rank_one() -> None:
    found = ranks([[0.9, 0.8, 0.7], [0.9, 0.7, 0.7]])
    assert isinstance(found, Ranks) and list(found.means) == [1.0, 2.25, 2.75]


@pytest.mark.parametrize("values", [[[0.1, 0.2]], [[0.1, 0.2, 0.3]], [[0.5] * 3] * 3, [[0.1, 0.2, math.nan]] * 2])
def test_refusals(values: list[list[float]]) -> None:
    assert isinstance(ranks(values), Refusal)
