"""How does a report become one self-contained HTML file?"""

from __future__ import annotations

import base64
from typing import Any

import jinja2

from refers_bench.render.escape import printable_lines
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page
from refers_bench.render.table import Table


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
    environment.filters["data_uri"] = _data_uri
    return environment


def _clean(value: Any) -> Any:
    """User text without control characters; `Markup`, which only templates make, is left as it is."""
    return printable_lines(value) if type(value) is str else value


def _data_uri(figure: Figure) -> str:
    """The figure as an image address: isolated from the page, so ids inside several SVGs cannot clash."""
    return "data:image/svg+xml;base64," + base64.b64encode(draw(figure)).decode("ascii")


def page(content: Page) -> str:
    """The whole report; no script, no address outside the file."""
    return _environment().get_template("page.html.j2").render(page=content)
