"""Choosing on validation images leaves the figure on the test images what it is: a simulation with known AUC."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.cells import ClassMetric, ClassMetrics, PlannedRun, Target
from refers_bench.analysis.choice import tuned
from refers_bench.analysis.statistics.seeds import DONE, SeedRun

TARGET = Target(dataset="own", task="t", label_ratio=1.0)
CANDIDATES, IMAGES, REPETITIONS, DISTANCE = 6, 40, 200, 1.0
#: Of two normal distributions at this distance.
TRUTH = NormalDist().cdf(DISTANCE / math.sqrt(2))


def auc(rng: np.random.Generator) -> float:
    labels = np.arange(IMAGES) % 2
    return float(roc_auc_score(labels, rng.normal(size=IMAGES) + DISTANCE * labels))


def candidate(name: int, val: float, test: float) -> PlannedRun:
    metrics = ClassMetrics.of(
        ClassMetric(name="a", split=split, auc=value, n_pos=IMAGES // 2, n_neg=IMAGES // 2, undefined="")
        for split, value in (("val", val), ("test", test))
    )
    run = SeedRun(seed=0, key=str(name), state=DONE, mean_auc=test, defined=("a",), n_classes=1)
    return PlannedRun(
        method="m", label="M", target=TARGET, synthetic=False, footnotes=(), run=run, metrics=metrics,
        candidate=(f"finetune.steps={name}",),
    )  # fmt: skip


def test_the_choice_among_equals_does_not_raise_the_test_figure_and_one_on_test_images_would() -> None:
    rng = np.random.default_rng(0)
    chosen, validated, best = [], [], []
    for _ in range(REPETITIONS):
        runs = [candidate(name, auc(rng), auc(rng)) for name in range(CANDIDATES)]
        ((one,), left) = tuned(runs)
        assert len(left) == CANDIDATES - 1 and one.validation_auc == max(run.validation_auc for run in runs)
        chosen.append(one.run.mean_auc)
        validated.append(one.validation_auc)
        best.append(max(run.run.mean_auc for run in runs))
    error = np.std(chosen, ddof=1) / math.sqrt(REPETITIONS)
    assert abs(np.mean(chosen) - TRUTH) < 3 * error
    # The validation AUC of what was chosen by it is too high, and so would be a test AUC that was chosen by itself.
    assert np.mean(validated) - TRUTH > 10 * error and np.mean(best) - TRUTH > 10 * error
