"""Writes the plan's file, and keeps the last one that held other jobs."""

from __future__ import annotations

from pathlib import Path

from refers_bench.errors import UserError
from refers_bench.files import publish_bytes
from refers_bench.store import plan_file
from refers_bench.store.collection import without_collection
from refers_bench.store.plan import (
    CROSSED,
    LOCK,
    Cell,
    Job,
    Plan,
    cell_name,
    checked,
    held,
    keys,
    keys_of,
    last,
    outline,
    read,
)

__all__ = [
    "CROSSED",
    "LOCK",
    "PREVIOUS",
    "Cell",
    "Job",
    "Plan",
    "cell_name",
    "keys",
    "last",
    "outline",
    "read",
    "write",
]

#: The last lock that held other jobs, so that what changed can still be named after planning again.
PREVIOUS = "plan.previous.json"


def write(plan: Plan, results: Path) -> Path:
    """Write ``<results>/<name>/plan.lock.json``; an equal plan gives equal bytes.

    A lock with other jobs that stood there becomes `PREVIOUS` beside it.

    Raises:
        StorageError: the results folder cannot be written.
        UserError: the plan of another manifest, which is still there, has this name.
    """
    path = results / plan.name / LOCK
    checked(plan, path)
    before = _keys_before(plan, path)
    if before is not None and before != {job.key for job in plan.jobs}:
        publish_bytes(path.with_name(PREVIOUS), path.read_bytes())
    # `asdict` would copy every specification to its last value.
    content = {**plan.recorded(), "jobs": map(vars, plan.jobs), "cells": map(Cell.recorded, plan.cells)}
    with without_collection():
        publish_bytes(path, plan_file.packed(content))
    return path


def _keys_before(plan: Plan, path: Path) -> set[str] | None:
    """Keys of the jobs of the lock at `path`, None for none; the plan of another manifest is not replaced.

    A manifest that was moved, or copied as it is, is no other one.
    """
    before = held(path)
    here, there = plan.manifest_path, str(before.get("manifest_path", ""))
    another = Path(there).is_file() and Path(there).resolve() != Path(here).resolve()
    if here and another and before.get("manifest") != plan.manifest:
        found = f"{here}: the name '{plan.name}' is that of the plan of {there}"
        raise UserError(found, allowed=f"another 'name' in one of the two manifests, or to remove {path} first")
    return keys_of(before)
