"""Checks aggregates over columns against SciPy, statsmodels' and closed forms, and their intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, sem, t, trim_mean

from refers_bench.analysis.statistics.aggregates import IQM, MEAN, MEDIAN, aggregates, interquartile_mean, profile
from refers_bench.analysis.statistics.significance import Refusal

RNG = np.random.default_rng(0)
RUNS = RNG.uniform(0.6, 0.95, (9, 1)) + RNG.normal(0, 0.01, (9, 3))


def columns(runs: np.ndarray) -> list[list[float]]:
    return [[float(one) for one in row] for row in runs]


@pytest.mark.parametrize("count", [*range(1, 14), 100, 101])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(3, count))
    assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25, axis=1), abs=1e-15)


def test_figures_are_those_of_numpy_and_scipy() -> None:
    found = aggregates(columns(RUNS))
    assert not isinstance(found, Refusal)
    assert found[MEAN].estimate == pytest.approx(RUNS.mean(), abs=1e-15)
    assert found[MEDIAN].estimate == pytest.approx(np.median(RUNS.mean(axis=1)), abs=1e-15)
    assert found[IQM].estimate == pytest.approx(trim_mean(RUNS.ravel(), 0.25), abs=1e-15)


def test_the_standard_error_of_the_mean_is_the_closed_form() -> None:
    """Of the mean over columns: the columns' variances over seeds, added; 2,000 draws give it within 1.6 %."""
    found = aggregates(columns(RUNS))
    assert not isinstance(found, Refusal)
    variances = sem(RUNS, axis=1) ** 2
    mean = found[MEAN]
    assert mean.se == pytest.approx(np.sqrt(variances.sum()) / 9, rel=0.05)
    assert mean.df == pytest.approx(variances.sum() ** 2 / (variances**2 / 2).sum(), rel=1e-9)
    half = t.ppf(0.975, mean.df) * mean.se / (mean.estimate * (1 - mean.estimate))
    assert [mean.low, mean.high] == pytest.approx(expit(logit(mean.estimate) + np.array([-half, half])), abs=1e-12)
    assert (found[MEDIAN].df, found[IQM].df) == (2, mean.df)


def test_the_standard_error_of_the_interquartile_mean_is_that_of_a_bootstrap_written_here() -> None:
    found = aggregates(columns(RUNS))
    assert not isinstance(found, Refusal)
    rng, drawn = np.random.default_rng(1), []
    for _ in range(4000):
        pooled = [value for row in RUNS for value in rng.choice(row, 2)]
        drawn.append(trim_mean(pooled, 0.25))
    assert found[IQM].se == pytest.approx(np.std(drawn, ddof=1), rel=0.06)


def test_what_has_no_spread_or_cannot_be_aggregated_has_no_interval() -> None:
    for runs in ([[0.7], [0.8]], [[0.7] * 3, [0.8] * 3]):
        found = aggregates(runs)
        assert not isinstance(found, Refusal)
        assert all((one.estimate, one.se) == (pytest.approx(0.75), 0) for one in found.values())
    for runs, reason in (([[0.7, 0.8]], "fewer than two columns"), ([[0.7], [0.8, 0.9]], "different numbers of seeds")):
        found = aggregates(runs)
        assert isinstance(found, Refusal) and reason in found.reason


def test_a_profile_is_the_share_above_and_its_area_the_mean() -> None:
    """The area under a profile of figures in [0, 1] is their mean."""
    thresholds = np.linspace(0, 1, 20_001)
    share = profile(columns(RUNS), thresholds)
    assert share[0] == 1 and share[-1] == 0 and (np.diff(share) <= 0).all()
    assert np.trapezoid(share, thresholds) == pytest.approx(RUNS.mean(), abs=1e-4)
    # A value that equals the threshold is not above it; columns count alike.
    assert profile([[0.5], [0.5, 0.6]], [0.5, 0.55]).tolist() == [0.25, 0.25]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("count", [3, 4, 9, 27])
@pytest.mark.parametrize("spread", ["equal", "0.2 to 2 points"])
def test_intervals_cover_the_truth(count: int, seeds: int, spread: str) -> None:
    """500 repetitions, 95 % is measured with a standard error of 1 point."""
    rng = np.random.default_rng([count, seeds])
    means = np.linspace(0.65, 0.93, count)
    sd = np.full(count, 0.01) if spread == "equal" else np.geomspace(0.02, 0.002, count)
    many = norm.ppf((np.arange(4000) + 0.5) / 4000)
    true = {MEAN: means.mean(), MEDIAN: np.median(means)}
    true[IQM] = trim_mean((means[:, None] + sd[:, None] * many).ravel(), 0.25)
    held = dict.fromkeys(true, 0)
    for _ in range(500):
        found = aggregates(columns(rng.normal(means[:, None], sd[:, None], (count, seeds))))
        assert not isinstance(found, Refusal)
        for name, value in true.items():
            held[name] += found[name].low <= value <= found[name].high
    shares = {name: times / 500 for name, times in held.items()}
    print(f"\n{count} columns, {seeds} seeds, {spread}: {shares}")
    assert all(0.92 <= share <= (1 if name == MEDIAN else 0.99) for name, share in shares.items()), shares
