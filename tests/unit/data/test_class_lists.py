"""Released lists of images: what a line gives, and which lines are refused, each by its number."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.class_lists import read_class_list, read_class_lists
from refers_bench.errors import DataError


def test_a_line_is_a_name_and_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("images_001/images/a.b.png 0 1\nplain 1.0 0.0\n")
    frame = read_class_list(path, classes=("x", "y"), split="train")
    assert frame.to_dict("records") == [
        {"name": "a.b", "split": "train", "x": 0, "y": 1},
        {"name": "plain", "split": "train", "x": 1, "y": 0},
    ]
    assert frame.dtypes[["x", "y"]].tolist() == [pd.Int8Dtype(), pd.Int8Dtype()]


def test_every_wrong_line_is_named_up_to_20(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("a 0 2\nb 0 1\nc 0\n\n" + "x" * 61 + "\n" + "y" * 60 + "\n" + "d 0 1 1\n" * 20)
    with pytest.raises(DataError) as refused:
        read_class_list(path, classes=("x", "y"), split="train")
    problems = refused.value.problems
    assert [one.line for one in problems] == [1, 3, 4, 5, 6, *range(7, 22)]
    assert [one.found for one in problems[:6]] == [
        "'a 0 2'",
        "'c 0'",
        "''",
        f"'{'x' * 57}...'",
        f"'{'y' * 60}'",
        "'d 0 1 1'",
    ]
    assert {one.allowed for one in problems} == {"a name and 2 labels, 0 or 1"} and {one.path for one in problems} == {
        path
    }


def test_a_missing_list_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: missing list; allowed: a list as released"):
        read_class_list(tmp_path / "none.txt", classes=("x",), split="val")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"bytes\.txt: not UTF-8 text"):
        read_class_list(tmp_path / "bytes.txt", classes=("x",), split="val")


def test_the_first_name_that_is_there_is_read_and_no_image_stands_twice(tmp_path: Path) -> None:
    for name, text in {"old.txt": "a 1\n", "new.txt": "b 1\n", "test.txt": "c 0\nd 1\n"}.items():
        (tmp_path / name).write_text(text)
    files = {"train": ("absent.txt", "old.txt", "new.txt"), "test": ("test.txt",)}
    frame = read_class_lists(tmp_path, files, classes=("x",))
    assert list(zip(frame["name"], frame["split"], frame["x"], strict=True)) == [
        ("a", "train", 1),
        ("c", "test", 0),
        ("d", "test", 1),
    ]
    with pytest.raises(DataError, match=r"absent\.txt: missing list"):
        read_class_lists(tmp_path, {"train": ("absent.txt", "gone.txt")}, classes=("x",))
    (tmp_path / "old.txt").write_text("\n".join(f"n{number:02d} 1" for number in range(25)))
    (tmp_path / "test.txt").write_text("\n".join(f"n{number:02d} 0" for number in range(25)))
    with pytest.raises(DataError) as refused:
        read_class_lists(tmp_path, files, classes=("x",))
    assert [one.found for one in refused.value.problems] == [f"'n{number:02d}' is listed twice" for number in range(20)]
