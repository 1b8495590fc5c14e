"""Draws are seeded and take patients as a whole; the spread of a mean's draws is its standard error."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import t

from refers_bench.analysis.statistics.calibration import calibrated
from refers_bench.analysis.statistics.operating import ranked
from refers_bench.analysis.statistics.placements import Units
from refers_bench.analysis.statistics.resampling import DRAWS, error_interval, image_weights, interval, mean_of


def test_patients_are_drawn_with_all_their_images() -> None:
    weights = image_weights(Units.of(6, ["b", "a", "b", "c", "a", "b"]))
    assert weights.shape == (1 + DRAWS, 6) and (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert np.array_equal(weights[:, [1, 0, 3]], image_weights(Units.of(3)))
    # Each number of times is binomial: mean 1, variance 1 - 1 / 3.
    assert weights[1:, 0].mean() == pytest.approx(1, abs=0.1) and weights[1:, 0].var() == pytest.approx(2 / 3, abs=0.1)


def test_an_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).random(400)
    weights = image_weights(Units.of(400)).astype(np.float64)
    found = interval(weights @ values / 400, df=399, share=False)
    expected = t.interval(0.95, 399, values.mean(), values.std(ddof=1) / 20)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.005)
    shared = interval(weights @ values / 400, df=399)
    assert (shared.low, shared.high) == pytest.approx(expected, abs=0.005)
    assert 0 < interval(np.array([0.99, 0.9, 1.0, 0.98]), df=2).high < 1


def test_without_spread_there_is_no_interval() -> None:
    assert interval(np.ones(5), df=3).se == 0 == interval(np.full(5, 0.4), df=3, share=False).se


def test_a_surplus_of_the_draws_lowers_the_lower_end() -> None:
    figures = np.array([0.10, 0.11, 0.13, 0.12])
    plain, error = interval(figures, df=50, share=False), error_interval(figures, df=50)
    assert error.low == pytest.approx(plain.low - 0.02) and error.high == plain.high
    assert error_interval(figures / 10 + np.array([0, 0.1, 0.1, 0.1]), df=50).low == 0


def test_a_class_that_a_draw_lacks_keeps_its_figure() -> None:
    figures = np.array([[0.2, 0.6], [0.4, np.nan], [np.nan, 0.8]])
    assert mean_of(figures).tolist() == pytest.approx([0.4, 0.5, 0.5])


def test_all_figures_of_500_images_take_well_under_a_second() -> None:
    rng = np.random.default_rng(1)
    labels, scores = (rng.random(500) < 0.2).astype(np.int8), rng.normal(size=500).astype(np.float32)
    start = time.process_time()
    weights = image_weights(Units.of(500))
    ranked(labels, scores, weights), calibrated(labels, scores, weights)
    assert time.process_time() - start < 0.8
