"""Runs stand on one test list when images and labels are the same, or when one preparation made them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from refers_bench.analysis.held_out import same_images
from refers_bench.store import schemas

ROWS = [("i1", "a", 1), ("i1", "b", 0), ("i2", "a", 0), ("i2", "b", None)]


def imported(folder: Any, method: str, rows: list[tuple[str, str, int | None]], **more: Any) -> None:
    """A finished run that no preparation of ours stands behind."""
    key = folder.cell(method, aucs={"a": 0.8, "b": 0.7}, **more)
    folder.lock["jobs"][-1]["spec"].pop("prepare")
    frame = pd.DataFrame(rows, columns=["image_id", "class", "label"]).assign(patient_id="", logit=0.5, split="test")
    schemas.write(
        folder.results / "store" / key / "predictions.parquet",
        frame.astype({"label": "Int8", "logit": "float32"}),
        "predictions",
    )


@pytest.mark.parametrize(
    ("rows", "same"),
    [
        (ROWS, True),
        (ROWS[::-1], True),
        ([("i1", "a", 1), ("i1", "b", 0), ("i3", "a", 0), ("i3", "b", None)], False),
        ([("i1", "a", 1), ("i1", "b", 1), ("i2", "a", 0), ("i2", "b", None)], False),
        ([("i1", "a", 1), ("i1", "b", 0), ("i2", "a", 0), ("i2", "b", 0)], False),
        ([("i1", "a", 1), ("i1", "c", 0), ("i2", "a", 0), ("i2", "c", None)], False),
        (ROWS[:2], False),
    ],
    ids=["equal", "order", "image", "label", "unknown label", "class", "fewer"],
)
def test_imported_runs_are_compared_by_images_classes_and_labels(rows: list[Any], same: bool, folder: Any) -> None:
    imported(folder, "refers", ROWS)
    imported(folder, "c2l", rows)
    results = folder.load()
    assert same_images(results, ["refers", "c2l"], results.targets[0]) == same
    assert same_images(results, ["refers"], results.targets[0])


def test_our_runs_are_compared_by_their_preparation(folder: Any) -> None:
    for method in ("refers", "c2l", "transvw"):
        folder.cell(method)
    folder.lock["jobs"][-1]["spec"]["prepare"] = "another"
    folder.cell("failed", state="failed")
    folder.lock["jobs"][-1]["spec"]["prepare"] = "a third"
    results = folder.load()
    target = results.targets[0]
    assert same_images(results, ["refers", "c2l", "failed"], target), "what has no figure has no test list"
    assert not same_images(results, ["refers", "transvw"], target)


def test_a_run_without_preparation_and_predictions_says_nothing(folder: Any) -> None:
    folder.cell("refers")
    folder.cell("c2l")
    folder.lock["jobs"][-1]["spec"].pop("prepare")
    results = folder.load()
    assert same_images(results, ["refers", "c2l"], results.targets[0])


def test_the_size_of_prepared_images_makes_no_other_test_images(folder: Any) -> None:
    data = {"kind": "prepare", "dataset": "covid19_idc", "digest": "d", "prepared_size": 104}
    others = {"larger": {"prepared_size": 256, "interpolation": "bicubic", "fit": "crop"}, "other": {"digest": "e"}}
    for method, changed in {"refers": {}, **others}.items():
        folder.cell(method)
        folder.lock["jobs"][-1]["spec"]["prepare"] = method
        folder.job(method, "prepare", spec={**data, **changed})
    results = folder.load()
    assert same_images(results, ["refers", "larger"], results.targets[0])
    assert not same_images(results, ["refers", "other"], results.targets[0])
