"""Checks that a mean AUC is the same number, to the last bit, wherever it is computed: one AUC, one mean over classes."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.compare.regression import as_results, make_baseline
from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.predictions import FILE, read
from refers_bench.analysis.results import Results, load
from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish

CLASSES = tuple(f"c{k:02d}" for k in range(14))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """24 cells of 14 classes; one class of two of the eight columns has no positive image."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    runs = []
    for cell in range(8):
        labels = (rng.random((150, 14)) < np.linspace(0.05, 0.5, 14)).astype(np.int8)
        labels[:2] = [[1], [0]]
        if cell % 5 == 0:
            labels[:, 3] = 0
        for seed in range(3):
            scores = (rng.normal(size=labels.shape) + labels * rng.uniform(0.2, 2, 14)).astype(np.float32)
            base: dict[str, Any] = {
                "method": "refers", "label": "refers", "dataset": f"d{cell}", "task": "t", "label_ratio": 1.0,
                "seed": seed, "classes": CLASSES, "image_ids": tuple(f"i{n:03d}" for n in range(150)),
                "patient_ids": ("",) * 150, "labels_NK": labels, "scores_NK": scores,
            }  # fmt: skip
            runs.append(ImportedRun(**base))
    publish(runs, results=folder, name="x", title="x", origin="imported", command="c")
    return load(folder, "x")


def test_stored_and_derived_again_are_bit_equal(results: Results) -> None:
    """Predictions scored anew, the stored metrics, and a baseline read back: three ways to one mean."""
    baseline = as_results(json.loads(json.dumps(make_baseline(results))))
    again = {planned.name: planned.run.mean_auc for planned in baseline.planned}
    assert len(results.planned) == len(again) == 24
    differ = {}
    for planned in results.planned:
        found = read(results.store / planned.run.key / FILE, classes=CLASSES)
        scored = class_aucs(found.labels_NK, found.scores_NK)
        stored = [metric.auc for metric in planned.metrics]
        assert [None if np.isnan(auc) else auc for auc in scored.auc_K.tolist()] == stored
        means = (scored.mean, planned.run.mean_auc, again[planned.name])
        if len(set(means)) > 1:
            differ[planned.name] = means
    assert not differ, f"{len(differ)} of 24 cells"


def test_the_figure_beside_an_interval_is_that_of_the_table(results: Results) -> None:
    for target in results.targets:
        found = image_statistics(results, target)
        assert found is not None and found.means["refers"].estimate == results.cells["refers", target].mean


def test_the_mean_is_the_exact_one_rounded_once(results: Results) -> None:
    """By rational arithmetic on the stored doubles."""
    for planned in results.planned:
        aucs = [Fraction(metric.auc) for metric in planned.metrics if metric.auc is not None]
        exact = sum(aucs) / len(aucs)
        assert abs(Fraction(planned.run.mean_auc) - exact) <= Fraction(np.spacing(float(exact)))
