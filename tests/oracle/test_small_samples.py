"""Are equivalence, power and Holm's adjustment what SciPy and statsmodels compute?"""

from __future__ import annotations

import gc

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.statistics.equivalence import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Equivalence,
    equivalence,
)
from refers_bench.analysis.statistics.power import detectable, power
from refers_bench.analysis.statistics.significance import Refusal, holm


def test_holm_agrees_with_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels collects garbage in each call: minutes, all in all
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = list(np.round(rng.random(int(rng.integers(1, 20))) ** 3, int(rng.integers(1, 6))))
        expected = multitest.multipletests(values, method="holm")[1]
        assert holm(values) == pytest.approx(list(expected), abs=1e-12)


def test_equivalence_agrees_with_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = rng.normal(0.80, 0.004, size=int(rng.integers(2, 8)))
        margin = float(rng.uniform(0.002, 0.02))
        found = equivalence(list(values), 0.801, margin=margin)
        assert isinstance(found, Equivalence) and found.df == len(values) - 1
        above = stats.ttest_1samp(values, 0.801 - margin, alternative="greater").pvalue
        below = stats.ttest_1samp(values, 0.801 + margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(above, below), rel=1e-9)
        # The verdict from the interval is the one from the tests.
        assert (found.verdict == REPRODUCED) == (max(above, below) < 0.05)
        outside = max(
            stats.ttest_1samp(values, 0.801 + margin, alternative="greater").pvalue < 0.05,
            stats.ttest_1samp(values, 0.801 - margin, alternative="less").pvalue < 0.05,
        )
        assert (found.verdict == NOT_REPRODUCED) == outside


def test_equivalence_by_hand() -> None:
    found = equivalence([0.800, 0.801, 0.802], 0.801, margin=0.01)
    # Mean 0.801, SD 0.001, standard error 0.001 / sqrt(3), t at 95 % with 2 df 2.920.
    assert isinstance(found, Equivalence)
    assert (found.low, found.high) == pytest.approx((-0.0016858, 0.0016858), abs=1e-6)
    assert found.verdict == REPRODUCED
    far = equivalence([0.70, 0.701, 0.702], 0.801, margin=0.01)
    wide = equivalence([0.70, 0.80, 0.90], 0.801, margin=0.01)
    assert isinstance(far, Equivalence) and far.verdict == NOT_REPRODUCED
    assert isinstance(wide, Equivalence) and wide.verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.8], "has 1"), ([], "has 0"), ([0.8, 0.8], "zero variance"), ([0.8, float("nan")], "not finite")],
)
def test_no_equivalence_without_spread(values: list[float], reason: str) -> None:
    outcome = equivalence(values, 0.8)
    assert isinstance(outcome, Refusal) and reason in outcome.reason


def error(sd: float, n: int) -> float:
    """Standard error of the difference of two groups of n."""
    return float(sd * (2 / n) ** 0.5)


def test_power_agrees_with_statsmodels() -> None:
    weights = pytest.importorskip("statsmodels.stats.power")
    for n in (2, 3, 5, 10):
        for effect in (0.5, 1.0, 3.0):
            expected = weights.TTestIndPower().power(effect, nobs1=n, alpha=0.05)
            found = power(effect * 0.3, error=error(0.3, n), df=2 * n - 2)
            assert found == pytest.approx(expected, abs=1e-6)


def test_power_of_three_seeds() -> None:
    assert [round(power(d, error=error(1, 3), df=4), 2) for d in (1, 2, 3, 4)] == [0.16, 0.46, 0.78, 0.95]
    found = detectable(error=error(0.3, 3), df=4)
    assert power(found, error=error(0.3, 3), df=4) == pytest.approx(0.8, abs=1e-9)
    # As `stats.ttest_ind` finds it in simulated repetitions.
    rng = np.random.default_rng(0)
    p = stats.ttest_ind(rng.normal(found, 0.3, (20_000, 3)), rng.normal(0, 0.3, (20_000, 3)), axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("df", [1.2, 2.0, 3.0, 4.0, 6.0, 8.0, 18.0])
def test_power_grows_with_the_difference_and_is_never_without_a_value(df: float) -> None:
    """SciPy's distribution has holes at large shifts."""
    found = np.array([power(shift, error=1.0, df=df) for shift in np.linspace(0, 120, 1201)])
    assert found[0] == pytest.approx(0.05) and np.isfinite(found).all()
    assert (np.diff(found) > -1e-6).all() and found[-1] > 0.999
