"""The result of a cell with folds holds what its folds predicted, once for every image, or nothing at all."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fold_results import CLASSES, drawn, store, together
from refers_bench.analysis.predictions import read
from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.errors import DataError, UserError
from refers_bench.jobs import entry
from refers_bench.store import schemas
from refers_bench.store.context import JobContext


def run(results: Path, rows: pd.DataFrame) -> tuple[str, Path]:
    job = together(store(results, rows))
    entry.run(job, JobContext(results=results, cache=results / "cache"))
    return job["key"], results / "store" / job["key"]


def test_the_result_is_read_like_one_of_a_fine_tuning(tmp_path: Path) -> None:
    rows = drawn(0)
    key, folder = run(tmp_path, rows)
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.parquet", "predictions.parquet", "run.json"]
    whole = rows.sort_values("image_id", ignore_index=True)
    for split in ("test", "val"):
        found = read(folder / "predictions.parquet", split=split, classes=CLASSES)
        assert list(found.image_ids) == whole["image_id"].tolist(), "every image once"
        assert list(found.patient_ids) == whole["patient_id"].tolist()
        assert np.array_equal(found.labels_NK, whole[[f"t:{name}" for name in CLASSES]].fillna(-1).to_numpy(int))
        assert np.array_equal(found.scores_NK, whole[[f"{split} {name}" for name in CLASSES]].to_numpy())
    (metrics,) = read_metrics([key], tmp_path / "store")
    assert metrics.names == ("b", "a", "b", "a") and metrics.splits == ("test", "test", "val", "val")
    record = json.loads((folder / "run.json").read_text())
    assert record["kind"] == "out_of_fold"
    assert record["facts"]["images"] == {"test": len(rows), "val": len(rows)}


def test_facts_hold_what_each_fold_has(tmp_path: Path) -> None:
    """Fold 2 has no positive image of class "b": its AUC is left out of the mean, and the fold is named."""
    rows = drawn(1)
    rows.loc[rows["fold"] == 2, "t:b"] = 0
    _, folder = run(tmp_path, rows)
    facts = json.loads((folder / "run.json").read_text())["facts"]["folds"]
    assert list(facts) == CLASSES
    for name, found in facts.items():
        expected = [by_hand(rows[rows["fold"] == fold], name) for fold in range(4)]
        assert found["auc"] == [one if one is None else pytest.approx(one, abs=1e-12) for one in expected]
        defined = [one for one in expected if one is not None]
        assert found["mean"] == pytest.approx(statistics.mean(defined), abs=1e-12)
        assert found["sd"] == pytest.approx(statistics.stdev(defined), abs=1e-12)
        assert found["undefined"] == ([2] if name == "b" else [])
        assert found["pooled"] == pytest.approx(by_hand(rows, name), abs=1e-12)


def test_a_class_without_positives_has_no_figure_and_the_reason(tmp_path: Path) -> None:
    key, folder = run(tmp_path, drawn(2).assign(**{"t:b": pd.array([0] * len(drawn(2)), dtype="Int8")}))
    facts = json.loads((folder / "run.json").read_text())["facts"]["folds"]["b"]
    assert facts == {"auc": [None] * 4, "mean": None, "sd": None, "undefined": [0, 1, 2, 3], "pooled": None}
    (metrics,) = read_metrics([key], tmp_path / "store")
    assert metrics.by_class("test")["b"].undefined == "no positives"


def by_hand(rows: pd.DataFrame, name: str) -> float | None:
    """Share of pairs in which the positive image scores higher, an equal score counting half."""
    positive, negative = (rows.loc[rows[f"t:{name}"] == label, f"test {name}"].to_numpy() for label in (1, 0))
    if not len(positive) or not len(negative):
        return None
    differences = positive[:, None] - negative[None, :]
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def rewrite(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        path = folder / "predictions.parquet"
        schemas.write(path, change(schemas.read(path, "predictions")), "predictions")

    return broken


def first_image(frame: pd.DataFrame) -> Any:
    return frame["image_id"] == frame.loc[frame["split"] == "test", "image_id"].min()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shutil.rmtree, "no such result; allowed: run its job first"),
        (lambda folder: shutil.copy(folder.with_name("fold0") / "predictions.parquet", folder), "tested in folds 0 and 1"),
        (rewrite(lambda frame: frame[~first_image(frame)]), "the images that fold 0 validates on are not those"),
        (rewrite(lambda frame: frame[frame["split"] == "test"]), "the images that fold 1 validates on are not those"),
        (rewrite(lambda frame: frame.assign(patient_id="p0")), "patient 'p0' is tested in folds"),
        (rewrite(lambda frame: frame[~(first_image(frame) & (frame["class"] == "a"))]), "has 0 rows of the class 'a'"),
    ],
    ids=["no result", "another fold's", "an image is missing", "no validation", "a patient twice", "a class is missing"],
)  # fmt: skip
def test_folds_that_do_not_score_every_image_once_give_no_result(
    tmp_path: Path, broken: Callable[[Path], None], message: str
) -> None:
    job = together(store(tmp_path, drawn(3)))
    broken(tmp_path / "store" / "fold1")
    with pytest.raises(UserError, match=message):
        entry.run(job, JobContext(results=tmp_path, cache=tmp_path))
    assert not (tmp_path / "store" / job["key"]).exists()


def test_folds_in_another_order_are_refused(tmp_path: Path) -> None:
    keys = store(tmp_path, drawn(4))
    with pytest.raises(DataError, match="the images that fold 0 validates on are not those that fold 1 is tested on"):
        entry.run(together([keys[0], keys[2], keys[1], keys[3]]), JobContext(results=tmp_path, cache=tmp_path))


def test_torch_is_not_needed() -> None:
    code = "import refers_bench.jobs.out_of_fold, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
