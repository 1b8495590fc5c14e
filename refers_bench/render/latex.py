"""How does a table become LaTeX (booktabs) that can be put into a paper?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from refers_bench.render.escape import latex as escape
from refers_bench.render.page import Page
from refers_bench.render.table import Cell, Note, Table

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[landscape,margin=1.5cm]{geometry}
"""


def _marks(notes: Sequence[Note], marks: Mapping[Note, str]) -> str:
    return rf"\textsuperscript{{{','.join(escape(marks[note]) for note in notes)}}}" if notes else ""


def _cell(cell: Cell, marks: Mapping[Note, str]) -> str:
    figure = escape(cell.figure)
    figure = rf"\textbf{{{figure}}}" if cell.best else figure
    spread = rf" {{\scriptsize$\pm${cell.spread}}}" if cell.spread else ""
    return figure + spread + _marks(cell.notes, marks)


def _head(content: Table, marks: Mapping[Note, str]) -> list[str]:
    lines = []
    if any(title for title, _ in content.groups):
        cells, rules, place = [], [], 2
        for title, span in content.groups:
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(title)}}}")
            if title:
                rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
            place += span
        lines += [" & " + " & ".join(cells) + r" \\", " ".join(rules)]
    titles = [escape(column.title) + _marks(column.notes, marks) for column in content.columns]
    lines.append(" & ".join([escape(content.stub), *titles]) + r" \\")
    if any(column.subtitle for column in content.columns):
        lines.append(" & " + " & ".join(escape(column.subtitle) for column in content.columns) + r" \\")
    return lines


def table(content: Table) -> str:
    r"""A `table` environment; needs ``\usepackage{booktabs}`` and, to shrink wide tables, graphicx."""
    marks = content.footnotes()
    width = len(content.columns)
    align = "l" + ("c" * width if content.numeric else rf"p{{{0.7 / max(width, 1):.3f}\textwidth}}" * width)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(content.caption)}}}",
        rf"\label{{tab:{content.id}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        *_head(content, marks),
        r"\midrule",
    ]
    for place, (block, rows) in enumerate(content.blocks):
        if place:
            lines.append(r"\midrule")
        for row in rows:
            title = escape(row.title)
            title = rf"\textit{{{title}}}" if block == "published" else title
            cells = [title + _marks(row.notes, marks), *(_cell(cell, marks) for cell in row.cells)]
            lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}", "", r"\smallskip"]
    lines += [rf"{{\footnotesize {text}\par}}" for text in _note_lines(content, marks)]
    lines += [r"\end{table}"]
    return "\n".join(lines) + "\n"


def _note_lines(content: Table, marks: Mapping[Note, str]) -> list[str]:
    texts = [rf"\textsuperscript{{{escape(mark)}}} {escape(note.text)}" for note, mark in marks.items()]
    return texts + [escape(text) for text in content.notes]


def document(content: Page, *, figure_paths: Mapping[str, str]) -> str:
    """A whole document with every table and figure, to look at or to copy from.

    Args:
        content: the report.
        figure_paths: figure id -> PDF file, relative to the LaTeX file.
    """
    parts = [_PREAMBLE, r"\begin{document}", ""]
    for section in content.sections:
        parts.append(rf"\section*{{{escape(section.title)}}}")
        parts += [escape(remark) + "\n" for remark in section.remarks]
        for item in section.items:
            if isinstance(item, Table):
                parts.append(table(item))
                continue
            parts += [
                r"\begin{figure}[htbp]",
                r"\centering",
                rf"\includegraphics[width=\textwidth,height=.8\textheight,keepaspectratio]{{{figure_paths[item.id]}}}",
                rf"\caption{{{escape(item.caption)}}}",
                r"\end{figure}",
                "",
            ]
        parts.append(r"\clearpage")
    parts += [r"\end{document}", ""]
    return "\n".join(parts)
