"""Compares a plan and its results with what was frozen before anything ran, and lists what deviates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from refers_bench import identity
from refers_bench.analysis.choice import DIVERGED
from refers_bench.analysis.results import Results
from refers_bench.errors import DataError
from refers_bench.store import frozen_plan
from refers_bench.store.frozen_plan import FrozenPlan
from refers_bench.store.plan import Plan
from refers_bench.store.results import ResultStore

#: Kinds of deviations, as they are printed.
ROW, COLUMN, SEED, CELL, TITLE, RULE = "row", "column", "seed", "cell", "title", "rule"
CONSTANT, JOB, RESULT = "constant", "changed job", "changed cell"
EARLY, MISSING = "early result", "missing result"
#: How a job or a cell deviates whose key is not the frozen one.
_OTHER_KEY = "its key is another, so what decides its result changed"


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One thing that is not as it was frozen.

    Attributes:
        kind: one of the names above.
        what: the row, column, rule, ... that it is about.
        how: in what it deviates.
    """

    kind: str
    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.how}"


def deviations(
    frozen: FrozenPlan, plan: Plan, *, started: Mapping[str, str | None], lacking: Mapping[str, str]
) -> tuple[Deviation, ...]:
    """Everything in which a plan and its results deviate from what was frozen; () where nothing does.

    Args:
        frozen: the plan as it was frozen.
        plan: of now.
        started: key -> time at which the job began, UTC, ISO 8601, of the cells that have a result; None where the
            result does not say.
        lacking: key -> why there is no result, of the cells that should have one by now.
    """
    now = frozen_plan.of(plan, at=frozen.frozen, program=frozen.program)
    return tuple(_deviations(frozen, now, started, lacking))


def of_store(frozen: FrozenPlan, plan: Plan, store: ResultStore) -> tuple[Deviation, ...]:
    """`deviations` of a plan that may still have to run: that a cell has no result yet is none."""
    keys = {cell.key for cell in plan.cells} & store.listing().done
    return deviations(frozen, plan, started={key: _started(store, key) for key in keys}, lacking={})


def of_results(frozen: FrozenPlan, results: Results) -> tuple[Deviation, ...]:
    """`deviations` of results, among them the cells that lack one."""
    every = [one.run for one in (*results.planned, *results.unchosen)]
    started = {run.key: _time(results.records[run.key]) for run in every if run.key in results.records}
    # A candidate whose loss was not finite was tried, which is all that the plan asks of it.
    lost = {one.run.key for one in results.unchosen if one.candidate and one.run.reason == DIVERGED}
    lacking = {run.key: run.reason for run in every if run.key not in results.records and run.key not in lost}
    return deviations(frozen, results.plan, started=started, lacking=lacking)


def _started(store: ResultStore, key: str) -> str | None:
    try:
        return _time(store.record(key) or {})
    except DataError:  # a damaged result is told by whoever reads it
        return None


def _time(record: Mapping[str, Any]) -> str | None:
    started = record.get("started")
    return started if isinstance(started, str) else None


def _deviations(
    old: FrozenPlan, new: FrozenPlan, started: Mapping[str, str | None], lacking: Mapping[str, str]
) -> Iterator[Deviation]:
    yield from _members(ROW, list(old.rows), list(new.rows))
    yield from _members(COLUMN, old.columns, new.columns)
    yield from _members(SEED, [str(seed) for seed in old.seeds], [str(seed) for seed in new.seeds])
    yield from _other_cells(old, new)
    if old.title != new.title:
        yield Deviation(kind=TITLE, what="of the report", how=_change(old.title, new.title))
    for name, label in old.rows.items():
        if new.rows.get(name, label) != label:
            yield Deviation(kind=TITLE, what=f"of row {name}", how=_change(label, new.rows[name]))
    for name in dict.fromkeys((*old.rules, *new.rules)):
        before, after = old.rules.get(name), new.rules.get(name)
        if not _equal(before, after):
            yield Deviation(kind=RULE, what=name, how=_change(before, after))
    yield from _other_results(old, new)
    yield from _early(old, new, started)
    yield from _missing(old, new, lacking)


def _members(kind: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Deviation]:
    """Rows, columns or seeds that one of the plans has and the other has not."""
    for how, one, other in (("left out since", old, set(new)), ("added since", new, set(old))):
        yield from (Deviation(kind=kind, what=name, how=how) for name in one if name not in other)


def _places(plan: FrozenPlan) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Row, column, and seed -> key of its cells."""
    for row, columns in plan.cells.items():
        for column, seeds in columns.items():
            yield row, column, dict(seeds)


def _other_cells(old: FrozenPlan, new: FrozenPlan) -> Iterator[Deviation]:
    """Cells of rows, columns and seeds that both plans have, and that only one of the plans asks for."""
    for how, one, other in (("left out since", old, new), ("added since", new, old)):
        for row, column, seeds in _places(one):
            if row in other.rows and column in other.columns:
                there = other.cells.get(row, {}).get(column, {})
                some = [seed for seed in seeds if seed not in there and frozen_plan.seed_of(seed) in other.seeds]
                if some:
                    yield Deviation(kind=CELL, what=f"{row}.{column}", how=f"{how} ({', '.join(some)})")


def _other_results(old: FrozenPlan, new: FrozenPlan) -> Iterator[Deviation]:
    """Cells of both plans whose key changed, and before them what changed of what decides their results."""
    changed: dict[tuple[str, str], list[str]] = {}
    for row, column, seeds in _places(old):
        there = new.cells.get(row, {}).get(column, {})
        if some := [seed for seed, key in seeds.items() if there.get(seed, key) != key]:
            changed[row, column] = some
    inputs = list(_inputs(old, new)) if changed else []
    yield from inputs
    unknown = "" if inputs else ", and no constant did: data, weights, or a revision of the code"
    for (row, column), some in changed.items():
        how = f"{_OTHER_KEY}{unknown} ({', '.join(some)})"
        yield Deviation(kind=RESULT, what=f"{row}.{column}", how=how)


def _inputs(old: FrozenPlan, new: FrozenPlan) -> Iterator[Deviation]:
    """Constants, and jobs that cells need, that differ."""
    both = set(old.rows) & set(new.rows) | _datasets(old) & _datasets(new)
    for name in dict.fromkeys((*old.values, *new.values)):
        base, _, where = name.partition(" [")
        if where and where.rstrip("]") not in both:
            continue
        before, after = (one.values.get(name, one.values.get(base)) for one in (old, new))
        if not _equal(before, after):
            yield Deviation(kind=CONSTANT, what=name, how=_change(before, after))
    for name, keys in old.needs.items():
        if new.needs.get(name, keys) != keys:
            yield Deviation(kind=JOB, what=name, how=_OTHER_KEY)


def _datasets(plan: FrozenPlan) -> set[str]:
    return {column.partition(".")[0] for column in plan.columns}


def _early(old: FrozenPlan, new: FrozenPlan, started: Mapping[str, str | None]) -> Iterator[Deviation]:
    """Results that were begun before the plan was frozen, or that do not say when."""
    for row, column, seeds in _places(new):
        times = {seed: _at(started[key]) for seed, key in seeds.items() if key in started}
        early = [seed for seed, at in times.items() if at is not None and at < old.at]
        silent = [seed for seed, at in times.items() if at is None]
        if early:
            first = min(at for at in times.values() if at is not None).isoformat()
            yield Deviation(kind=EARLY, what=f"{row}.{column}", how=f"begun {first} ({', '.join(early)})")
        if silent:
            how = f"it is not recorded when it was begun ({', '.join(silent)})"
            yield Deviation(kind=EARLY, what=f"{row}.{column}", how=how)


def _at(text: str | None) -> datetime | None:
    """A time with its zone; None for none."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _missing(old: FrozenPlan, new: FrozenPlan, lacking: Mapping[str, str]) -> Iterator[Deviation]:
    """Cells of both plans without a result, by reason."""
    for row, column, seeds in _places(new):
        there, reasons = old.cells.get(row, {}).get(column, {}), dict[str, list[str]]()
        for seed, key in seeds.items():
            if key in lacking and seed in there:
                reasons.setdefault(lacking[key], []).append(seed)
        for reason, some in reasons.items():
            yield Deviation(kind=MISSING, what=f"{row}.{column}", how=f"{reason} ({', '.join(some)})")


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same as JSON: a plan that was just made has tuples where a file has lists."""
    return identity.canonical_json(one) == identity.canonical_json(other)


def _change(before: Any, after: Any) -> str:
    """Two values, as JSON."""
    return " -> ".join(json.dumps(value, ensure_ascii=False) for value in (before, after))
