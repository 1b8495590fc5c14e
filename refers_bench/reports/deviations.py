"""Which values of the recipe differ from the paper's, are unstated there, or were set in the manifest (a ledger)?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from refers_bench.analysis.results import Results
from refers_bench.plan.parameters import PREFIX
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Row, Table

#: Presets that follow the paper's text, and the released code.
PAPER, CODE = "paper", "official_code"


def build(results: Results) -> Table | None:
    """Every resolved value that differs from the paper's, that the paper does not state, or that a manifest set."""
    values = dict(_values(results.lock))
    if not values:
        return None
    targets = {target.dataset for target in results.targets}
    rows = []
    for name, entry in values.items():
        # "finetune.steps [nih_chestxray14]": the value of one target, or of one row of the manifest.
        base, _, where = name.partition(" [")
        where = where.rstrip("]")
        dataset = where if where in targets else ""
        paper, code = _preset(PAPER, dataset).get(base), _preset(CODE, dataset).get(base)
        if base.startswith(PREFIX):
            code = (entry["official"], True) if "official" in entry else None
            reasons = _reasons_of_parameter(entry)
        else:
            reasons = _reasons(entry, paper)
        if reasons:
            sides = (_stated(paper), _stated(code and (code[0], True)), _value(entry["value"]))
            texts = ("; ".join(reasons), str(entry.get("origin", "")))
            rows.append(Row(title=name, cells=(*sides, *(Cell(text=text, kind="text") for text in texts))))
    return Table(
        id="deviations",
        caption=f"Deviation ledger: {len(rows)} of {len(values)} resolved values differ from the paper's text (a "
        "method's parameters: from its source), are unstated there, or were set in the manifest.",
        stub="Value",
        columns=tuple(Column(title=title) for title in ("paper", "released code", "ours", "because", "origin of ours")),
        rows=tuple(rows),
        notes=(
            f"Paper and released code: the presets '{PAPER}' and '{CODE}', whose values name their sources; where the "
            "paper is silent, its preset takes the value shown after 'unstated'.",
            f"'{PREFIX}': parameters of a row's method; the released code is that method's own, and 'unstated' says "
            "that no source of it gives a value.",
            "All resolved values with their origins stand in plan.lock.json.",
        ),
        numeric=False,
    )


def _values(lock: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(name, {"value", "origin", "stated", "overridden"}) of every resolved value, in the order of the lock."""
    for name, entry in (lock.get("values") or {}).items():
        if isinstance(entry, Mapping) and "value" in entry:
            yield name, entry


@cache
def _preset(preset: str, dataset: str) -> dict[str, tuple[Any, bool]]:
    """Name -> (value, whether its source states it) of a preset."""
    # Slow to import, and only this report needs it.
    from refers_bench.manifest import protocols

    return {name: (value.value, value.stated) for name, value in protocols.resolve(preset, dataset=dataset).items()}


def _reasons(entry: Mapping[str, Any], paper: tuple[Any, bool] | None) -> list[str]:
    """Why a value stands in the ledger; none when it does not."""
    reasons = []
    if paper is None:
        reasons.append("no such value in the paper's preset")
    elif paper[0] != entry["value"]:
        reasons.append("differs")
    if entry.get("overridden"):
        reasons.append("set in the manifest")
    elif not entry.get("stated", True) or (paper is not None and not paper[1]):
        reasons.append("unstated in the paper")
    return reasons


def _reasons_of_parameter(entry: Mapping[str, Any]) -> list[str]:
    """Why a method's parameter stands in the ledger: its source has another value or none, or the manifest set it."""
    reasons = ["differs"] if "official" in entry and entry["official"] != entry["value"] else []
    if entry.get("overridden"):
        reasons.append("set in the manifest")
    elif not entry.get("stated", True):
        reasons.append("unstated")
    return reasons


def _stated(found: tuple[Any, bool] | None) -> Cell:
    """A preset's value, and whether its source states it."""
    if found is None:
        return Cell(kind="text")
    return _value(found[0]) if found[1] else _value(found[0], "unstated")


def _value(value: Any, word: str = "") -> Cell:
    """A value of any type; a number as one."""
    text = f"{word}; {show(value)}" if word else show(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Cell(text=text, value=value, word=word, kind="text")
    return Cell(text=text, kind="text")


def show(value: Any) -> str:
    """A value as JSON: 0.03, [0.08, 1], "sgd"."""
    return json.dumps(value, ensure_ascii=False)


REPORT = Report(label="Deviation ledger", build=build, order=70)
