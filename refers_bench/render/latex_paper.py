r"""Writes a table as a journal prints it: never scaled, no type below 7 pt, wide tables in panels one above the other.

A file needs booktabs alone. What an author may want otherwise are commands, so that a file that is written again need
not be edited again: ``{\newcommand{\benchcaption}{Ours.}\newcommand{\benchlabel}{tab:ours}\input{table1}}``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from refers_bench.render.escape import latex as escape
from refers_bench.render.latex import prose, stacked
from refers_bench.render.table import Cell, Column, Markup, Note, Row, Table

#: Points: the line of an article in one column; the gap between columns.
_LINE, _GAP = 345, 6
#: Points of a sign of the table (8 pt), of one in bold, of a smaller one (7 pt); rounded up.
_PLAIN, _BOLD, _SMALL = 4.3, 5.0, 4.1
#: Signs to a line: of a column's title, at least and at most of a row's title, of the notes.
_TITLE, _SHORT, _NAME, _NOTE = 12, 19, 35, 60
#: Lines of a page less those of the caption; notes of more lines than this stand in the text.
_LINES, _NOTE_LINES = 43, 14
#: A P-value as reports write it: "8.35e-4", "< 1e-300".
_POWER = re.compile(r"(< )?([\d.]+)e(-?\d+)")
_PREAMBLE = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
"""
_OPEN = r"""% Needs booktabs. Yours to define, in braces around \input: \benchcaption, \benchlabel, and \benchsd (how a
% standard deviation is written).
\begingroup
\providecommand{\benchsd}[1]{$_{\pm #1}$}
\ifdefined\benchbox\else\newsavebox{\benchbox}\fi
% What is raised or lowered beside 8 pt is set in 7 pt here; LaTeX would take 6 pt.
\makeatletter
\@namedef{S@8}{\gdef\tf@size{8}\gdef\sf@size{7}\gdef\ssf@size{7}}\gdef\glb@currsize{}
\makeatother"""
_CLOSE = r"""\makeatletter\gdef\glb@currsize{}\makeatother
\endgroup
"""
_SIZE, _SMALL_SIZE = r"\fontsize{8}{9.5}\selectfont", r"\fontsize{7}{8.4}\selectfont"
_MARKUP = Markup(
    escape=escape,
    bold=r"\textbf{{{}}}",
    spread=r"\benchsd{{{}}}",
    tag=rf" {{{{{_SMALL_SIZE.replace('{', '{{').replace('}', '}}')} {{}}}}}}",
    marks=r"\textsuperscript{{{}}}",
)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """Some columns of a table with some of its rows, and how many lines they take."""

    content: Table
    lines: int


def table(content: Table, *, footnotes: bool = True) -> str:
    r"""A `table` environment, or several when the panels do not fit a page; `table*` where a column is too narrow.

    Args:
        content: the table; numeric.
        footnotes: whether footnotes and remarks stand below it; what stands in a cell itself ("n=2/3") stays.
    """
    content = content if footnotes else _bare(content)
    marks = content.footnotes()
    signs = {mark: rf"\textsuperscript{{{escape(mark)}}} " if mark else "" for mark in ("", *marks.values())}
    notes = [rf"{signs[mark]}{prose(text)}\par" for mark, text in content.below()]
    lines = sum(-(-len(text) // _NOTE) for _, text in content.below())
    inside = lines <= _NOTE_LINES
    floats = list(_floats(content, marks, room=_LINES - (lines if inside else 0)))
    text = [_OPEN, rf"\providecommand{{\benchcaption}}{{{prose(content.caption)}}}"]
    text.append(rf"\providecommand{{\benchlabel}}{{tab:{content.id}}}")
    for place, panels in enumerate(floats):
        text += [rf"\sbox{{\benchbox}}{{{_SIZE}\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}%", *_tabular(panels, marks)]
        text += [r"}\edef\benchplace{table\ifdim\wd\benchbox>\columnwidth *\fi}", r"\begin{\benchplace}[htbp]"]
        text += [r"\addtocounter{table}{-1}" if place else "", r"\centering"]
        text += [r"\caption{\benchcaption{} (continued)}" if place else r"\caption{\benchcaption}\label{\benchlabel}"]
        text += [r"\smallskip", r"\usebox{\benchbox}"]
        if notes and inside and place == len(floats) - 1:
            text += [r"\par\smallskip", rf"{{{_SIZE}\raggedright", *notes, "}"]
        text.append(r"\end{\benchplace}")
    if notes and not inside:
        text += [rf"\par{{{_SIZE}\parindent0pt\raggedright", *notes, "}"]
    return "\n".join(line for line in text if line) + "\n" + _CLOSE


def document(tables: Sequence[Table], *, footnotes: bool = True) -> str:
    """A two-column article with all the tables, to look at."""
    return "\n".join(
        [_PREAMBLE, r"\begin{document}", *(table(one, footnotes=footnotes) for one in tables), r"\end{document}", ""]
    )


def _bare(content: Table) -> Table:
    """The table without footnotes and remarks."""
    rows = (replace(row, notes=(), cells=tuple(replace(cell, notes=()) for cell in row.cells)) for row in content.rows)
    columns = tuple(replace(column, notes=()) for column in content.columns)
    return replace(content, columns=columns, rows=tuple(rows), notes=())


def _floats(content: Table, marks: Mapping[Note, str], *, room: int) -> Iterator[list[_Panel]]:
    """Panels that stand in one float: not more than a page holds."""
    held: list[_Panel] = []
    for panel in _panels(content, marks, room=room):
        if held and sum(one.lines for one in held) + panel.lines > room:
            yield held
            held = []
        held.append(panel)
    yield held


def _panels(content: Table, marks: Mapping[Note, str], *, room: int) -> Iterator[_Panel]:
    """The table cut into panels: first by columns, then, where a panel alone is longer than a page, by rows."""
    stub = _stub(content.rows)
    for start, end in _cuts(content, marks):
        columns = content.columns[start:end]
        head = 3 + max((-(-len(column.title) // _TITLE) for column in columns), default=0)
        rows: list[Row] = []
        used = head
        for row in content.rows:
            need = max(1, -(-len(row.title) // stub))
            if rows and used + need > room:
                yield _Panel(content=replace(content, columns=columns, rows=tuple(rows)), lines=used)
                rows, used = [], head
            rows.append(replace(row, cells=row.cells[start:end]))
            used += need
        yield _Panel(content=replace(content, columns=columns, rows=tuple(rows)), lines=used)


def _cuts(content: Table, marks: Mapping[Note, str]) -> list[tuple[int, int]]:
    """(first, last + 1) column of each panel: few panels, about as wide as each other, that cut no group in two."""
    widths = [_width(column, [row.cells[k] for row in content.rows], marks) for k, column in enumerate(content.columns)]
    most = max(1, int((_LINE - _PLAIN * _stub(content.rows)) // (max(widths, default=0) + _GAP)))
    fewest = len(_packed(content, most))
    return next(cuts for limit in range(1, most + 1) if len(cuts := _packed(content, limit)) == fewest)


def _stub(rows: Sequence[Row]) -> int:
    """Signs to a line of the row titles: those that are longer are broken, and do not make the column wider."""
    return max([_SHORT, *(len(row.title) + 1 for row in rows if len(row.title) < _NAME)])


def _packed(content: Table, most: int) -> list[tuple[int, int]]:
    """Neighbouring groups of columns together, `most` columns at most; a wider group is cut."""
    cuts: list[tuple[int, int]] = []
    for _, group in groupby(range(len(content.columns)), key=lambda k: content.columns[k].group):
        places = list(group)
        for first in range(places[0], places[-1] + 1, most):
            end = min(first + most, places[-1] + 1)
            if cuts and end - cuts[-1][0] <= most:
                cuts[-1] = (cuts[-1][0], end)
            else:
                cuts.append((first, end))
    return cuts


def _width(column: Column, cells: Sequence[Cell], marks: Mapping[Note, str]) -> float:
    """Points that the widest entry of a column needs, about."""

    def signs(notes: tuple[Note, ...]) -> int:
        return len(",".join(marks[note] for note in notes))

    longest = max(min(len(text), _TITLE) for text in (column.title, column.subtitle))
    widths = [_PLAIN * longest + _SMALL * signs(column.notes)]
    for cell in cells:
        small = len(cell.tag) + bool(cell.tag) + signs(cell.notes) + (len(cell.spread) + 2 if cell.spread else 0)
        # "8.35e-4" is written with a sign of multiplication and a 10.
        more = 3 if _POWER.fullmatch(cell.figure) else 0
        widths.append((_BOLD if cell.best else _PLAIN) * (len(cell.figure) + more) + _SMALL * small)
    return max(widths)


def _tabular(panels: Sequence[_Panel], marks: Mapping[Note, str]) -> list[str]:
    """The panels one above the other, their columns aligned."""
    everything = [row for panel in panels for row in panel.content.rows]
    stub = _stub(everything)
    wide = any(len(row.title) > stub for row in everything)
    most = max(len(panel.content.columns) for panel in panels)
    lines = [
        rf"\begin{{tabular}}{{@{{}}{f'p{{{stub * _PLAIN:.0f}pt}}' if wide else 'l'}{'c' * most}@{{}}}}",
        r"\toprule",
    ]
    for place, panel in enumerate(panels):
        lines += [r"\midrule[\heavyrulewidth]"] if place else []
        lines += _head(panel.content, marks)
        for _, rows in panel.content.blocks:
            lines.append(r"\midrule")
            lines += [_row(row, marks, wide=wide) for row in rows]
    return [*lines, r"\bottomrule", r"\end{tabular}%"]


def _head(content: Table, marks: Mapping[Note, str]) -> list[str]:
    lines = []
    if any(title for title, _ in content.groups):
        groups, rules, place = [], [], 2
        for title, span in content.groups:
            groups.append(rf"\multicolumn{{{span}}}{{c}}{{{stacked(title, _TITLE * span)}}}")
            rules += [rf"\cmidrule(lr){{{place}-{place + span - 1}}}"] if title else []
            place += span
        lines += [" & ".join(["", *groups]) + r" \\", " ".join(rules)]
    titles = [stacked(column.title, _TITLE) + _MARKUP.marked(column.notes, marks) for column in content.columns]
    lines.append(" & ".join([escape(content.stub), *titles]) + r" \\")
    if any(column.subtitle for column in content.columns):
        lines.append(" & ".join(["", *(stacked(column.subtitle, _TITLE) for column in content.columns)]) + r" \\")
    return lines


def _row(row: Row, marks: Mapping[Note, str], *, wide: bool) -> str:
    title = re.sub("^P(?=,)", "$P$", prose(row.title) if wide else escape(row.title))
    title = rf"\textit{{{title}}}" if row.block in ("published", "released") else title
    cells = [_MARKUP.cell(cell, _figure(cell), marks) for cell in row.cells]
    # Not two backslashes: where lines are ragged these end a line of the cell.
    return " & ".join([(r"\raggedright " if wide else "") + title + _MARKUP.marked(row.notes, marks), *cells]) + (
        r" \tabularnewline"
    )


def _figure(cell: Cell) -> str:
    """The figure of a cell; a power of ten as mathematics."""
    if power := _POWER.fullmatch(cell.figure):
        less, factor, exponent = power.groups("")
        return rf"${less}{factor} \times 10^{{{exponent}}}$"
    return stacked(cell.figure, 2 * _TITLE)
