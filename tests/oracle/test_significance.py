"""Are the t-tests the ones SciPy computes?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.statistics.significance import TTest, holm, t_test


@pytest.mark.parametrize("welch", [False, True], ids=["pooled", "welch"])
def test_agrees_with_scipy(welch: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        first = rng.normal(0.8, 0.01, size=int(rng.integers(2, 8)))
        second = rng.normal(0.78, 0.03, size=int(rng.integers(2, 8)))
        found = t_test(list(first), list(second), welch=welch)
        expected = stats.ttest_ind(first, second, equal_var=not welch)
        assert isinstance(found, TTest)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.t == pytest.approx(expected.statistic, rel=1e-9)
        assert found.df == pytest.approx(expected.df, rel=1e-9)
        low, high = expected.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_detectable_difference_has_the_power_it_claims() -> None:
    # Two-sided test at 0.05, n = 3 and 3: power of the detectable difference, by the non-central t distribution.
    found = t_test([0.80, 0.81, 0.82], [0.70, 0.71, 0.72])
    assert isinstance(found, TTest)
    standard_error = found.difference / found.t
    critical = stats.t.ppf(0.975, 4)
    assert 1 - stats.nct.cdf(critical, 4, found.detectable / standard_error) == pytest.approx(0.8, abs=1e-6)


def test_hedges_g_by_hand() -> None:
    # Difference 0.1, pooled SD 0.01, correction 1 - 3 / (4 * 4 - 1) = 0.8.
    found = t_test([0.80, 0.81, 0.82], [0.70, 0.71, 0.72])
    assert isinstance(found, TTest) and found.hedges_g == pytest.approx(8.0)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, None, 0.03]) == pytest.approx([0.06, 0.03, None, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
