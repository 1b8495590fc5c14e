"""Is the text that identifies an index the one that pandas writes, whatever stands in it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from refers_bench.data.index import csv_text, digest, finished_boxes, finished_index, read_table
from refers_bench.errors import DataError

HOSTILE = ["plain", "", "a,b", 'said "no"', "two\nlines", '"', ",", "ünïcode, Größe", " spaces ", "-1", "None", "a'b"]


def frame_of(count: int, *, labels: int, seed: int = 0, dtype: str = "object") -> pd.DataFrame:
    """An index with every hostile text in every text column, missing reports and unknown labels."""
    rng = np.random.default_rng(seed)
    names = ["image_id", "path", "patient_id", "study_id", "view", "split", "report"]
    frame = pd.DataFrame({name: pd.Series(rng.choice(HOSTILE, count), dtype=dtype) for name in names})
    frame["report"] = frame["report"].where(rng.random(count) < 0.7, None)
    frame["bytes"] = rng.integers(0, 2**40, count)
    for number in range(labels):
        values = pd.Series(rng.integers(0, 2, count), dtype="Int8")
        frame[f"task, one:class {number}"] = values.where(rng.random(count) < 0.8)
    return frame


@pytest.mark.parametrize("dtype", ["object", "str"])
@pytest.mark.parametrize(("count", "labels"), [(0, 3), (1, 1), (400, 0), (400, 5)])
def test_csv_text_is_what_pandas_writes(count: int, labels: int, dtype: str) -> None:
    frame = frame_of(count, labels=labels, dtype=dtype)
    assert csv_text(frame) == frame.to_csv(index=False, lineterminator="\n")


@pytest.mark.parametrize("column", ["image_id", "split", "report", "bytes", "task, one:class 1"])
def test_digest_sees_every_cell(column: str) -> None:
    frame = frame_of(50, labels=2)
    other = frame.copy()
    if column.startswith("task"):
        other.loc[17, column] = 1 if pd.isna(frame.loc[17, column]) else pd.NA
    else:
        other.loc[17, column] = -5 if column == "bytes" else "another"
    assert digest(frame) != digest(other)
    assert digest(frame) == digest(frame.copy())


def test_cells_of_a_table_are_text_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n007,NA\n,1.50\n", encoding="utf-8-sig")
    frame = read_table(tmp_path / "a.csv", required=("x",))
    assert frame.to_dict("list") == {"x": ["007", ""], "y": ["NA", "1.50"]}
    with pytest.raises(DataError, match="no column 'z'"):
        read_table(tmp_path / "a.csv", required=("z",))


@pytest.mark.parametrize("path", ["../a.png", "/a.png", "b/../../a.png", ".."])
def test_paths_that_leave_the_root_are_refused(path: str, tmp_path: Path) -> None:
    frame = frame_of(1, labels=1).assign(image_id="a", split="train", path=path)
    with pytest.raises(DataError, match="leads outside the root"):
        finished_index(frame.drop(columns="bytes"), root=tmp_path, table=tmp_path / "a.csv")


def test_dots_in_a_name_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "a..png").write_bytes(b"12")
    frame = frame_of(1, labels=1).assign(image_id="a", split="train", path="a..png")
    assert finished_index(frame.drop(columns="bytes"), root=tmp_path, table=tmp_path)["bytes"].tolist() == [2]


def test_boxes_have_a_digest_of_every_number() -> None:
    boxes = pd.DataFrame({"image_id": ["a", "b"], "class": "Mass", "reader": "", "left": [0.1, 1 / 3], "top": 0.2})
    moved = boxes.assign(left=[0.1, 1 / 3 + 1e-12])
    assert digest(boxes) == digest(boxes.copy()) != digest(moved)


def box_frame(*rows: tuple[object, ...]) -> pd.DataFrame:
    sides = ("width", "height", "top", "left")  # another order than that of the columns
    return pd.DataFrame(rows, columns=["reader", "class", "image_id", *sides])


def test_boxes_are_numbers_in_the_order_of_their_columns(tmp_path: Path) -> None:
    rows = [
        ("R2", "Mass", "b", "0.25", "0.5", "0.125", "0.75"),
        ("R1", "Mass", "b", 0.2, 0.1, 0.3, 0.4),
        ("", "Nodule", "a", 1, 0.5, 0, 0),
    ]
    found = finished_boxes(box_frame(*rows), path=tmp_path)
    assert list(found.columns) == ["image_id", "class", "reader", "left", "top", "width", "height"]
    assert found.to_numpy().tolist() == [
        ["a", "Nodule", "", 0, 0, 1, 0.5],
        ["b", "Mass", "R1", 0.4, 0.3, 0.2, 0.1],
        ["b", "Mass", "R2", 0.75, 0.125, 0.25, 0.5],
    ]


@pytest.mark.parametrize(
    ("box", "good"),
    [
        ({"left": -0.02}, True),
        ({"left": -0.021}, False),
        ({"top": -0.02}, True),
        ({"top": -0.021}, False),
        ({"left": 0.92}, True),
        ({"left": 0.93}, False),
        ({"top": 0.72}, True),
        ({"top": 0.73}, False),
        ({"width": 0}, False),
        ({"height": 0}, False),
        ({"width": -0.1}, False),
        ({"height": "x"}, False),
        ({"width": 0.001}, True),
        ({"height": 0.001}, True),
    ],
)
def test_boxes_stay_within_their_image_but_for_two_per_cent(box: dict[str, object], good: bool, tmp_path: Path) -> None:
    sides = {"width": 0.1, "height": 0.3, "top": 0.2, "left": 0.4, **box}
    frame = box_frame(("", "Mass", "a", *(sides[name] for name in ("width", "height", "top", "left"))))
    if good:
        (row,) = finished_boxes(frame, path=tmp_path).to_dict("records")
        assert {name: row[name] for name in sides} == sides
    else:
        shown = ", ".join(str(sides[name]) for name in ("left", "top", "width", "height"))
        with pytest.raises(
            DataError, match=f"box of 'a' at {shown}.*allowed: left, top, width, height within the image"
        ):
            finished_boxes(frame, path=tmp_path)
