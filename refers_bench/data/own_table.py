"""Reads a table of one's own (CSV, TSV or Parquet) as text cells, and says on which line and column each stands."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench.errors import DataError, Problem, nearest
from refers_bench.files import plain_file
from refers_bench.manifest.yaml_text import Place

#: Ending of a file -> what separates its cells; a Parquet file has columns instead.
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = ".parquet"
ALLOWED = ".csv, .tsv or .parquet"
#: Columns of a text file, at most.
WIDEST = 10_000
#: Signs that separate cells in some files -> how a message calls them.
_SIGNS = {";": "';'", "\t": "a tab", ",": "','"}


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTable:
    """A table as text.

    Attributes:
        path: its file.
        cells: text without blanks around it, '' where a cell is empty.
        separator: of its cells; '' for a Parquet file.
        starts: line of a text file, from 0, on which each row begins.
        lines: of a text file.
    """

    path: Path
    cells: pd.DataFrame
    separator: str = ""
    starts: Sequence[int] = ()
    lines: Sequence[str] = ()

    def problem(self, row: int, column: str, found: str, *, allowed: str = "", nearest: str = "") -> Problem:
        """A `Problem` at a cell.

        Args:
            row: from 0, without the header.
            column: its name.
            found: what is wrong there.
            allowed: what may stand there.
            nearest: the known name closest to what stands there.
        """
        if not self.separator:
            found = f"row {row + 1}, column '{column}': {found}"
            return self.head.problem(found, allowed=allowed, nearest=nearest)
        line, start = self._place(row, list(self.cells.columns).index(column))
        return Place(self.path, line + 1, start + 1).problem(found, allowed=allowed, nearest=nearest)

    @property
    def head(self) -> Place:
        """Where the names of the columns stand."""
        return Place(self.path) if self.separator else Place(self.path, None, None)

    def line_of(self, row: int) -> str:
        """Where a row stands, in words."""
        return f"line {self.starts[row] + 1}" if self.separator else f"row {row + 1}"

    def needed(self, names: Iterable[tuple[str, str]]) -> list[Problem]:
        """A problem for each column that is not there.

        Args:
            names: a column, and the key of the manifest that names it.
        """
        known = [str(name) for name in self.cells.columns]
        problems = []
        for name, key in names:
            if name not in known:
                found = f"no column '{name}', which '{key}' names"
                problems.append(self.head.problem(found, allowed=", ".join(known), nearest=nearest(name, known)))
        return problems

    def _place(self, row: int, cell: int) -> tuple[int, int]:
        """Line and column, from 0, at which a cell of a text file begins."""
        line, column, quoted = self.starts[row], 0, False
        while True:
            text = self.lines[line]
            for at, sign in enumerate(text):
                if cell == 0:
                    return line, column
                if sign == '"':
                    quoted = not quoted
                elif sign == self.separator and not quoted:
                    cell, column = cell - 1, at + 1
            if cell == 0 or line + 1 == len(self.lines):
                return line, column
            line += 1


def read_own_table(path: Path, *, separator: str = "") -> OwnTable:
    """Read a table; its first line names the columns.

    Args:
        path: the file.
        separator: of its cells, where the file's ending does not say it.

    Raises:
        DataError: missing, of another kind, empty, not UTF-8, malformed, a column twice, or rows of unequal length,
            with line and column.
    """
    kind = path.suffix.lower()
    if kind not in (*SEPARATORS, PARQUET) and not separator:
        raise DataError(f"a {kind or 'file without ending'} file", allowed=ALLOWED, path=path)
    try:
        if kind == PARQUET:
            return _checked(OwnTable(path=path, cells=_texts(pd.read_parquet(plain_file(path)))))
        content = plain_file(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError("no such file", allowed=f"a {ALLOWED} file", path=path) from error
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"cannot read: {str(error).splitlines()[0]}", allowed=ALLOWED, path=path) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(path, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise DataError(place.problem("not UTF-8 text", allowed="UTF-8")) from error
    return _checked(_parsed(path, text, separator or SEPARATORS[kind]))


def _parsed(path: Path, text: str, separator: str) -> OwnTable:
    """The rows of a text file, each with as many cells as the first line."""
    lines = io.StringIO(text, newline="").readlines()
    reader, rows, starts, start = csv.reader(lines, delimiter=separator, strict=True), [], [], 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                starts.append(start)
            start = reader.line_num
    except csv.Error as error:
        found = f"not a table: {error}"
        problem = Problem(found=found, allowed="quotation marks in pairs", path=path, line=start + 1, column=1)
        raise DataError(problem) from error
    if not rows:
        raise DataError("an empty file", allowed="a line of column names, then a line for each image", path=path)
    header, width = [name.strip() for name in rows[0]], len(rows[0])
    if width > WIDEST:
        raise DataError(Place(path).problem(f"{width} columns", allowed=f"at most {WIDEST}"))
    others = [said for sign, said in _SIGNS.items() if sign != separator and sign in header[0]]
    if width == 1 and others:
        found = f"a single column, '{header[0]}'; its cells seem to be separated by {others[0]}"
        allowed = "',' in a .csv file, a tab in a .tsv file, or what 'separator' says in the manifest"
        raise DataError(Place(path).problem(found[:200], allowed=allowed))
    uneven = [(at, row) for at, row in zip(starts, rows, strict=True) if len(row) != width]
    if uneven:
        allowed = f"{width}, as in line {starts[0] + 1}"
        raise DataError(
            Problem(found=f"{len(row)} cells", allowed=allowed, path=path, line=at + 1, column=1) for at, row in uneven
        )
    cells = pd.DataFrame([[cell.strip() for cell in row] for row in rows[1:]], columns=header, dtype=object)
    return OwnTable(path=path, cells=cells, separator=separator, starts=starts[1:], lines=lines)


def _checked(table: OwnTable) -> OwnTable:
    """The table, where it has rows and each column one name."""
    names = table.cells.columns
    twice = sorted({str(name) for name in names[names.duplicated()]})
    if twice:
        found = f"{' and '.join(f'column {name!r}' for name in twice)} twice"
        raise DataError(table.head.problem(found, allowed="each column once"))
    if table.cells.empty:
        raise DataError(table.head.problem("no row", allowed="a line for each image"))
    return table


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The cells of a Parquet file as a CSV would show them; a list as its parts with '|' between."""
    columns = {str(name): [_text(value) for value in column] for name, column in frame.items()}
    return pd.DataFrame(columns, dtype=object)


def _text(value: Any) -> str:
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return "|".join(str(part) for part in value)
    if pd.isna(value):
        return ""
    return str(int(value)) if type(value).__name__ in ("bool", "bool_") else str(value).strip()
