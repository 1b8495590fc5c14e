"""The prediction interval of a published mean: SciPy's t-test, by hand, its coverage and its power in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.statistics.replication import CONSISTENT, DIFFERS, Replication, replication
from refers_bench.analysis.statistics.significance import Refusal


def test_by_hand() -> None:
    """Mean 0.81, SD 0.01, three seeds on either side: 4.3027 * 0.01 * sqrt(2 / 3) = 0.035132."""
    found = replication([0.80, 0.81, 0.82], 0.83)
    assert isinstance(found, Replication) and (found.n, found.n_published, found.df) == (3, 3, 2)
    assert found.half == pytest.approx(0.035132, abs=1e-6) and found.difference == pytest.approx(-0.02)
    assert found.verdict == CONSISTENT
    far = replication([0.80, 0.81, 0.82], 0.77)
    assert isinstance(far, Replication) and far.verdict == DIFFERS and far.p < 0.05


def test_a_mean_of_very_many_seeds_is_a_known_figure() -> None:
    """Then the test is SciPy's one-sample t-test."""
    values = [0.80, 0.815, 0.82, 0.79]
    found = replication(values, 0.82, published_seeds=10**12)
    expected = stats.ttest_1samp(values, 0.82)
    assert isinstance(found, Replication)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.8], "has 1"), ([], "has 0"), ([0.8, 0.8], "zero variance"), ([0.8, float("nan")], "not finite")],
)
def test_refused_without_spread(values: list[float], reason: str) -> None:
    found = replication(values, 0.8)
    assert isinstance(found, Refusal) and reason in found.reason


def verdicts(*, seeds: int, sd: float, shift: float, repeats: int) -> float:
    """Share of repetitions called `CONSISTENT`: published means of three seeds, ours truly `shift` points above."""
    rng = np.random.default_rng(7)
    ours = 0.8 + (shift + sd * rng.normal(size=(repeats, seeds))) / 100
    published = 0.8 + sd * rng.normal(size=(repeats, 3)).mean(axis=1) / 100
    found = [replication(list(map(float, row)), float(one)) for row, one in zip(ours, published, strict=True)]
    return float(np.mean([isinstance(one, Replication) and one.verdict == CONSISTENT for one in found]))


def test_a_true_replication_is_called_consistent() -> None:
    """At any spread; a verdict that wants the interval within a margin of one point found one in ten at SD 1.0."""
    assert verdicts(seeds=3, sd=1.0, shift=0.0, repeats=400) == pytest.approx(0.95, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("sd", [0.1, 0.3, 1.0])
def test_coverage_and_power(seeds: int, sd: float) -> None:
    """Nominal coverage 95 %; power by SciPy's non-central t distribution."""
    repeats = 3000
    covered = verdicts(seeds=seeds, sd=sd, shift=0.0, repeats=repeats)
    noticed = {shift: 1 - verdicts(seeds=seeds, sd=sd, shift=shift, repeats=repeats) for shift in (0.5, 1.0, 2.0)}
    print(seeds, sd, covered, noticed)
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / repeats)
    error, critical = sd * math.sqrt(1 / seeds + 1 / 3), stats.t.ppf(0.975, seeds - 1)
    for shift, share in noticed.items():
        # Beyond 7 standard errors SciPy's distribution has holes, and the far tail weighs nothing.
        if shift / error > 7:
            continue
        expected = stats.nct.sf(critical, seeds - 1, shift / error) + stats.nct.cdf(-critical, seeds - 1, shift / error)
        assert abs(share - expected) < 3 * math.sqrt(expected * (1 - expected) / repeats) + 1e-3


def test_the_power_that_is_stated_is_the_one_for_this_spread() -> None:
    """SD 1.0 point, three seeds: non-central t with 2 degrees of freedom, shift 1 / sqrt(2 / 3)."""
    found = replication([0.80, 0.81, 0.82], 0.81)
    shift, critical = 1 / math.sqrt(2 / 3), stats.t.ppf(0.975, 2)
    assert isinstance(found, Replication)
    assert found.power == pytest.approx(stats.nct.sf(critical, 2, shift) + stats.nct.cdf(-critical, 2, shift), abs=1e-6)
