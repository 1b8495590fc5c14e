"""The AUC is the one that scikit-learn computes, ties and unknown labels included."""

from __future__ import annotations

import numpy as np
import pytest

from refers_bench.analysis.statistics.auc import class_aucs

metrics = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("distinct", [2, 3, 7, 50, 0], ids=lambda n: f"{n or 'all'}-distinct-scores")
def test_agrees_with_scikit_learn(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    compared = 0
    for _ in range(70):
        images, classes = int(rng.integers(2, 60)), int(rng.integers(1, 4))
        labels = rng.choice([0.0, 1.0, np.nan], size=(images, classes), p=[0.6, 0.3, 0.1])
        logits = rng.normal(size=(images, classes)).astype(np.float32)
        if distinct:
            logits = np.round(logits * distinct / 4).astype(np.float32)
        scored = class_aucs(labels, logits)
        for k in range(classes):
            known = ~np.isnan(labels[:, k])
            if len(set(labels[known, k])) < 2:
                assert np.isnan(scored.auc_K[k]) and scored.undefined[k]
                continue
            expected = metrics.roc_auc_score(labels[known, k], logits[known, k])
            assert scored.auc_K[k] == pytest.approx(expected, abs=1e-12)
            compared += 1
    assert compared > 70


def test_agrees_on_a_large_unbalanced_class() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((30_000, 1)) < 0.01).astype(float)
    logits = (rng.normal(size=(30_000, 1)) + labels).astype(np.float32)
    expected = metrics.roc_auc_score(labels[:, 0], logits[:, 0])
    assert class_aucs(labels, logits).auc_K[0] == pytest.approx(expected, abs=1e-12)


def test_agrees_on_large_and_tied_cases() -> None:
    """Sizes at which scores are put into buckets: few and many values, outliers, constant and skewed scores."""
    rng = np.random.default_rng(2)
    shapes = ("normal", "decimals", "skewed", "outlier", "few", "constant", "clusters")
    for number in range(280):
        images = int(rng.integers(1_000, 3_000))
        labels = (rng.random(images) < rng.uniform(0.01, 0.6)).astype(np.int8)
        labels[:2] = 0, 1
        scores = rng.normal(size=images) + labels
        shape = shapes[number % len(shapes)]
        if shape == "decimals":
            scores = np.round(1 / (1 + np.exp(-scores)), 3)
        elif shape == "skewed":
            scores = np.exp(4 * scores)
        elif shape == "outlier":
            scores[0] = 1e30
        elif shape == "few":
            scores = np.round(scores)
        elif shape == "constant":
            scores = np.full(images, 0.25)
        elif shape == "clusters":
            scores = np.round(scores) + 1e-6 * rng.normal(size=images)
        scores = scores.astype(np.float32 if number % 2 else np.float64)
        expected = metrics.roc_auc_score(labels, scores)
        assert class_aucs(labels[:, None], scores[:, None]).auc_K[0] == pytest.approx(expected, abs=1e-12), shape
