"""Writes a table as plain text, for a terminal or a log.

Own code, since rich folds or cuts what is too wide: it neither continues a table below itself nor groups columns.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from operator import itemgetter

from rich.cells import cell_len as _width

from refers_bench.printable import printable
from refers_bench.render.table import Markup, Note, Table

#: Bold does not survive a log file; an asterisk does.
_MARKUP = Markup(escape=printable, bold="*{}", spread=" ± {}", tag=" {}", marks=" [{}]")


def table(content: Table, *, width: int = 120) -> str:
    """The table with aligned columns, in several parts where it is wider than the terminal.

    Args:
        content: the table.
        width: characters per line.
    """
    marks = content.footnotes()
    stub, columns = _grid(content, marks)
    lines = textwrap.wrap(printable(content.caption), width)
    for part in _parts(stub, columns, width):
        lines += _part_lines(content, [stub, *part])
    for mark, text in content.below():
        note = f"{mark} {printable(text)}" if mark else printable(text)
        lines += textwrap.wrap(note, width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _grid(content: Table, marks: Mapping[Note, str]) -> tuple[list[str], list[list[str]]]:
    """Texts of the stub and of every column, from the top line of the head down; the head has three lines."""
    rows = content.rows
    stub = ["", printable(content.stub), "", *(printable(row.title) + _MARKUP.marked(row.notes, marks) for row in rows)]
    columns = []
    for place, column in enumerate(content.columns):
        title = printable(column.title) + _MARKUP.marked(column.notes, marks)
        head = [printable(column.group), title, printable(column.subtitle)]
        cells = [row.cells[place] for row in rows]
        columns.append([*head, *(_MARKUP.cell(cell, printable(cell.figure), marks) for cell in cells)])
    return stub, columns


def _parts(stub: list[str], columns: list[list[str]], width: int) -> list[list[list[str]]]:
    """Neighbouring columns that fit beside the stub; a column too wide for any line gets a part of its own."""
    parts: list[list[list[str]]] = [[]]
    room = left = width - max(map(_width, stub))
    for column in columns:
        need = 2 + _column_width(column)
        if need > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= need
    return parts


def _column_width(column: Sequence[str]) -> int:
    """Room for every line; the group's title on top is broken at spaces, so only its longest word counts."""
    word = max(map(_width, column[0].split()), default=0)
    return max(min(word, 24), *map(_width, column[1:]))


def _part_lines(content: Table, columns: list[list[str]]) -> list[str]:
    widths = [_column_width(column) for column in columns]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    grid = [[column[place] for column in columns] for place in range(3 + len(content.rows))]
    head = [*_groups(grid[0], widths), _line(grid[1], widths), _line(grid[2], widths)]
    lines = [rule, *(line for line in head if line)]
    place = 3
    for _, rows in content.blocks:
        lines += [rule, *(_line(row, widths) for row in grid[place : place + len(rows)])]
        place += len(rows)
    return [*lines, rule]


def _groups(titles: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Lines with each group's title over its columns, broken where they end."""
    spans = []
    for title, columns in groupby(zip(titles, widths, strict=True), key=itemgetter(0)):
        inside = [width for _, width in columns]
        spans.append((title, sum(inside) + 2 * (len(inside) - 1)))
    rows = zip_longest(*(_broken(title, span) for title, span in spans), fillvalue="")
    return [_line(row, [span for _, span in spans]) for row in rows]


def _broken(title: str, width: int) -> list[str]:
    """The title in lines of at most `width` columns, at spaces where possible."""
    # textwrap counts characters; signs two columns wide need half as many.
    wide = any(_width(sign) > 1 for sign in title)
    return textwrap.wrap(title, max(1, width // 2 if wide else width), break_on_hyphens=False)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()
