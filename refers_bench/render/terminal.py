"""How does a table look on a terminal or in a log, as plain text?"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence

from refers_bench.render.escape import printable
from refers_bench.render.table import Cell, Note, Table


def table(content: Table, *, width: int = 100) -> str:
    """The table with aligned columns; footnotes and caption wrapped, the table itself is not.

    Args:
        content: the table.
        width: characters per line for the running text.
    """
    marks = content.footnotes()
    head: list[list[str]] = []
    if any(title for title, _ in content.groups):
        # The group's title stands over its first column only.
        groups = [title if not place else "" for title, span in content.groups for place in range(span)]
        head.append(["", *map(printable, groups)])
    head.append([printable(content.stub), *(printable(c.title) + _marks(c.notes, marks) for c in content.columns)])
    if any(column.subtitle for column in content.columns):
        head.append(["", *(printable(column.subtitle) for column in content.columns)])
    blocks = [
        [[printable(row.title) + _marks(row.notes, marks), *(_cell(cell, marks) for cell in row.cells)] for row in rows]
        for _, rows in content.blocks
    ]
    grid = [*head, *(row for block in blocks for row in block)]
    widths = [max(_width(row[place]) for row in grid) for place in range(len(content.columns) + 1)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [*textwrap.wrap(printable(content.caption), width), rule, *(_line(row, widths) for row in head), rule]
    for block in blocks:
        lines += [*(_line(row, widths) for row in block), rule]
    notes = [f"{mark} {printable(note.text)}" for note, mark in marks.items()] + [printable(t) for t in content.notes]
    for note in notes:
        lines += textwrap.wrap(note, width, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _marks(notes: Sequence[Note], marks: Mapping[Note, str]) -> str:
    return f" [{','.join(marks[note] for note in notes)}]" if notes else ""


def _cell(cell: Cell, marks: Mapping[Note, str]) -> str:
    figure = printable(cell.figure)
    # Bold does not survive a log file; an asterisk does.
    figure = f"*{figure}" if cell.best else figure
    return figure + (f" ± {cell.spread}" if cell.spread else "") + _marks(cell.notes, marks)


def _width(text: str) -> int:
    """Columns a text takes: wide signs take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()
