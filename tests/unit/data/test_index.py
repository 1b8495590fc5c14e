"""An index and annotated boxes are checked, sorted, split by patients, and identified by the text that pandas writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from places import place_of
from refers_bench import plugins
from refers_bench.data.index import (
    absent_noted,
    csv_text,
    digest,
    finished_boxes,
    finished_index,
    label_columns,
    leave_out,
    metadata_columns,
    metadata_digest,
    missing_images,
    not_there,
    patient_part,
    patient_split,
    read_table,
    with_task,
)
from refers_bench.errors import DataError
from refers_bench.plugins import INDEX_COLUMNS

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


ABOUT = {"about:age": [1.5, None, 3.0, 2.0] * 5, "about:site, one": ["a,b", None, 'said "no"', "ä"] * 5}


def test_metadata_change_no_digest_and_no_text() -> None:
    """Keys of jobs hold the digest: those from before there were metadata stay what they were."""
    plain = frame_of(20, labels=2)
    known = plain.assign(**ABOUT)
    assert digest(known) == digest(plain) == "06a52e4b68599f4626ad"
    assert csv_text(known) == csv_text(plain) == plain.to_csv(index=False, lineterminator="\n")


@pytest.mark.parametrize("column", [*ABOUT, "image_id"])
def test_the_digest_of_metadata_sees_every_cell_of_them(column: str) -> None:
    known = frame_of(20, labels=1).assign(**ABOUT)
    other = known.copy()
    other.loc[17, column] = 7.0 if column == "about:age" else "another"
    assert metadata_digest(other) != metadata_digest(known) == metadata_digest(known.copy())
    labelled = known.assign(**{"task, one:class 0": pd.Series([1] * 20, dtype="Int8"), "report": "r"})
    assert metadata_digest(labelled) == metadata_digest(known), "labels and texts are no metadata"
    assert metadata_digest(known.drop(columns=list(ABOUT))) == ""


def test_labels_and_metadata_are_told_apart() -> None:
    known = frame_of(3, labels=2)[["image_id", "task, one:class 0", "task, one:class 1"]].assign(**{"about:age": 1.0})
    assert label_columns(known) == ["task, one:class 0", "task, one:class 1"]
    assert metadata_columns(known) == ["about:age"]


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


def test_metadata_of_a_finished_index_are_numbers_or_text(tmp_path: Path) -> None:
    about = {"about:sex": [" F ", "", None], "about:age": [3, None, 1], "about:width": [10, 20, 30]}
    found = finished_index(rows_of(tmp_path, **about), root=tmp_path, table=tmp_path / "t.csv")
    assert list(found.columns) == [*INDEX_COLUMNS, "bytes", "t:k", *sorted(about)]
    assert found["image_id"].tolist() == ["a", "b", "c"]
    assert found["about:sex"].tolist() == [None, None, "F"]
    assert found["about:age"].dtype == found["about:width"].dtype == "float64"
    assert found["about:age"].isna().tolist() == [True, False, False]
    assert found["about:width"].tolist() == [20.0, 30.0, 10.0]
    found.to_parquet(tmp_path / "index.parquet", index=False)
    assert metadata_digest(pd.read_parquet(tmp_path / "index.parquet")) == metadata_digest(found)


def rows_of(folder: Path, **columns: list[Any]) -> pd.DataFrame:
    """An index of three images of 1, 2 and 3 bytes below the folder, with these columns changed."""
    for number, name in enumerate("abc"):
        (folder / f"{name}.png").write_bytes(b"x" * (number + 1))
    return pd.DataFrame(
        {
            "image_id": ["c", "a", "b"], "path": ["c.png", "a.png", "b.png"], "patient_id": ["p", "q", "q"],
            "study_id": ["1", "2", "3"], "view": "PA", "split": ["train", "test", "test"], "report": None,
            "t:k": [1, None, 0], **columns,
        }
    )  # fmt: skip


def test_a_finished_index_is_sorted_and_knows_its_files(tmp_path: Path) -> None:
    frame = rows_of(tmp_path)
    found = finished_index(frame, root=tmp_path, table=tmp_path / "t.csv")
    assert list(found.columns) == [*INDEX_COLUMNS, "bytes", "t:k"]
    assert found["image_id"].tolist() == ["a", "b", "c"] and found["bytes"].tolist() == [1, 2, 3]
    assert found["t:k"].dtype == "Int8" and found["t:k"].isna().tolist() == [True, False, False]
    asked = finished_index(frame, root=tmp_path, table=tmp_path / "t.csv", sizes=lambda: [30, 10, 20])
    assert asked["bytes"].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("columns", "problems"),
    [
        ({"image_id": ["c", "a", "a"]}, ["image 'a' is listed twice; allowed: each image once"]),
        ({"split": ["train", "tset", "test"]}, [
            "unknown split 'tset'; allowed: train, val, test", "patient 'q' is in test, tset; allowed: one split per patient"
        ]),
        ({"patient_id": ["q", "q", "r"]}, ["patient 'q' is in test, train; allowed: one split per patient"]),
        ({"patient_id": ["q", "q", "r"], "split": ["", "test", "test"]}, []),
        ({"path": ["c.png", "/a.png", "../b.png"]}, [
            "path '/a.png' leads outside the root", "path '../b.png' leads outside the root"
        ]),
        ({"path": ["c.png", "a.png", "d.png"]}, ["d.png: missing image"]),
    ],
)  # fmt: skip
def test_every_problem_of_an_index_is_told(columns: dict[str, Any], problems: list[str], tmp_path: Path) -> None:
    frame = rows_of(tmp_path, **columns)
    if not problems:
        assert len(finished_index(frame, root=tmp_path, table=tmp_path / "t.csv")) == 3
        return
    with pytest.raises(DataError) as refused:
        finished_index(frame, root=tmp_path, table=tmp_path / "t.csv")
    assert len(refused.value.problems) == len(problems)
    for one, text in zip(refused.value.problems, problems, strict=True):
        assert text in str(one)


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row; allowed: at least one image with its row"):
        finished_index(rows_of(tmp_path).head(0), root=tmp_path, table=tmp_path / "t.csv")


def test_rows_without_a_file_are_noted_where_somebody_wants_to_know(tmp_path: Path) -> None:
    frame, summary = rows_of(tmp_path, path=["c.png", "a.png", "d.png"]), not_there(1, 3, tmp_path, what="studies")
    with absent_noted() as noted:
        found = finished_index(frame, root=tmp_path, table=tmp_path / "t.csv")
        leave_out(missing_images(["e.png"], root=tmp_path), refuse=False)
    assert found["image_id"].tolist() == ["a", "c"] and found["bytes"].tolist() == [1, 3]
    assert [one.path for one in noted.refused] == [tmp_path / "d.png"]
    assert [one.path for one in noted.skipped] == [tmp_path / "e.png"]
    gone = list(missing_images(["e.png", "f.png"], root=tmp_path))
    leave_out(gone, refuse=False)
    leave_out([], refuse=True, summary=summary)
    with pytest.raises(DataError) as refused:
        leave_out(gone, refuse=True, summary=summary)
    assert refused.value.problems[0].found == "1 of 3 studies are not there (missing=skip leaves them out)"
    assert [one.path for one in refused.value.problems] == [tmp_path, tmp_path / "e.png", tmp_path / "f.png"]
    with pytest.raises(DataError) as refused:
        leave_out(gone, refuse=True)
    assert len(refused.value.problems) == 2


def boxes_of(**columns: Any) -> pd.DataFrame:
    known = {
        "image_id": ["b", "a"], "class": "Mass", "reader": "", "left": ["0.5", "0"], "top": "0.25", "width": "0.25",
        "height": "0.5",
    }  # fmt: skip
    return pd.DataFrame({**known, **columns})


def test_boxes_are_numbers_inside_their_image(tmp_path: Path) -> None:
    found = finished_boxes(boxes_of(more="x"), path=tmp_path)
    assert list(found.itertuples(index=False, name=None)) == [
        ("a", "Mass", "", 0.0, 0.25, 0.25, 0.5), ("b", "Mass", "", 0.5, 0.25, 0.25, 0.5)
    ]  # fmt: skip
    for columns in ({"left": -0.019}, {"top": 0.519}, {"left": 0.769}, {"top": -0.02}, {"width": 1e-9}):
        assert len(finished_boxes(boxes_of(**columns), path=tmp_path)) == 2, columns
    for columns in (
        {"left": -0.021}, {"top": -0.021}, {"left": 0.771}, {"top": 0.521}, {"width": 0}, {"height": 0},
        {"width": -0.1}, {"left": "x"}, {"top": ""}, {"height": "x"},
    ):  # fmt: skip
        with pytest.raises(DataError) as refused:
            finished_boxes(boxes_of(**columns), path=tmp_path)
        assert len(refused.value.problems) == 2, columns
    one = boxes_of(left=["0.5", "x"])
    with pytest.raises(
        DataError, match=r"box of 'a' at x, 0\.25, 0\.25, 0\.5; allowed: left, top, width, height within"
    ):
        finished_boxes(one, path=tmp_path)


PATIENTS = pd.Series([f"p{number % 21}" for number in range(50)])


@pytest.mark.parametrize("seed", [0, 4])
def test_patients_are_split_by_hashes_of_their_names(seed: int) -> None:
    """Of 21 patients 15 train (0.7 x 21 is 14.7), 2 validate (up to 16.8) and 4 are tested."""
    order = sorted(set(PATIENTS), key=lambda name: place_of("patient split", "d", seed, name))
    expected = {name: "train" if n < 15 else "val" if n < 17 else "test" for n, name in enumerate(order)}
    assert patient_split(PATIENTS, dataset="d", seed=seed).tolist() == [expected[name] for name in PATIENTS]
    order = sorted(set(PATIENTS), key=lambda name: place_of("patient part", "d", seed, name))
    found = patient_part(PATIENTS, dataset="d", seed=seed, share=0.17)
    assert found.tolist() == [name in order[:4] for name in PATIENTS], "0.17 x 21 is 3.57"


def test_a_task_that_follows_from_another_is_positive_where_one_of_its_classes_is() -> None:
    classes = plugins.load("dataset", "nih_chestxray14").tasks["findings"].classes
    frame = pd.DataFrame({f"findings:{name}": pd.array([0, 0, None, None], dtype="Int8") for name in classes})
    frame.loc[[1, 3], "findings:Mass"] = 1
    found = with_task(frame, "nih_chestxray14", "any_finding")["any_finding:Any finding"]
    assert found.tolist() == [0, 1, pd.NA, 1]
    assert str(found.dtype) == "Int8"
    assert with_task(frame, "nih_chestxray14", "findings") is frame
