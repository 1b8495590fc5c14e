"""Checks by simulation that intervals of AUPRC, sensitivity, Brier score and calibration error cover the truth.

An image's finding and its score are those of a Gaussian model; the logit is the true one times 1.3: overconfident. The
truth is the figure of 400,000 independent images. Several images of a patient share half of the variance.

Measured with 300 test sets a setting: AUPRC 93 to 95 %, sensitivity 95 to 98 %, Brier score 94 to 96 %; calibration
error 89 to 96 % with 20 or more units a bin (least with few positives), and 83 % with 10, which is refused.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.metrics import average_precision_score, roc_curve

from refers_bench.analysis.operating_points import AUPRC, BRIER, ECE, SENSITIVITY, computed
from refers_bench.analysis.predictions import Predictions
from refers_bench.analysis.statistics.calibration import calibrated

DISTANCE, SCALE = 1.5, 1.3


def drawn(prevalence: float, patients: int, images: int, rng: np.random.Generator) -> Predictions:
    patient = np.repeat(np.arange(patients), images)

    def noise() -> np.ndarray:
        own = rng.standard_normal(len(patient))
        return own if images == 1 else np.sqrt(0.5) * (own + rng.standard_normal(patients)[patient])

    labels = (noise() > -ndtri(prevalence)).astype(np.int8)
    x = labels * DISTANCE + noise()
    logits = np.log(prevalence / (1 - prevalence)) + SCALE * (DISTANCE * x - DISTANCE**2 / 2)
    return Predictions(
        classes=("finding",),
        image_ids=tuple(f"{n:06}" for n in range(len(patient))),
        patient_ids=tuple(f"{n:06}" for n in patient),
        labels_NK=labels[:, None],
        scores_NK=logits.astype(np.float32)[:, None],
    )


@cache
def truth(prevalence: float) -> dict[str, float]:
    large = drawn(prevalence, 400_000, 1, np.random.default_rng(0))
    labels, scores = large.labels_NK[:, 0], large.scores_NK[:, 0]
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    error, square = (float(one[0]) for one in calibrated(labels, scores, np.ones((1, len(labels)))))
    area = float(average_precision_score(labels, scores))
    return {AUPRC: area, SENSITIVITY: float(true[false <= 0.1].max()), ECE: error, BRIER: square}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prevalence", "patients", "images"), [(0.3, 500, 1), (0.1, 500, 1), (0.05, 500, 1), (0.3, 200, 3), (0.1, 200, 3)]
)
def test_intervals_cover_the_truth(prevalence: float, patients: int, images: int) -> None:
    rng, sets = np.random.default_rng([patients, images]), 300
    found = [computed([drawn(prevalence, patients, images, rng)]) for _ in range(sets)]
    share = {
        name: float(np.mean([one.figures[name].low <= true <= one.figures[name].high for one in found]))
        for name, true in truth(prevalence).items()
    }
    print(prevalence, patients, images, share)
    assert all(0.90 <= share[name] <= 0.99 for name in (AUPRC, SENSITIVITY, BRIER)), share
    assert 0.84 <= share[ECE] <= 0.99, share
