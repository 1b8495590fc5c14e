"""Writes a report as one HTML file that needs no other."""

import base64
import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup, escape

from refers_bench.render.escape import printable_lines
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page
from refers_bench.render.table import Table

#: Words longer than this may be broken, at signs that join and after every so many signs.
_SHORT_WORD, _PIECE = 14, 20
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
    return environment


def _clean(value: Any) -> Any:
    """User text without control characters; `Markup`, which only templates make, is left as it is."""
    return printable_lines(value) if type(value) is str else value


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
    views = {item.view for section in content.sections for item in section.items}
    return environment.get_template("page.html.j2").render(
        page=content, script=Markup(script), script_hash=f"sha256-{digest}", switch={"mean", "class"} <= views
    )
