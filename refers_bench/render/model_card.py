"""Writes the model card of exported weights, in the form of Hugging Face: a head in YAML, then Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jinja2

from refers_bench.render import markdown
from refers_bench.render.escape import markdown as escape
from refers_bench.render.table import Table


def _json(value: Any) -> str:
    """A value as JSON, which is YAML as well, in ASCII: no sign of a name can end or reorder a line."""
    return json.dumps(value, sort_keys=True)


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("refers_bench.render"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # Markdown: every text passes `md` or `json`, which a test checks
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"json": _json, "md": escape}


def card(sheet: Mapping[str, Any], *, row: str, preset: str, sheet_name: str, deviations: Table | None) -> str:
    """The card.

    Args:
        sheet: data sheet of the weights, see `refers_bench.training.data_sheets`.
        row: of the manifest.
        preset: of the protocol.
        sheet_name: file of the data sheet.
        deviations: values of the pre-training that differ from their sources; None for none.
    """
    data = sheet["data"] if isinstance(sheet["data"], list) else [sheet["data"]]
    synthetic = [str(one["label"]) for one in data if one["synthetic"]]
    template = _ENVIRONMENT.get_template("model_card.md.j2")
    return template.render(
        sheet={"timm": None, **sheet},
        data=data,
        synthetic=synthetic,
        tags=["radiology", "chest-x-ray", "refers-bench", *(["synthetic-data"] if synthetic else [])],
        row=row,
        preset=preset,
        sheet_name=sheet_name,
        deviations=markdown.table(deviations) if deviations else "",
    )
