"""Which values of the recipe are not the paper's: unstated there, or overridden here? (the deviation ledger)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Row, Table


def build(results: Results) -> Table | None:
    """Every value of the lock that is unstated in its source or was changed in the manifest."""
    rows = []
    total = 0
    for name, entry in values_of(results.lock):
        total += 1
        reason = _reason(entry)
        if reason:
            texts = (show(entry.get("value")), reason, str(entry.get("origin", "")))
            rows.append(Row(title=name, cells=tuple(Cell(text=text, kind="text") for text in texts)))
    if not total:
        return None
    return Table(
        id="deviations",
        caption=f"Deviation ledger: {len(rows)} of {total} resolved values are unstated in their source or overridden.",
        stub="Value",
        columns=(Column(title="used here"), Column(title="because"), Column(title="origin")),
        rows=tuple(rows),
        notes=("All resolved values with their origins stand in plan.lock.json.",),
        numeric=False,
    )


def values_of(lock: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(dotted name, {"value", "origin", "stated"}) of every resolved value of a lock, in its order."""
    for block in ("values", "resolved", "protocol"):
        entries = lock.get(block)
        if isinstance(entries, Mapping):
            for name, entry in entries.items():
                if isinstance(entry, Mapping) and "value" in entry:
                    yield name, entry


def _reason(entry: Mapping[str, Any]) -> str:
    """Why a value stands in the ledger; '' when it does not."""
    origin = str(entry.get("origin", ""))
    if entry.get("overridden") or origin.startswith(("manifest", "override")):
        return "overridden in the manifest"
    if entry.get("stated") is False:
        return "unstated in the paper"
    return ""


def show(value: Any) -> str:
    """A value as JSON: 0.03, [0.08, 1], "sgd"."""
    return json.dumps(value, ensure_ascii=False)


REPORT = Report(label="Deviation ledger", build=build, order=70)
