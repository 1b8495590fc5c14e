"""The table of cross-validated columns: pooled AUC with its interval over patients, and the mean over folds beside."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import fold_results
from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.jobs import entry
from refers_bench.render.table import NO_VALUE
from refers_bench.reports import folds
from refers_bench.store.context import JobContext
from results_folder import record_again


def crossed(folder: Any, tmp_path: Path, seed: int, *, method: str = "refers") -> tuple[float, list[float]]:
    """A finished cell with folds; its pooled mean AUC, and the mean AUC of each fold, by scikit-learn."""
    rows, results = fold_results.drawn(1, patients=80), tmp_path / f"{method}{seed}"
    # Seeds share the images and their labels; the scores are their own.
    for name in fold_results.CLASSES:
        noise = np.random.default_rng([seed, *method.encode()]).normal(size=len(rows))
        rows[f"test {name}"] = (rows[f"test {name}"] + noise).astype(np.float32)
    job = fold_results.together(fold_results.store(results, rows))
    entry.run(job, JobContext(results=results, cache=results))
    (metrics,) = read_metrics([job["key"]], results / "store")
    aucs = {name: one.auc for name, one in metrics.by_class("test").items()}
    key = folder.cell(method, seed=seed, aucs=aucs, dataset="d", task="t", folds=4, label=method.upper())
    shutil.rmtree(folder.results / "store" / key)
    shutil.copytree(results / "store" / job["key"], folder.results / "store" / key)
    record_again(folder.results / "store" / key, key=key)
    mean = lambda some: float(np.mean([_auc(some, name) for name in fold_results.CLASSES]))
    return mean(rows), [mean(some) for _, some in rows.groupby("fold")]


def _auc(rows: Any, name: str) -> float:
    known = rows[rows[f"t:{name}"].notna()]
    return float(roc_auc_score(known[f"t:{name}"].astype(int), known[f"test {name}"]))


def test_the_mean_over_folds_stands_beside_the_pooled_auc(folder: Any, tmp_path: Path) -> None:
    found = [crossed(folder, tmp_path, seed) for seed in (0, 1)]
    other, other_folds = crossed(folder, tmp_path, 0, method="scratch")
    folder.cell("refers", aucs={"normal": 0.5}, label="REFERS")  # a column without folds
    results = folder.load()
    table = folds.build(results)
    assert table is not None
    where = "d: t, 4 folds, 100 % of labels"
    assert [row.title for row in table.rows] == [f"{where}: REFERS", f"{where}: SCRATCH"]
    pooled, interval, mean, difference, without = table.rows[0].cells
    assert pooled.value == pytest.approx(100 * np.mean([one for one, _ in found]), abs=1e-9)
    by_fold = np.mean([aucs for _, aucs in found], axis=0)
    assert (mean.value, mean.sd) == (pytest.approx(100 * by_fold.mean()), pytest.approx(100 * by_fold.std(ddof=1)))
    assert mean.n == (4,) and difference.value == pytest.approx(pooled.value - mean.value, abs=1e-9)
    assert without.figure == "none"
    target = next(target for target in results.targets if target.folds)
    images = image_statistics(results, target)
    assert images is not None and images.unit == "patient" and images.n_units == 80
    assert (interval.low, interval.high) == (100 * images.means["refers"].low, 100 * images.means["refers"].high)
    assert interval.n == (80,) and interval.low < pooled.value < interval.high
    pooled, _, mean, *_ = table.rows[1].cells
    assert (pooled.value, mean.value) == (pytest.approx(100 * other), pytest.approx(100 * np.mean(other_folds)))
    assert "patients as independent units" in " ".join(table.notes)


def test_folds_without_an_auc_are_named(folder: Any) -> None:
    auc = {"auc": [0.7, None, 0.9], "mean": 0.8, "sd": 0.1, "undefined": [1], "pooled": 0.6}
    none = {"auc": [None] * 3, "mean": None, "sd": None, "undefined": [0, 1, 2], "pooled": None}
    for method, facts in (("one", {"a": auc, "b": none}), ("none", {"b": none})):
        key = folder.cell(method, state="missing", folds=3)
        folder.done(key, {name: one["pooled"] for name, one in facts.items()}, facts={"folds": facts})
    table = folds.build(folder.load())
    assert table is not None
    pooled, interval, mean, difference, without = table.rows[0].cells
    assert (pooled.figure, interval.figure, mean.figure, mean.spread) == ("60.0", NO_VALUE, "80.0", "14.1")
    assert mean.n == (2,) and difference.figure == "-20.00" and without.figure == "a: 1; b: 0, 1, 2"
    assert [cell.figure for cell in table.rows[1].cells] == [NO_VALUE] * 5


def test_columns_without_folds_make_no_table_and_unfinished_ones_no_figure(folder: Any) -> None:
    folder.cell("refers")
    assert folds.build(folder.load()) is None
    folder.cell("refers", state="missing", folds=3)
    folder.cell("scratch", folds=3)  # a result that says nothing of its folds
    table = folds.build(folder.load())
    assert table is not None
    assert [cell.figure for cell in table.rows[0].cells] == [NO_VALUE] * 5
    assert [cell.figure for cell in table.rows[1].cells] == ["75.0", *[NO_VALUE] * 4]
