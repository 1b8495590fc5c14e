"""Reliability curves are scikit-learn's over all classes and seeds; scores that are no logits have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from refers_bench.reports import figure_reliability

LABELS = (np.random.default_rng(5).random((90, 2)) < 0.4).astype(int)
LABELS[:10, 1] = -1  # unknown


def predict(folder: Any, method: str, *, seed: int = 0, **spec: Any) -> np.ndarray:
    """A finished run with predictions; its logits."""
    logits = (LABELS * 1.2 + np.random.default_rng([seed, len(method)]).normal(size=LABELS.shape)).astype(np.float32)
    key = folder.cell(method, seed=seed, label=method.upper())
    folder.lock["jobs"][-1]["spec"] |= spec
    folder.predict(key, LABELS, logits, of_a_patient=0)
    return logits


def test_curves_are_scikit_learns(folder: Any) -> None:
    runs = [predict(folder, "refers", seed=seed) for seed in (0, 1)]
    other = predict(folder, "c2l")
    predict(folder, "votes", kind="frozen", evaluation="knn")
    figure = figure_reliability.build(folder.load())
    assert figure is not None
    (panel,) = figure.panels
    assert panel.diagonal and [series.label for series in panel.series] == ["REFERS", "C2L"]
    for series, some in zip(panel.series, (runs, [other]), strict=True):
        known = LABELS >= 0
        labels = np.concatenate([LABELS[known]] * len(some))
        probability = np.concatenate([expit(one[known].astype(float)) for one in some])
        shares, means = calibration_curve(labels, probability, n_bins=10, strategy="quantile")
        assert series.y == pytest.approx(shares) and series.x == pytest.approx(means)
    # Bars of the reference row alone; an image that is in a bin with both seeds counts once.
    assert panel.series[1].low == () and len(panel.series[0].low) == 10
    low, high = proportion_confint(panel.series[0].y[0] * 34, 34, method="wilson")
    assert panel.series[0].low[0] <= low and panel.series[0].high[0] > high


def test_scores_without_probabilities_draw_nothing(folder: Any) -> None:
    predict(folder, "refers", kind="import")
    assert figure_reliability.build(folder.load()) is None
