"""Writes a report as one HTML file that needs no other."""

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
from markupsafe import Markup, escape

from refers_bench.printable import printable_lines
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page
from refers_bench.render.table import FACETS, Column, Row, Table

#: Words longer than this may be broken, at signs that join and after every so many signs.
_SHORT_WORD, _PIECE = 14, 20
#: Points of a landscape A4 page between its margins, and of a sign as a share of the size of its type.
_PAGE_POINTS, _SIGN = 790, 0.58
#: Points of type on paper; signs of a row's title and of a cell of prose, beyond which they are broken.
_LEAST_POINTS, _MOST_POINTS = 4.8, 6.2
_STUB, _PROSE = 62, 30
_BREAK = Markup("<wbr>")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("refers_bench.render", "templates"),
        undefined=jinja2.StrictUndefined,
        # jinja2 leaves autoescape off, and `select_autoescape` does not know "*.html.j2".
        autoescape=True,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["table"] = lambda item: isinstance(item, Table)
    environment.filters["soft"] = _soft
    environment.filters["about"] = _about
    environment.filters["on_paper"] = _on_paper
    return environment


def _clean(value: Any) -> Any:
    """User text without control characters; `Markup`, which only templates make, is left as it is."""
    return printable_lines(value) if type(value) is str else value


def _about(item: Table | Figure | Column | Row) -> Markup:
    """Attributes that filters read: the view, and what it is about."""
    view = (("view", item.view),) if isinstance(item, Table | Figure) and item.view else ()
    return Markup("").join(Markup(' data-{}="{}"').format(name, _clean(value)) for name, value in (*view, *item.keys))


def _on_paper(table: Table) -> Markup:
    """Class and style with which all columns of a table stand on a landscape page: half as wide as it, or whole."""
    longest = [
        max((len(cell.figure) + len(cell.spread) + 2 * bool(cell.spread) + len(cell.tag) for cell in cells), default=0)
        for cells in zip(*(row.cells for row in table.rows), strict=True)
    ]
    heads = [max(map(len, re.split(r"[\s_/.-]", column.title)), default=0) for column in table.columns]
    most = 99 if table.numeric else _PROSE
    title = min(max((len(row.title) for row in table.rows), default=0), _STUB)
    signs = title + sum(min(max(pair), most) + 1.3 for pair in zip(longest, heads, strict=False))
    half, whole = (points / (_SIGN * max(signs, 1)) for points in (_PAGE_POINTS * 0.48, _PAGE_POINTS))
    name, size = ("half", half) if half >= _LEAST_POINTS else ("whole", whole)
    return Markup('class="item {}" style="--print: {:.1f}pt"').format(name, min(_MOST_POINTS, size))


@functools.lru_cache(maxsize=4096)
def _soft(text: str) -> Markup:
    """The text with places to break words that no column would hold; other words are never broken."""
    return Markup("").join(_breakable(word) for word in re.split(r"(\s+)", printable_lines(text)))


def _breakable(word: str) -> Markup:
    if len(word) <= _SHORT_WORD:
        return escape(word)
    pieces = [
        part[start : start + _PIECE] for part in re.split(r"(?<=[_/.-])", word) for start in range(0, len(part), _PIECE)
    ]
    return _BREAK.join(map(escape, pieces))


def page(content: Page, *, drawing: Callable[[Figure], bytes] = draw) -> str:
    """The whole report: one file without external addresses, and one script, whose hash stands in the page's policy.

    Args:
        content: the report.
        drawing: gives a figure as SVG.
    """
    environment = _environment()
    # An image address of its own isolates a figure from the page: ids inside several SVGs cannot clash.
    environment.filters["data_uri"] = lambda figure: (
        "data:image/svg+xml;base64," + base64.b64encode(drawing(figure)).decode("ascii")
    )
    script = environment.get_template("page.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    items = [item for section in content.sections for item in section.items]
    return environment.get_template("page.html.j2").render(
        page=content,
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        switch={"mean", "class"} <= {item.view for item in items},
        facets=_facets(items),
    )


def _facets(items: Iterable[Table | Figure]) -> list[tuple[str, str, list[str]]]:
    """(name, title, values) of every filter that has a choice."""
    values: dict[str, dict[str, None]] = {name: {} for name in FACETS}
    for item in items:
        parts: tuple[Table | Figure | Column | Row, ...] = (item,)
        if isinstance(item, Table):
            parts = (item, *item.columns, *item.rows)
        for name, value in (pair for part in parts for pair in part.keys):
            values[name][value] = None
    return [(name, FACETS[name], [*found]) for name, found in values.items() if len(found) > 1]
