"""Shows when the plan was frozen, with its digest and rules, and everything that deviates from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from refers_bench.analysis import frozen_plan
from refers_bench.analysis.results import Results
from refers_bench.errors import UserError
from refers_bench.plugins import Report
from refers_bench.render.quantity import quantity
from refers_bench.render.table import Cell, Row, Table, columns, words
from refers_bench.store import frozen_plan as stored
from refers_bench.store.frozen_plan import FrozenPlan

ID = "frozen-plan"
NOTHING = "nothing deviates"


def build(results: Results) -> Table | None:
    """The frozen plan beside what came of it; None where nothing was frozen."""
    try:
        frozen = stored.find(results.store.parent, results.name)
    except UserError as error:
        problem = error.problems[0].found
        return _table(f"Frozen plan that cannot be trusted: {problem}.", [_row("frozen", stored.FROZEN, problem)])
    if frozen is None:
        return None
    found = frozen_plan.of_results(frozen, results)
    rows = [*_frozen(frozen), *(_row("deviation", f"{one.kind} {one.what}", one.how) for one in found)]
    if not found:
        rows.append(_row("deviation", "none", NOTHING))
    count = quantity(len(found), "deviation") if found else NOTHING
    return _table(f"Frozen plan of {frozen.frozen}, SHA-256 {frozen.digest[:12]}: {count}.", rows)


def _table(caption: str, rows: list[Row]) -> Table:
    return Table(
        id=ID,
        caption=caption,
        stub="What",
        columns=columns("about", "as frozen, or how it deviates"),
        rows=tuple(rows),
        notes=(
            "The digest is that of everything in plan.frozen.json. It proves that the file has not changed since the "
            "digest was published, and nothing about when that was: the time is that of a clock, which can be set.",
            "Primary are the tests that the rules name. Tables 1 to 3 repeat the paper's own tests, whatever the rules "
            "are; all other tests are exploratory.",
        ),
        numeric=False,
    )


def _frozen(frozen: FrozenPlan) -> Iterator[Row]:
    """When, by what and with which rules."""
    yield _row("frozen", "time", f"{frozen.frozen} (UTC)")
    yield _row("frozen", "SHA-256", f"{frozen.digest}, by {frozen.program}")
    counts = (len(frozen.rows), "row"), (len(frozen.columns), "column"), (frozen.n_cells, "cell")
    size = ", ".join(quantity(*one) for one in counts)
    yield _row("frozen", "cells", f"{size}; seeds: {', '.join(map(str, frozen.seeds))}")
    for name, value in frozen.rules.items():
        yield _row("rule", name, value)
    for number, text in enumerate(frozen.stopping, 1):
        yield _row("rule", f"stopping rule {number}", text)


def _row(title: str, about: str, value: Any) -> Row:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = Cell(text=text, value=value, kind="text") if number else Cell(text=text, kind="text")
    return Row(title=title, cells=(*words(about), shown))


REPORT = Report(label="Frozen plan", build=build, order=65, part="deviations")
