"""One's own tables become text cells, and each cell knows its line and column."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.own_table import OwnTable, read_own_table
from refers_bench.errors import DataError


def table(folder: Path, text: str, *, name: str = "t.csv", separator: str = "") -> OwnTable:
    path = folder / name
    path.write_bytes(text.encode())
    return read_own_table(path, separator=separator)


@pytest.mark.parametrize(
    ("name", "separator", "sign"), [("t.csv", "", ","), ("t.TSV", "", "\t"), ("t.tab", "", "\t"), ("t.txt", ";", ";")]
)
def test_cells_are_text_without_blanks_around_them(tmp_path: Path, name: str, separator: str, sign: str) -> None:
    text = sign.join(["a", " b "]) + "\r\n" + sign.join(["1", ' "x"']) + "\n\n" + sign.join(["", " 0.50 "]) + "\n"
    found = table(tmp_path, "\ufeff" + text.replace(' "x"', '"x y"'), name=name, separator=separator)
    assert found.cells.to_dict("list") == {"a": ["1", ""], "b": ["x y", "0.50"]}
    assert [found.line_of(row) for row in (0, 1)] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, "a", (2, 1)), (0, "b", (2, 6)), (0, "c", (3, 8)), (1, "c", (4, 4)), (1, "b", (4, 3))],
)
def test_a_cell_has_its_line_and_column(tmp_path: Path, row: int, column: str, place: tuple[int, int]) -> None:
    found = table(tmp_path, 'a,b,c\n"1,","two, and\nlines",3\n4,,\n')
    problem = found.problem(row, column, "wrong", allowed="right", nearest="rihgt")
    assert (problem.line, problem.column) == place
    assert str(problem).startswith(f"{tmp_path / 't.csv'}:{place[0]}:{place[1]}: wrong; allowed: right; did you mean")


def test_a_parquet_file_gives_the_same_text_and_names_rows(tmp_path: Path) -> None:
    values = {"a": [1, 0], "b": [1.0, None], "c": [True, False], "d": [["x", "y"], []], "e": ["t ", None]}
    pd.DataFrame(values).to_parquet(tmp_path / "t.parquet")
    found = read_own_table(tmp_path / "t.parquet")
    assert found.cells.to_dict("list") == {
        "a": ["1", "0"], "b": ["1.0", ""], "c": ["1", "0"], "d": ["x|y", ""], "e": ["t", ""],
    }  # fmt: skip
    assert str(found.problem(1, "b", "wrong")) == f"{tmp_path / 't.parquet'}: row 2, column 'b': wrong"
    assert str(found.needed([("z", "image")])[0]) == (
        f"{tmp_path / 't.parquet'}: no column 'z', which 'image' names; allowed: a, b, c, d, e"
    )
    assert found.line_of(1) == "row 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "an empty file"),
        ("a,b\n", r"t\.csv:1:1: no row"),
        ("a,b,a\n1,2,3\n", r"t\.csv:1:1: column 'a' twice; allowed: each column once"),
        ("a,b\n1,2\n1\n1,2,3\n", r"t\.csv:3:1: 1 cells; allowed: 2, as in line 1\n.*t\.csv:4:1: 3 cells"),
        ('a,b\n1,2\n1,"2\n', r"t\.csv:3:1: not a table: unexpected end of data"),
        ("a;b\n1;2,3\n", r"t\.csv:1:1: a single column, 'a;b'; its cells seem to be separated by ';'"),
        ("a\tb\n1\t2\n", r"separated by a tab"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, text)


def test_missing_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such file; allowed: a \.csv, \.tsv or \.parquet file"):
        read_own_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"none\.parquet: no such file"):
        read_own_table(tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"none: a file without ending file"):
        read_own_table(tmp_path / "none")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv: cannot read"):
        read_own_table(tmp_path / "folder.csv")
    (tmp_path / "latin.csv").write_bytes(b"a,b\n1,2\n3,\xe9\n")
    with pytest.raises(DataError, match=r"latin\.csv:3:3: not UTF-8 text; allowed: UTF-8"):
        read_own_table(tmp_path / "latin.csv")


def test_a_needed_column_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    found = table(tmp_path, "image,label\n1,2\n").needed([("image", "image"), ("labl", "labels")])
    assert [str(one).partition(": ")[2] for one in found] == [
        "no column 'labl', which 'labels' names; allowed: image, label; did you mean 'label'?"
    ]
