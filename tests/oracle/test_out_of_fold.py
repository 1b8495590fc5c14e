"""Pooled AUCs of out-of-fold predictions, and those of each fold, are scikit-learn's on the same scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fold_results import CLASSES, drawn, store, together
from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.jobs import entry
from refers_bench.store.context import JobContext


@pytest.mark.parametrize("seed", range(5))
def test_pooled_aucs_are_scikit_learns_on_the_concatenated_scores(tmp_path: Path, seed: int) -> None:
    rows = drawn(seed, patients=80, folds=5)
    job = together(store(tmp_path, rows))
    entry.run(job, JobContext(results=tmp_path, cache=tmp_path))
    (metrics,) = read_metrics([job["key"]], tmp_path / "store")
    folds = json.loads((tmp_path / "store" / job["key"] / "run.json").read_text())["facts"]["folds"]
    for name in CLASSES:
        known = rows[rows[f"t:{name}"].notna()]
        for split in ("test", "val"):
            pooled = roc_auc_score(known[f"t:{name}"].astype(int), known[f"{split} {name}"])
            assert metrics.by_class(split)[name].auc == pytest.approx(pooled, abs=1e-12)
        each = [roc_auc_score(some[f"t:{name}"].astype(int), some[f"test {name}"]) for _, some in known.groupby("fold")]
        assert folds[name]["auc"] == pytest.approx(each, abs=1e-12)
        assert folds[name]["mean"] == pytest.approx(np.mean(each), abs=1e-12)
        assert folds[name]["sd"] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
        # Models with shifted scores order images of different folds wrongly: the two figures are not the same one.
        assert abs(folds[name]["pooled"] - folds[name]["mean"]) > 1e-4
