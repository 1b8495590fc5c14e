"""Writes tables and tidy rows as CSV that spreadsheets and pandas read alike: numbers unrounded, no display strings."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench.render.escape import csv as escape
from refers_bench.render.table import Table


def _write(rows: Iterable[Iterable[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(
        [value if isinstance(value, int | float) else "" if value is None else escape(value) for value in row]
        for row in rows
    )
    return stream.getvalue()


def table(content: Table, *, remark: str = "") -> str:
    """One line per cell: where it stands, its numbers (empty where there is none), then words.

    ``n`` and ``n_2``: of the first and the second group, where there are two; see `Cell` for the other columns.

    Args:
        content: the table.
        remark: a sentence that stands among the notes of every cell.
    """
    where = ["block", "row", "group", "column", "subtitle"]
    numbers = ["value", "sd", "low", "high", "n", "n_2", "df", "unadjusted"]
    rows: list[list[Any]] = [[*where, *numbers, "test", "text", "tag", "best", "notes"]]
    for row in content.rows:
        for column, cell in zip(content.columns, row.cells, strict=True):
            texts = (note.full for note in (*column.notes, *row.notes, *cell.notes))
            notes = "; ".join(filter(None, (remark, *texts)))
            where = [row.block, row.title, column.group, column.title, column.subtitle]
            first, second = (*cell.n, None, None)[:2]
            found = [cell.value, cell.sd, cell.low, cell.high, first, second, cell.df, cell.unadjusted]
            rows.append([*where, *found, cell.test, cell.words, cell.tag, int(cell.best), notes])
    return _write(rows)


def tidy(rows: Iterable[Mapping[str, Any]]) -> str:
    """Tidy rows with the same keys, booleans as 0 and 1; '' when there are none."""
    rows = list(rows)
    if not rows:
        return ""
    names = list(rows[0])
    return _write([names, *([int(row[n]) if isinstance(row[n], bool) else row[n] for n in names] for row in rows)])
