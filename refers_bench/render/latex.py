"""Writes a table as LaTeX (booktabs) for a paper."""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from refers_bench.render.escape import latex as escape
from refers_bench.render.page import Page
from refers_bench.render.table import Markup, Note, Row, Table

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[landscape,margin=1.5cm]{geometry}
"""
#: Lines of rows that fit a page; a longer table is split over several.
PAGE_LINES = 30
#: Characters of a line of notes under a table; notes of more lines than this stand after the table.
_NOTE_WIDTH, _MOST_NOTE_LINES = 120, 14
#: Titles longer than this are broken into lines.
_TITLE_WIDTH, _STUB_WIDTH = 18, 44
#: Longer words may be broken after every few characters; stretchable glue fills the lines where they are.
_LONG_WORD, _PIECE, _BREAK = 24, 3, r"\hspace{0pt plus 3pt}"


def prose(text: object) -> str:
    """The text for a paragraph: words that no line would hold may be broken."""
    return "".join(
        _BREAK.join(escape(word[start : start + _PIECE]) for start in range(0, len(word), _PIECE))
        if len(word) > _LONG_WORD
        else escape(word)
        for word in re.split(r"(\s+)", str(text))
    )


def _ragged(text: str) -> str:
    """A text in a column of prose."""
    return r"\raggedright " + prose(text)


def stacked(text: str, width: int = _TITLE_WIDTH) -> str:
    """A title of a column, in several lines when it is long."""
    lines = textwrap.wrap(text, width) if len(text) > width else [text]
    if len(lines) < 2:
        return escape(text)
    return r"\begin{tabular}[b]{@{}c@{}}" + r"\\".join(map(escape, lines)) + r"\end{tabular}"


_MARKUP = Markup(
    escape=escape,
    bold=r"\textbf{{{}}}",
    spread=r" {{\scriptsize$\pm${}}}",
    tag=r" {{\scriptsize {}}}",
    marks=r"\textsuperscript{{{}}}",
)


def _head(content: Table, marks: Mapping[Note, str]) -> list[str]:
    lines = []
    if any(title for title, _ in content.groups):
        cells, rules, place = [], [], 2
        for title, span in content.groups:
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{stacked(title, _TITLE_WIDTH * span)}}}")
            if title:
                rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
            place += span
        lines += [" & " + " & ".join(cells) + r" \\", " ".join(rules)]
    titles = [stacked(column.title) + _MARKUP.marked(column.notes, marks) for column in content.columns]
    lines.append(" & ".join([stacked(content.stub, _STUB_WIDTH), *titles]) + r" \\")
    if any(column.subtitle for column in content.columns):
        lines.append(" & " + " & ".join(stacked(column.subtitle) for column in content.columns) + r" \\")
    return lines


def table(content: Table) -> str:
    r"""A `table` environment, or several when the rows do not fit a page; needs booktabs and graphicx."""
    marks = content.footnotes()
    parts = list(_parts(content))
    signs = {mark: rf"\textsuperscript{{{escape(mark)}}} " if mark else "" for mark in ("", *marks.values())}
    notes = [rf"{{\footnotesize\raggedright {signs[mark]}{prose(text)}\par}}" for mark, text in content.below()]
    inside = sum(-(-len(text) // _NOTE_WIDTH) for text in notes) <= _MOST_NOTE_LINES
    lines = []
    for place, part in enumerate(parts):
        lines += [r"\begin{table}[htbp]", r"\centering"]
        lines += [r"\addtocounter{table}{-1}"] if place else []
        lines += [rf"\caption{{{prose(content.caption)}{' (continued)' if place else ''}}}"]
        lines += [r"\smallskip" if place else rf"\label{{tab:{content.id}}}\smallskip"]
        lines += _tabular(part, marks)
        lines += ["", r"\smallskip", *notes] if place == len(parts) - 1 and inside else []
        lines += [r"\end{table}"]
    if not inside:
        lines += ["", r"\begingroup\parindent0pt", *notes, r"\endgroup"]
    return "\n".join(lines) + "\n"


def _tabular(content: Table, marks: Mapping[Note, str]) -> list[str]:
    """The `tabular` of one part, shrunk where it is wider than the line."""
    wide = max((len(row.title) for row in content.rows), default=0) > _STUB_WIDTH
    figure = partial(stacked, width=_STUB_WIDTH) if content.numeric else _ragged
    ragged, stub = (r"\raggedright ", _stub(content)) if wide else ("", "l")
    # Figures are centred; prose is set for a wide page and shrunk for a narrow one, so that words fit.
    widths = [] if content.numeric else _prose_widths(content)
    columns = "".join(f"p{{{width:.1f}cm}}" for width in widths) or "c" * len(content.columns)
    lines = [
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{stub}{columns}}}",
        r"\toprule",
        *_head(content, marks),
        r"\midrule",
    ]
    for place, (block, rows) in enumerate(content.blocks):
        if place:
            lines.append(r"\midrule")
        for row in rows:
            title = prose(row.title) if wide else escape(row.title)
            title = rf"\textit{{{title}}}" if block in ("published", "released") else title
            cells = [_MARKUP.cell(cell, figure(cell.figure), marks) for cell in row.cells]
            # Not two backslashes: where lines are ragged these end a line of the cell.
            lines.append(" & ".join([ragged + title + _MARKUP.marked(row.notes, marks), *cells]) + r" \tabularnewline")
    return [*lines, r"\bottomrule", r"\end{tabular}}"]


def _stub(content: Table) -> str:
    """Column of long row titles: narrower where many columns follow."""
    return "p{5cm}" if len(content.columns) > 6 or not content.numeric else "p{8cm}"


def _prose_widths(content: Table) -> list[float]:
    """Centimetres of each column of prose: more for longer texts, all together as wide as a landscape page."""
    texts = [[column.title, *(row.cells[k].figure for row in content.rows)] for k, column in enumerate(content.columns)]
    weights = [math.sqrt(min(max(map(len, column)), 400)) for column in texts]
    return [max(1.8, 17 * weight / max(sum(weights), 1e-9)) for weight in weights]


def _parts(content: Table) -> Iterator[Table]:
    """The table in parts of at most `PAGE_LINES` lines, each with the head."""
    # Signs in a line of the row's title and of each column of prose, roughly: about six to a centimetre, less what is
    # left free at the ends of lines. Figures never need a second line.
    prose = [] if content.numeric else [int(5 * width) for width in _prose_widths(content)]
    room = [26 if _stub(content) == "p{5cm}" else _STUB_WIDTH, *prose]
    rows: list[Row] = []
    used = 0
    for row in content.rows:
        texts = (row.title, *(cell.figure for cell in row.cells))
        need = max(1, *(-(-len(text) // signs) for text, signs in zip(texts, room, strict=False)))
        if rows and used + need > PAGE_LINES:
            yield replace(content, rows=tuple(rows))
            rows, used = [], 0
        rows.append(row)
        used += need
    yield replace(content, rows=tuple(rows))


def document(content: Page) -> str:
    """A whole document with every table and figure, to look at or to copy from; figures lie beside it as "<id>.pdf"."""
    parts = [_PREAMBLE, r"\begin{document}", ""]
    for section in content.sections:
        parts.append(rf"\section*{{{prose(section.title)}}}")
        parts += [prose(remark) + "\n" for remark in section.sentences]
        for item in section.items:
            # Floats of a long report would pile up until LaTeX has no register left.
            parts.append(r"\clearpage")
            if isinstance(item, Table):
                parts.append(table(item))
                continue
            parts += [
                r"\begin{figure}[htbp]",
                r"\centering",
                rf"\includegraphics[width=\textwidth,height=.8\textheight,keepaspectratio]{{{item.id}.pdf}}",
                rf"\caption{{{prose(item.caption)}}}",
                *([rf"\smallskip{{\footnotesize\raggedright {prose(item.note)}\par}}"] if item.note else []),
                r"\end{figure}",
                "",
            ]
        parts.append(r"\clearpage")
    parts += [r"\end{document}", ""]
    return "\n".join(parts)
