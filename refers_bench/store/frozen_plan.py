"""Keeps a frozen plan: what a benchmark is to compare and by which rules, with a digest, from before anything ran.

The file is written once (`refers_bench.plan.freezing`) and only compared from then on (`refers_bench.analysis.
frozen_plan`). Its digest is the SHA-256 of the canonical JSON of everything else in it, so that an edited file shows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import UserError
from refers_bench.files import publish_json
from refers_bench.store import rules
from refers_bench.store.plan import Cell, Plan, candidate_marks, column_name
from refers_bench.store.reading import read_json

FROZEN = "plan.frozen.json"
VERSION = 1
#: What is the same for every benchmark: these hold by the program, or show as deviations.
STOPPING = (
    "A benchmark ends when each planned seed of each cell has a result; a finished cell is not run again.",
    "No row, column or seed is added or left out once results are seen: one that is, is listed as a deviation.",
    "A row that lacks a planned seed in a column is not ranked and not tested there; nothing stands in for a seed.",
)
#: What helps against a damaged file.
REMEDY = "the file as it was frozen; a plan is frozen anew only where this file is removed by hand"


@dataclass(frozen=True, kw_only=True)
class FrozenPlan:
    """A plan as it was frozen.

    Attributes:
        frozen: when, UTC, ISO 8601.
        program: name and version.
        name: of the plan.
        title: of the report.
        rows: row name -> title.
        columns: names of the columns, `refers_bench.store.plan.column_name`.
        seeds: that any cell has.
        rules: of the primary tests, `refers_bench.store.rules.Rules.recorded`, and the limit of images.
        stopping: the rules that are the same for every benchmark.
        cells: row name -> column name -> seed ("s0"), with the candidate of tuning where there are some
            ("s0.learning_rate=0.01") -> key of the cell's job.
        values: name -> every resolved constant.
        needs: name of a job that cells need -> keys of the jobs of that name.
    """

    frozen: str
    program: str
    name: str
    title: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)
    stopping: tuple[str, ...] = STOPPING
    cells: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str, Any]:
        """As the file holds it, without the digest."""
        return {"version": VERSION, **vars(self)}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of `recorded`."""
        return hashlib.sha256(identity.canonical_json(self.recorded).encode()).hexdigest()

    def same(self, other: FrozenPlan) -> bool:
        """Whether another one differs in nothing but when, and by which version, it was frozen."""
        return dataclasses.replace(self, frozen=other.frozen, program=other.program).digest == other.digest

    @property
    def at(self) -> datetime:
        """When it was frozen."""
        return datetime.fromisoformat(self.frozen)

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return sum(len(seeds) for columns in self.cells.values() for seeds in columns.values())


def column_of(cell: Cell) -> str:
    """Name of a cell's column."""
    where = (cell.dataset, cell.task, cell.label_ratio)
    return column_name(*where, evaluation=cell.evaluation, folds=cell.folds)


def of(plan: Plan, *, at: str, program: str) -> FrozenPlan:
    """What a plan fixes.

    Args:
        plan: as it was made, or read.
        at: time, UTC, ISO 8601.
        program: name and version.
    """
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for cell in plan.cells:
        run = ".".join([f"s{cell.seed}", *candidate_marks(cell.candidate)])
        cells.setdefault(cell.method, {}).setdefault(column_of(cell), {})[run] = cell.key
    own = {cell.key for cell in plan.cells}
    needs: dict[str, list[str]] = {}
    for job in plan.jobs:
        if job.key not in own:
            needs.setdefault(job.name, []).append(job.key)
    limit = int(plan.manifest.get("limit") or 0)
    return FrozenPlan(
        frozen=at,
        program=program,
        name=plan.name,
        title=plan.title,
        rows={cell.method: cell.label for cell in plan.cells},
        columns=tuple(dict.fromkeys(map(column_of, plan.cells))),
        seeds=tuple(dict.fromkeys(cell.seed for cell in plan.cells)),
        rules={**rules.of(plan.manifest, plan.cells).recorded(), "images of each split": limit or rules.ALL},
        cells=cells,
        values={name: one["value"] for name, one in plan.values.items() if "value" in one},
        needs={name: tuple(sorted(keys)) for name, keys in needs.items()},
    )


def seed_of(run: str) -> int:
    """The seed of a cell of `FrozenPlan.cells`.

    Example:
        >>> seed_of("s3.learning_rate=0.01")
        3
    """
    return int(run[1:].partition(".")[0])


def path_of(results: Path, name: str) -> Path:
    """Where the frozen plan of a manifest lies."""
    return results / name / FROZEN


def write(frozen: FrozenPlan, path: Path) -> None:
    """Write the file.

    Raises:
        StorageError: the folder cannot be written.
    """
    publish_json(path, {**frozen.recorded, "digest": frozen.digest})


def find(results: Path, name: str) -> FrozenPlan | None:
    """The frozen plan of a manifest; None where nothing was frozen.

    Raises:
        UserError: as `read`.
    """
    path = path_of(results, name)
    return read(path) if path.exists() else None


def read(path: Path) -> FrozenPlan:
    """Read a frozen plan, and check it against its digest.

    Raises:
        UserError: missing, not JSON, of another version, incomplete, or changed since it was frozen.
    """
    content = read_json(path)
    if content.get("version") != VERSION:
        found = f"a frozen plan of version {content.get('version')!r:.40}"
        raise UserError(found, allowed=f"version {VERSION}; {REMEDY}", path=path)
    stated = content.pop("digest", None)
    try:
        digest = hashlib.sha256(identity.canonical_json(content).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"no frozen plan ({error})", allowed=REMEDY, path=path) from error
    if stated != digest:
        found = f"changed since it was frozen: SHA-256 {digest}, recorded {str(stated)[:80]}"
        raise UserError(found, allowed=REMEDY, path=path)
    content.pop("version")
    if missing := [name for name in (*_FIELDS, *content) if not (name in _FIELDS and name in content)]:
        raise UserError(f"no complete frozen plan ('{missing[0][:80]}')", allowed=REMEDY, path=path)
    if wrong := [name for name, valid in _FIELDS.items() if not valid(content[name])]:
        raise UserError(f"no frozen plan ('{wrong[0]}' is of another kind)", allowed=REMEDY, path=path)
    lists = {name: tuple(content[name]) for name in ("columns", "seeds", "stopping")}
    needs = {name: tuple(keys) for name, keys in content["needs"].items()}
    return FrozenPlan(**{**content, **lists, "needs": needs})


def _text(value: Any) -> bool:
    return type(value) is str


def _time(value: Any) -> bool:
    """Whether a value is a time with its zone."""
    try:
        return type(value) is str and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _list(of_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(of_one, value))


def _mapping(of_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is dict and all(map(of_one, value.values()))


def _cells(value: Any) -> bool:
    """Whether a value gives a key for each of some seeds."""
    return type(value) is dict and all(map(_SEED.fullmatch, value)) and all(map(_text, value.values()))


#: A seed in the name of a cell, and its candidate.
_SEED = re.compile(r"s\d{1,10}(\..+)?", re.ASCII)
#: Field -> whether a value is of its kind.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "frozen": _time,
    "program": _text,
    "name": _text,
    "title": _text,
    "rows": _mapping(_text),
    "columns": _list(_text),
    "seeds": _list(lambda value: type(value) is int),
    "rules": _mapping(lambda value: True),
    "stopping": _list(_text),
    "cells": _mapping(_mapping(_cells)),
    "values": _mapping(lambda value: True),
    "needs": _mapping(_list(_text)),
}
