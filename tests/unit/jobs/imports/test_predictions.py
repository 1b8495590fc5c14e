"""Other people's predictions are stored whole: every row, AUCs by counting pairs, reasons, and a plan of their cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.errors import UserError
from refers_bench.jobs.imports import predictions
from refers_bench.plan import lock
from refers_bench.store import schemas
from refers_bench.store.results import ResultStore

NAN = float("nan")


def run(**changes: Any) -> ImportedRun:
    """4 images in no order, 5 classes: one usable with a tie, one with a NaN, and three without both kinds of labels."""
    known: dict[str, Any] = {
        "method": "theirs", "label": "Their method", "dataset": "d", "task": "t", "label_ratio": 0.1, "seed": 2,
        "classes": ("Mass", "Gap", "None", "All", "Blank"), "image_ids": ("z", "a", "m", "b"),
        "patient_ids": ("q", "p", "q", ""),
        "labels_NK": np.array([[1, 1, 0, 1, -1], [0, 0, 0, 1, -1], [1, -1, 0, 1, -1], [0, 1, 0, -1, -1]], np.int8),
        "scores_NK": np.array(
            [[2, 0.5, 1, 1, 0], [1, NAN, 1, 1, 0], [1, 0.25, 1, 1, 0], [-3, 0, 1, 1, 0]], np.float32
        ),
        "merged": 3, "files": {"x.csv": "abc"}, "footnotes": ("read by hand",),
    }  # fmt: skip
    return ImportedRun(**{**known, **changes})


def publish(folder: Path, *runs: ImportedRun, **changes: Any) -> lock.Plan:
    known: dict[str, Any] = {"name": "n", "title": "T", "origin": predictions.IMPORTED, "command": "refers-bench again"}
    return predictions.publish(runs, results=folder, **{**known, **changes})


def test_every_row_and_every_auc(tmp_path: Path) -> None:
    plan, one = publish(tmp_path, run()), run()
    folder = ResultStore(tmp_path).folder(plan.jobs[0].key)
    rows = schemas.read(folder / "predictions.parquet", "predictions")
    expected = [
        (image, patient, name, None if label < 0 else label, score, "test")
        for image, patient, labels, scores in zip(
            one.image_ids, one.patient_ids, one.labels_NK.tolist(), one.scores_NK.tolist(), strict=True
        )
        for name, label, score in zip(one.classes, labels, scores, strict=True)
    ]
    assert list(rows.columns) == ["image_id", "patient_id", "class", "label", "logit", "split"]
    assert rows["logit"].dtype == np.float32
    for found, wanted in zip(rows.astype(object).itertuples(index=False, name=None), expected, strict=True):
        assert found[:3] == wanted[:3] and found[5] == "test"
        assert (found[3] is None or found[3] != found[3]) if wanted[3] is None else found[3] == wanted[3]
        np.testing.assert_equal(float(found[4]), wanted[4])
    metrics = schemas.read(folder / "metrics.parquet", "metrics").astype(object)
    assert metrics[["class", "n_pos", "n_neg", "split"]].values.tolist() == [
        ["Mass", 2, 2, "test"], ["Gap", 2, 1, "test"], ["None", 0, 4, "test"], ["All", 3, 0, "test"],
        ["Blank", 0, 0, "test"],
    ]  # fmt: skip
    # Of the pairs (2, 1), (2, -3), (1, 1), (1, -3) one is a tie.
    assert metrics["auc"].iloc[0] == pytest.approx(3.5 / 4) and metrics["auc"].iloc[1:].isna().all()
    assert metrics["undefined"].tolist()[:4] == ["", "NaN scores", "no positives", "no negatives"]
    record = json.loads((folder / "run.json").read_text())
    assert {name: record[name] for name in ("key", "kind", "name", "category")} == {
        "key": plan.jobs[0].key, "kind": "import", "name": "theirs.d.t.10%.s2", "category": "ok",
    }  # fmt: skip
    assert record["facts"] == {
        "origin": "imported", "images": {"test": 4}, "files": {"x.csv": "abc"}, "scores_merged_in_float32": 3,
    }  # fmt: skip
    assert record["spec"] == dict(plan.jobs[0].spec)


def test_the_plan_lists_each_cell_and_equal_predictions_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan = publish(
        tmp_path, run(), run(label="Again", files={"y.csv": "d"}), run(seed=3), tables=("table1",),
        unread=["column notes"], probabilities=True, progress=lambda *at: seen.append(at),
    )  # fmt: skip
    assert lock.read(tmp_path / "n" / lock.LOCK) == plan
    assert (plan.name, plan.title, plan.tables) == ("n", "T", ("table1",))
    assert plan.manifest == {
        "origin": "imported", "command": "refers-bench again", "unread": ["column notes"], "probabilities": True,
    }  # fmt: skip
    assert seen == [(1, 3), (2, 3), (3, 3)]
    first, second = plan.jobs
    assert first.key != second.key
    assert dict(first.spec) == {
        "kind": "import", "recipe": 1, "origin": "imported", "method": "theirs", "dataset": "d", "task": "t",
        "label_ratio": 0.1, "seed": 2, "classes": list(run().classes), "digest": run().digest,
    }  # fmt: skip
    assert [(cell.label, cell.seed, cell.key) for cell in plan.cells] == [
        ("Their method", 2, first.key), ("Again", 2, first.key), ("Their method", 3, second.key)
    ]  # fmt: skip
    one = plan.cells[0]
    assert (one.method, one.dataset, one.task, one.label_ratio, one.footnotes) == (
        "theirs",
        "d",
        "t",
        0.1,
        ("read by hand",),
    )
    folder = ResultStore(tmp_path).folder(first.key)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    plain = publish(tmp_path, run())
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before, "stored results are left alone"
    assert plain.manifest == {"origin": "imported", "command": "refers-bench again"} and len(plain.jobs) == 1


@pytest.mark.parametrize(
    "field", ["image_ids", "patient_ids", "labels_NK", "scores_NK", "classes", "method", "label_ratio"]
)
def test_other_predictions_are_another_result(field: str, tmp_path: Path) -> None:
    others: dict[str, Any] = {
        "image_ids": ("z", "a", "m", "c"), "patient_ids": ("q", "p", "q", "p"), "labels_NK": 1 - abs(run().labels_NK),
        "scores_NK": run().scores_NK + 1, "classes": ("Mass", "Gap", "None", "All", "Void"), "method": "m", "label_ratio": 1.0,
    }  # fmt: skip
    keys = [publish(tmp_path, one).jobs[0].key for one in (run(), run(**{field: others[field]}))]
    assert keys[0] != keys[1]
    released = publish(tmp_path, run(), origin=predictions.RELEASED, name="r").jobs[0].key
    assert released not in keys


def test_a_plan_of_another_origin_is_not_written_over(tmp_path: Path) -> None:
    publish(tmp_path, run())
    before = (tmp_path / "n" / lock.LOCK).read_bytes()
    with pytest.raises(UserError, match="a plan 'n' of another origin: imported; allowed: another name: --name"):
        publish(tmp_path, run(seed=9), origin=predictions.RELEASED)
    assert (tmp_path / "n" / lock.LOCK).read_bytes() == before
