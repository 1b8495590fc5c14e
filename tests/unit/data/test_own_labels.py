"""Labels of one's own: 0, 1 or unknown, from columns of numbers or from one column of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench.data import own_labels
from refers_bench.data.own_table import OwnTable


def of(cells: list[str], column: str = "a") -> OwnTable:
    lines = [f"{column}\n", *(f"{cell}\n" for cell in cells)]
    frame = pd.DataFrame({column: cells}, dtype=object)
    return OwnTable(path=Path("t.csv"), cells=frame, separator=",", starts=range(1, len(lines)), lines=lines)


def values(labels: dict[str, pd.Series]) -> dict[str, list[Any]]:
    assert all(str(column.dtype) == "Int8" for column in labels.values())
    return {name: [None if pd.isna(one) else int(one) for one in column] for name, column in labels.items()}


@pytest.mark.parametrize("missing", [("-1",), ("-1.0",)])
def test_numbers_may_have_a_point_and_unknown_is_null(missing: tuple[str, ...]) -> None:
    labels, problems = own_labels.zero_one(of(["0", "1", "1.0", "", "-1", "-1.00"]), ["a"], missing=missing)
    assert values(labels) == {"a": [0, 1, 1, None, None, None]} and not problems


def test_what_is_missing_may_be_any_text_or_number() -> None:
    labels, problems = own_labels.zero_one(of(["0", "1", "n/a", "0.0"]), ["a"], missing=("0", "n/a"))
    assert values(labels) == {"a": [None, 1, None, None]} and not problems
    cells = pd.Series(["", "-1", "-1.0", "n/a", "N/A", "1"])
    assert own_labels.unknown_cells(cells, ("-1", "n/a")).tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize("cell", ["2", "-1", "yes", "01x", "nan", "true"])
def test_everything_else_is_refused(cell: str) -> None:
    _, problems = own_labels.zero_one(of(["0", cell, "1", cell]), ["a"], missing=("NA",))
    assert [(one.line, one.column) for one in problems] == [(3, 1), (5, 1)]
    assert problems[0].found == f"label '{cell}' of class 'a'" and problems[0].allowed == "0, 1, empty, NA"


LISTED = ["x|y", "y", " x | x ", "none", "", "?"]


def listed(cells: list[str], **how: Any) -> tuple[dict[str, pd.Series], Any]:
    given = {"classes": (), "negative": "", "missing": (), **how}
    return own_labels.listed(of(cells), "a", **given)


def test_names_are_positive_others_negative_and_empty_cells_unknown() -> None:
    labels, problems = listed(LISTED, negative="none", missing=("?",))
    assert not problems
    assert values(labels) == {"x": [1, 0, 1, 0, None, None], "y": [1, 1, 0, 0, None, None]}
    labels, _ = listed(LISTED, missing=("?",))
    assert list(labels) == ["none", "x", "y"], "without 'negative' it is a class like others"
    labels, _ = listed(["y", "x"], classes=("y", "x", "z"))
    assert values(labels) == {"y": [1, 0], "x": [0, 1], "z": [0, 0]}


@pytest.mark.parametrize(
    ("cells", "how", "found"),
    [
        (["x|y", "z|w"], {"classes": ("x", "y", "z")}, "label 'w'"),
        (["x||y"], {"classes": ("x", "y")}, "an empty label in 'x||y'"),
        (["x|no"], {"negative": "no"}, "'no' beside other labels in 'x|no'"),
        (["0", "1", ""], {}, "column 'a' holds 0 and 1"),
        ([f"text {n}" for n in range(201)], {}, "201 different labels in column 'a'"),
    ],
)
def test_what_no_column_of_names_holds_is_refused(cells: list[str], how: dict[str, Any], found: str) -> None:
    _, problems = listed(cells, **how)
    assert [one.found for one in problems] == [found]
    assert listed([f"text {n}" for n in range(200)])[1] == []
