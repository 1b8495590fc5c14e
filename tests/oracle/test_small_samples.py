"""Are equivalence, power and Holm's adjustment what SciPy and statsmodels compute?"""

from __future__ import annotations

import gc

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.equivalence import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Equivalence, equivalence
from refers_bench.analysis.power import detectable, power, smallest_significant
from refers_bench.analysis.significance import Refusal, holm


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


def test_power_agrees_with_statsmodels() -> None:
    weights = pytest.importorskip("statsmodels.stats.power")
    for n in (2, 3, 5, 10):
        for effect in (0.5, 1.0, 3.0):
            expected = weights.TTestIndPower().power(effect, nobs1=n, alpha=0.05)
            assert power(difference=effect * 0.3, sd=0.3, n=n) == pytest.approx(expected, abs=1e-6)


def test_power_of_three_seeds() -> None:
    assert [round(power(difference=d, sd=1, n=3), 2) for d in (1, 2, 3, 4)] == [0.16, 0.46, 0.78, 0.95]
    assert smallest_significant(sd=0.3, n=3) == pytest.approx(0.68, abs=0.001)
    found = detectable(sd=0.3, n=3)
    assert power(difference=found, sd=0.3, n=3) == pytest.approx(0.8, abs=1e-9)


def test_power_by_simulation() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, (3, 20_000)), rng.normal(2, 1, (3, 20_000))
    share = (stats.ttest_ind(first, second, axis=0).pvalue < 0.05).mean()
    assert power(difference=2, sd=1, n=3) == pytest.approx(share, abs=0.012)


def test_power_refuses_what_has_no_answer() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        power(difference=1, sd=1, n=1)
    with pytest.raises(ValueError, match="standard deviation"):
        power(difference=1, sd=0, n=3)
    with pytest.raises(ValueError, match="level"):
        detectable(sd=1, n=3, wanted=0.01)
