"""Brier score and reliability curve are scikit-learn's, Wilson's interval is that of statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from statsmodels.stats.proportion import proportion_confint

from refers_bench.analysis.statistics.calibration import BINS, calibrated, reliability
from refers_bench.analysis.statistics.placements import Units

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=237).astype(np.float32)
LABELS = (RNG.random(237) < expit(1.5 * LOGITS)).astype(np.int8)


def test_figures_are_those_of_scikit_learn() -> None:
    weights = np.concatenate([np.ones((1, 237)), RNG.integers(3, size=(4, 237))])
    errors, squares = calibrated(LABELS, LOGITS, weights)
    probability = expit(LOGITS.astype(np.float64))
    assert squares == pytest.approx([brier_score_loss(LABELS, probability, sample_weight=one) for one in weights])
    # Scikit-learn gives no counts of bins: NumPy's.
    shares, means = calibration_curve(LABELS, probability, n_bins=BINS, strategy="quantile")
    edges = np.quantile(probability, np.linspace(0, 1, BINS + 1))
    counts = np.bincount(np.digitize(probability, edges[1:-1], right=True))
    assert errors[0] == pytest.approx(np.abs(shares - means) @ counts / 237)
    curve = reliability(LABELS, LOGITS)
    assert [one.share for one in curve] == pytest.approx(shares)
    assert [one.probability for one in curve] == pytest.approx(means)
    assert [one.images for one in curve] == counts.tolist()
    for one in curve:
        expected = proportion_confint(round(one.share * one.images), one.images, method="wilson")
        assert (one.low, one.high) == pytest.approx(expected)


def test_patients_count_once_in_an_interval() -> None:
    patients = Units.of(237, [f"p{n // 3}" for n in range(237)])
    for alone, grouped in zip(reliability(LABELS, LOGITS), reliability(LABELS, LOGITS, patients), strict=True):
        assert grouped.share == alone.share and grouped.high - grouped.low >= alone.high - alone.low


def test_equal_probabilities_share_a_bin_and_unknown_labels_are_left_out() -> None:
    (one,) = reliability([1, 0, 0, 0, -1], [0.0, 0.0, 0.0, 0.0, np.nan])
    assert (one.images, one.probability, one.share) == (4, 0.5, 0.25)
    errors, squares = calibrated([1, 0, 0, 0, -1], [0.0, 0.0, 0.0, 0.0, np.nan], np.ones((1, 5)))
    assert (errors.tolist(), squares.tolist()) == ([0.25], [0.25])


def test_nothing_and_what_is_no_probability() -> None:
    assert np.isnan(calibrated([-1], [1.0], [[1]])).all() and reliability([-1], [1.0]) == ()
    with pytest.raises(ValueError, match="states no probability"):
        calibrated([1, 0], [np.inf, 0.0], np.ones((1, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        reliability([1, 0], [0.0])
