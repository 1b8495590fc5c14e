"""Lists the values that differ from their source, are unstated there, or were set in the manifest: the ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refers_bench.analysis.results import Results
from refers_bench.plan.parameters import PREFIX
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Row, Table, columns, words
from refers_bench.reporting.provenance import preset

if TYPE_CHECKING:
    from refers_bench.manifest import protocols

#: Presets that follow the paper's text, and the released code.
PAPER, CODE = "paper", "official_code"


def build(results: Results) -> Table | None:
    """Every resolved value that differs from its source, that its source does not state, or that a manifest set.

    The source of a row's parameters, and of the training constants on which its method has a source of its own, is that
    source; of all other values it is REFERS' paper.
    """
    # Name -> {"value", "origin", "stated", "overridden"}, in the order of the lock.
    values = {name: one for name, one in results.plan.values.items() if "value" in one}
    if not values:
        return None
    targets = {target.dataset for target in results.targets}
    rows = []
    for name, entry in values.items():
        # "finetune.steps [nih_chestxray14]": the value of one target, or of one row of the manifest.
        base, _, where = name.partition(" [")
        where = where.rstrip("]")
        own = _own_source(entry) if base.startswith(PREFIX) else entry.get("source")
        if own is None:
            dataset = where if where in targets else ""
            stated, released, reasons, place = _beside_paper(entry, base=base, dataset=dataset)
        else:
            stated, released, reasons, place = _beside_own_source(entry, own)
        if entry.get("overridden"):
            reasons.append("set in the manifest")
        if entry.get("deviation"):
            reasons.append(str(entry["deviation"]))
        if reasons:
            texts = words("; ".join(reasons), str(entry.get("origin", "")), place)
            rows.append(Row(title=name, cells=(stated, released, _value(entry["value"]), *texts)))
    return Table(
        id="deviations",
        caption=f"Deviation ledger: {len(rows)} of {len(values)} resolved values differ from the paper's text (a "
        "method with a source of its own: from that), are unstated there, or were set in the manifest.",
        stub="Value",
        columns=columns("paper", "released code", "ours", "because", "origin of ours", "place in the source"),
        rows=tuple(rows),
        notes=(
            f"Paper and released code: REFERS', which are the presets '{PAPER}' and '{CODE}'; where one of them is "
            "silent, its preset takes the value shown after 'unstated'.",
            f"'{PREFIX}', and training constants of a row whose method has a source of its own: compared with that "
            "source, which stands under 'released code'. What the paper fixes for all rows has no row's name.",
            "All resolved values with their origins stand in plan.lock.json.",
        ),
        numeric=False,
    )


def _beside_paper(entry: Mapping[str, Any], *, base: str, dataset: str) -> tuple[Cell, Cell, list[str], str]:
    """What paper and released code say of a constant, why it stands in the ledger, and where the paper says it."""
    paper, code = preset(PAPER, dataset).get(base), preset(CODE, dataset).get(base)
    if paper is None:
        return Cell(kind="text"), Cell(kind="text"), ["no such value in the paper's preset"], ""
    reasons = ["differs"] if paper.value != entry["value"] else []
    if not paper.stated:
        reasons += [] if entry.get("overridden") else ["unstated in the paper"]
    elif not entry.get("stated", True):
        reasons.append("unstated in the source of its preset")
    return _stated(paper), _stated(code), reasons, paper.origin.partition(": ")[2]


def _own_source(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A parameter's entry, in the form of a constant's source."""
    return {"value": entry["official"], "where": entry.get("where", "")} if "official" in entry else {}


def _beside_own_source(entry: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[Cell, Cell, list[str], str]:
    """What a method's own source says of a value, why that stands in the ledger, and where the source says it."""
    if "value" not in own:
        reasons = [] if entry.get("overridden") else ["unstated in its source"]
        return Cell(kind="text"), Cell(text="unstated", kind="text"), reasons, ""
    reasons = ["differs from its source"] if own["value"] != entry["value"] else []
    return Cell(kind="text"), _value(own["value"]), reasons, str(own["where"])


def _stated(found: protocols.Value | None) -> Cell:
    """A preset's value, and whether its source states it."""
    return Cell(kind="text") if found is None else _value(found.value, "" if found.stated else "unstated")


def _value(value: Any, word: str = "") -> Cell:
    """A value of any type; a number as one."""
    text = f"{word}; {show(value)}" if word else show(value)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return Cell(text=text, value=value, word=word, kind="text") if number else Cell(text=text, kind="text")


def show(value: Any) -> str:
    """A value as JSON: 0.03, [0.08, 1], "sgd"."""
    return json.dumps(value, ensure_ascii=False)


REPORT = Report(label="Deviation ledger", build=build, order=70, part="deviations")
