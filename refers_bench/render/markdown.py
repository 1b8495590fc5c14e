"""Writes a report as Markdown that GitHub and GitLab show alike."""

import re
from collections.abc import Sequence

from refers_bench.printable import printable
from refers_bench.render.escape import markdown as escape
from refers_bench.render.figure import Figure
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Markup, Table

_MARKUP = Markup(escape=escape, bold="**{}**", spread=" ± {}", tag=" {}", marks="<sup>{}</sup>")


def table(content: Table) -> str:
    """A pipe table under its caption, footnotes below; groups of columns are joined into the column titles."""
    marks = content.footnotes()
    head = [escape(content.stub)]
    for column in content.columns:
        parts = [escape(part) for part in (column.group, column.title, column.subtitle) if part]
        head.append("<br>".join(parts) + _MARKUP.marked(column.notes, marks))
    lines = [f"**{escape(content.caption)}**", "", _line(head)]
    lines.append(_line(["---"] + [":-:" if content.numeric else "---"] * len(content.columns)))
    for row in content.rows:
        title = escape(row.title) + _MARKUP.marked(row.notes, marks)
        lines.append(_line([title, *(_MARKUP.cell(cell, escape(cell.figure), marks) for cell in row.cells)]))
    for mark, text in content.below():
        lines += ["", f"<sup>{mark}</sup> {escape(text)}" if mark else escape(text)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def code(text: str) -> str:
    """A fenced block; its fence is longer than any run of backticks inside."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {escape(section.title)}\n"]
    parts += [escape(remark) + "\n" for remark in section.sentences]
    for item in section.items:
        if isinstance(item, Figure):
            parts.append(f"![{escape(item.alt)}]({item.id}.svg)\n\n**{escape(item.caption)}**\n")
            parts += [escape(item.note) + "\n"] if item.note else []
        else:
            parts.append(table(item))
    if section.commands:
        parts.append("### Run it again\n")
        parts.append(code("\n".join(printable(command) for command in section.commands)))
    return parts


def page(content: Page) -> str:
    """The whole report; figures lie beside it as "<id>.svg"."""
    parts = [f"# {escape(content.title)}\n"]
    for section in content.sections:
        parts += _section(section)
    return "\n".join(parts)
