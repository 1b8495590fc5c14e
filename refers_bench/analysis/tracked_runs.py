"""Gathers what experiment trackers show of a finished job: name, parameters, tags, curves and final metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.identity import dotted
from refers_bench.store.plan import Cell, Job, Plan
from refers_bench.store.results import ResultStore
from refers_bench.store.scrubbing import Scrubber

CURVES, METRICS = "history.parquet", "metrics.parquet"


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """One point of a curve.

    Attributes:
        name: of the curve, such as "loss/total".
        step: update.
        value: finite.
        time: seconds since 1970.
    """

    name: str
    step: int
    value: float
    time: float


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A finished job as experiment trackers know it.

    Attributes:
        key: content key of the job: the same for the same result, wherever and whenever it is written.
        name: of the cell, or of the job where it stands in no table.
        kind: of the job.
        params: dotted name -> resolved value, with those of the pre-training; absolute paths are replaced.
        tags: what it is: manifest, row, dataset, task, seed, code, ...
        metrics: "mean_auc/test" and "auc/test/<class>" (likewise "val"), in [0, 1], defined ones alone; "wall_s".
        curves: points in the order of recording. They were recorded without times: these are spread evenly from start
            to end.
        start: seconds since 1970; 0 where it was not recorded.
        end: likewise.
    """

    key: str
    name: str
    kind: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: tuple[Scalar, ...]
    start: float
    end: float

    def rows(self) -> dict[int, dict[str, float]]:
        """Step -> name -> value of the curves, in the order of the steps."""
        found: dict[int, dict[str, float]] = {}
        for one in sorted(self.curves, key=lambda one: one.step):
            found.setdefault(one.step, {})[one.name] = one.value
        return found

    def times(self) -> dict[int, float]:
        """Step -> its time."""
        return {one.step: one.time for one in self.curves}


def chosen(plan: Plan, store: ResultStore, only: Sequence[str], *, files: Sequence[str]) -> list[Job]:
    """The finished jobs that have any of the files and whose name matches any of the patterns; () for all."""
    done = store.listing().done
    return [
        job
        for job in plan.jobs
        if job.key in done
        and any(fnmatchcase(job.name, each) for each in only or ("*",))
        and any((store.folder(job.key) / name).is_file() for name in files)
    ]


def runs(plan: Plan, store: ResultStore, jobs: Sequence[Job]) -> Iterator[TrackedRun]:
    """What the store holds of finished jobs, one at a time.

    Args:
        plan: that has the jobs.
        store: of the results.
        jobs: see `chosen`.

    Raises:
        UserError: a result is damaged.
    """
    cells: dict[str, Cell] = {}
    for one in plan.cells:
        cells.setdefault(one.key, one)
    specs = {job.key: job.spec for job in plan.jobs}
    for job in jobs:
        record = store.record(job.key) or {}
        started = record.get("started")
        start = datetime.fromisoformat(started).timestamp() if started else 0.0
        wall_s = float(record.get("wall_s") or 0)
        cell = cells.get(job.key)
        yield TrackedRun(
            key=job.key,
            name=cell.name if cell else job.name,
            kind=job.kind,
            params=Scrubber().value(parameters(job.spec, specs.get(str(job.spec.get("pretrain", "")), {}))),
            tags=_tags(plan, job, cell, record),
            metrics=_metrics(store, job.key, record),
            curves=tuple(_curves(_there(store, job.key, record, CURVES), start, wall_s)),
            start=start,
            end=start + wall_s,
        )


def parameters(spec: Mapping[str, Any], pretraining: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> resolved value of a job, and of the pre-training it needs; what both have in common stands once.

    Args:
        spec: of the job.
        pretraining: specification of the pre-training; {} for none.
    """
    needed = dotted(pretraining).items()
    more = {name: value for name, value in needed if name.startswith("pretrain.") or name == "source"}
    return {**dotted(spec), **more}


def _tags(plan: Plan, job: Job, cell: Cell | None, record: Mapping[str, Any]) -> dict[str, str]:
    """What a run is, in texts."""
    found: dict[str, Any] = {"manifest": plan.name, "kind": job.kind, "key": job.key, "job": job.name}
    if cell is not None:
        names = ("method", "label", "dataset", "task", "label_ratio", "seed", "evaluation", "folds")
        found |= {name: getattr(cell, name) for name in names}
        found |= {"synthetic": "true" if cell.synthetic else ""}
    git = (record.get("provenance") or {}).get("git") or {}
    found |= {"limit": plan.manifest.get("limit") or "", "origin": plan.manifest.get("origin", "run")}
    found |= {"commit": git.get("commit") or ""}
    return {name: Scrubber().text(str(value)) for name, value in found.items() if value not in ("", None)}


def _there(store: ResultStore, key: str, record: Mapping[str, Any], name: str) -> Path | None:
    """Path of a file of a result, checked; None where its job wrote none."""
    written = name in record.get("files", ()) or (store.folder(key) / name).is_file()
    return store.file(key, name) if written else None


def _metrics(store: ResultStore, key: str, record: Mapping[str, Any]) -> dict[str, float]:
    """Final metrics; an undefined AUC is left out, never a number."""
    found: dict[str, float] = {}
    if _there(store, key, record, METRICS):
        metrics = read_metrics([key], store.root)[0]
        for split in dict.fromkeys(metrics.splits):
            mean = metrics.mean(split)
            found |= {} if math.isnan(mean) else {f"mean_auc/{split}": mean}
        # Trackers read "/" as a group, or as a folder.
        aucs = {f"auc/{one.split}/{one.name.replace('/', '_')}": one.auc for one in metrics}
        found |= {name: auc for name, auc in aucs.items() if auc is not None}
    if record.get("wall_s") is not None:
        found["wall_s"] = float(record["wall_s"])
    return found


def _curves(path: Path | None, start: float, wall_s: float) -> Iterator[Scalar]:
    """The curves of one job, in the order of recording; a value that was not finite is left out."""
    from refers_bench.store.schemas import read_table

    rows = read_table(path, "history").to_pylist() if path else []
    last = max((row["step"] for row in rows), default=0)
    for row in rows:
        if row["value"] is not None and math.isfinite(row["value"]):
            passed = wall_s * row["step"] / last if last else 0.0
            yield Scalar(name=row["name"], step=row["step"], value=row["value"], time=start + passed)
