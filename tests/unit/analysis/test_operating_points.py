"""Figures of a table cell are means over classes and seeds; what states no probability has no calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss

from refers_bench.analysis.operating_points import (
    AUPRC,
    BRIER,
    ECE,
    IMPORTED,
    SENSITIVITY,
    VOTES,
    computed,
    operating_points,
    without_logits,
)
from refers_bench.analysis.predictions import Predictions

RNG = np.random.default_rng(4)
LABELS = (RNG.random((240, 2)) < [0.3, 0.5]).astype(np.int8)


def predictions(seed: int, labels: np.ndarray = LABELS, images: int = 1) -> Predictions:
    scores = labels * 1.2 + np.random.default_rng(seed).normal(size=labels.shape)
    return Predictions(
        classes=("a", "b"),
        image_ids=tuple(f"i{n:03}" for n in range(len(labels))),
        patient_ids=tuple(f"p{n // images}" for n in range(len(labels))),
        labels_NK=labels,
        scores_NK=scores.astype(np.float32),
    )


def test_means_over_classes_and_seeds_are_those_of_scikit_learn() -> None:
    runs = [predictions(0), predictions(1)]
    found = computed(runs)
    pairs = [(LABELS[:, k], one.scores_NK[:, k]) for one in runs for k in (0, 1)]
    assert found.figures[AUPRC].estimate == pytest.approx(np.mean([average_precision_score(*one) for one in pairs]))
    squares = [brier_score_loss(labels, expit(scores.astype(float))) for labels, scores in pairs]
    assert found.figures[BRIER].estimate == pytest.approx(np.mean(squares))
    assert found.prevalence == pytest.approx(LABELS.mean()) and found.n_classes == 2
    assert (found.unit, found.n_units, found.refusals) == ("patient", 240, {})
    assert all(one.low < one.estimate < one.high for one in found.figures.values())


def test_several_images_of_a_patient_widen_the_interval() -> None:
    labels = np.repeat(LABELS[:80], 3, axis=0)
    one = predictions(0, labels)
    shared = replace(one, scores_NK=np.repeat(one.scores_NK[::3], 3, axis=0))
    alone, grouped = computed([shared]), computed([replace(shared, patient_ids=predictions(0, labels, 3).patient_ids)])
    assert grouped.figures[AUPRC].se > 1.5 * alone.figures[AUPRC].se
    assert "needs 200 units, there are 80" in grouped.refusals[ECE]


def test_scores_that_are_no_logits_have_no_calibration() -> None:
    found = computed([predictions(0)], no_logits=VOTES)
    assert set(found.figures) == {AUPRC, SENSITIVITY} and found.refusals == {ECE: VOTES, BRIER: VOTES}
    endless = replace(predictions(0), scores_NK=np.where(LABELS == 1, np.inf, 0).astype(np.float32))
    assert computed([endless]).refusals[BRIER] == "infinite scores state no probability"
    assert computed([endless]).refusals[AUPRC] == "the test images leave no spread"


def test_what_cannot_be_computed_says_why() -> None:
    nothing = computed([predictions(0, np.zeros_like(LABELS))])
    assert nothing.figures == {} and nothing.refusals[AUPRC] == "no class has positive and negative test images"
    other = replace(predictions(1), labels_NK=1 - LABELS)
    assert computed([predictions(0), other]).refusals[BRIER] == "other labels of the test images"
    broken = replace(predictions(0), scores_NK=np.full((240, 2), np.nan, np.float32))
    assert computed([broken]).refusals[AUPRC] == "NaN scores"
    few = np.zeros_like(LABELS)
    few[0] = 1
    assert computed([predictions(0, few)]).refusals[AUPRC] == "a class has a single positive or negative unit"


def test_kinds_of_results(folder: Any) -> None:
    for key, spec in {
        "tuned": {"kind": "finetune"},
        "votes": {"kind": "frozen", "evaluation": "knn"},
        "imported": {"kind": "import"},
        "joined": {"kind": "out_of_fold", "folds": ["votes"]},
    }.items():
        folder.job(key, spec=spec)
    folder.cell("refers")
    results = folder.load()
    reasons = [without_logits(results, key) for key in ("tuned", "votes", "imported", "joined")]
    assert reasons == ["", VOTES, IMPORTED, VOTES]
    # Finished, but without stored predictions.
    assert operating_points(results, results.targets[0]).rows == {}
