"""Reads labels of one's own: columns of 0 and 1, or one column of names with a sign between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from refers_bench.data.own_table import OwnTable
from refers_bench.errors import Problem, nearest

#: Separates the names in a cell.
BETWEEN = "|"
#: More names than any set of labels has: a column of free text was named by mistake.
MOST_CLASSES = 200
_KNOWN = {"0": 0, "1": 1}


def plain(text: str) -> str:
    """A number in its shortest form, so that -1 and -1.0 are the same; other text as it stands.

    Example:
        >>> plain("-1.0"), plain("1"), plain("n/a")
        ('-1', '1', 'n/a')
    """
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else str(number)


def unknown_cells(cells: pd.Series, missing: Collection[str]) -> pd.Series:
    """Whether each cell is empty, or stands for something unknown.

    Args:
        cells: texts.
        missing: texts that stand for it; a number however it is written.
    """
    unknown = {"", *map(plain, missing)}
    return cells.map({text: plain(text) in unknown for text in cells.unique()}).astype(bool)


def zero_one(
    table: OwnTable, columns: Sequence[str], *, missing: Collection[str]
) -> tuple[dict[str, pd.Series], list[Problem]]:
    """Class -> labels of a column each: 1, 0, or null where a cell is empty or `missing`; and the wrong cells.

    Args:
        table: has these columns.
        columns: classes.
        missing: texts that stand for an unknown label.
    """
    labels, problems = {}, []
    allowed = ", ".join(["0, 1, empty", *missing])
    for name in columns:
        cells = table.cells[name]
        unknown = unknown_cells(cells, missing)
        values = cells.map({text: _KNOWN.get(plain(text)) for text in cells.unique()}).where(~unknown)
        for row in cells.index[values.isna() & ~unknown]:
            found = f"label '{table.cells[name][row]}' of class '{name}'"
            problems.append(table.problem(row, name, found, allowed=allowed))
        labels[name] = values.astype("Int8")
    return labels, problems


def listed(
    table: OwnTable, column: str, *, classes: Sequence[str], negative: str, missing: Collection[str]
) -> tuple[dict[str, pd.Series], list[Problem]]:
    """Class -> labels, from a column that names the classes of an image; and the wrong cells.

    Args:
        table: has this column.
        column: cells like ``Edema|Effusion``; 1 for the classes that a cell names, 0 for the others, and all unknown
            where it is empty or `missing`.
        classes: that may be named; () for all that are.
        negative: stands for none of the classes; '' for nothing.
        missing: texts that stand for unknown labels.
    """
    cells = table.cells[column]
    known = cells[~unknown_cells(cells, missing)].unique()
    parts = {text: [part.strip() for part in text.split(BETWEEN)] for text in known}
    found = sorted({part for names in parts.values() for part in names} - {negative})
    if not classes and found and set(found) <= set(_KNOWN):
        text = f"column '{column}' holds 0 and 1"
        return {}, [table.problem(0, column, text, allowed=f"labels: [{column}], or a column of names")]
    if not classes and len(found) > MOST_CLASSES:
        text = f"{len(found)} different labels in column '{column}'"
        return {}, [table.problem(0, column, text, allowed=f"at most {MOST_CLASSES}, with '{BETWEEN}' between them")]
    names, problems = list(classes or found), []
    for row, text in zip(table.cells.index, cells, strict=True):
        for part in parts.get(text, ()):
            if part not in names and part != (negative or None):
                allowed = ", ".join([*names, *filter(None, [negative])])
                wrong = f"label '{part}'" if part else f"an empty label in '{text}'"
                problems.append(table.problem(row, column, wrong, allowed=allowed, nearest=nearest(part, names)))
        if negative and len(parts.get(text, ())) > 1 and negative in parts[text]:
            wrong = f"'{negative}' beside other labels in '{text}'"
            problems.append(table.problem(row, column, wrong, allowed="one of both"))
    labels = {}
    for name in names:
        values = {text: int(name in named) for text, named in parts.items()}
        labels[name] = cells.map(values).astype("Int8")
    return labels, problems
