"""Orders jobs so that whole table rows are completed, and says which rows a spending limit (`--budget`) pays for."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refers_bench.errors import UserError
from refers_bench.plan.forecast.schedule import chains
from refers_bench.plan.lock import Job, Plan

#: Kinds of jobs that use no GPU.
NO_GPU = frozenset({"prepare", "out_of_fold"})
#: Unit of a spending limit -> (what is counted: '' for slots, seconds of one unit).
UNITS: Mapping[str, tuple[str, float]] = {
    "gpuh": ("gpu", 3600.0),
    "gpumin": ("gpu", 60.0),
    "cpuh": ("cpu", 3600.0),
    "cpumin": ("cpu", 60.0),
    "h": ("", 3600.0),
    "m": ("", 60.0),
    "min": ("", 60.0),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A table row: a method in all its columns and seeds, or the methods that compete for one row.

    Attributes:
        name: of the row.
        keys: jobs that no earlier row has needed, its pre-training and data among them.
        cells: jobs of its cells, shared ones, too.
    """

    name: str
    keys: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a row takes of a spending limit.

    Attributes:
        row: which.
        cost_s: seconds of slots its jobs take, by the forecast, earlier rows' jobs not among them.
        until_s: with all rows before.
        fits: whether that is within the limit.
    """

    row: Row
    cost_s: float
    until_s: float
    fits: bool


def rows(plan: Plan) -> tuple[Row, ...]:
    """Table rows in the manifest's order, each with the jobs that it is the first to need."""
    needs = {job.key: job.needs for job in plan.jobs}
    cells: dict[str, dict[str, None]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.best_of or cell.method, {})[cell.key] = None
    own: dict[str, list[str]] = {name: [] for name in cells}
    row_of: dict[str, str] = {}
    for name, keys in cells.items():
        waiting = list(keys)
        while waiting:
            if (key := waiting.pop()) not in row_of:
                row_of[key] = name
                waiting += needs[key]
    for key in needs:
        if key in row_of:
            own[row_of[key]].append(key)
    return tuple([Row(name=name, keys=tuple(own[name]), cells=tuple(keys)) for name, keys in cells.items()])


def row_by_row(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    """Job -> rank under which an earlier row's job always goes before a later one's, the longest chain first in each.

    Args:
        plan: of a manifest.
        seconds: what jobs take, as far as known; others count nothing.
    """
    ranks: dict[str, float] = {}
    needs = {job.key: job.needs for job in plan.jobs}
    for number, row in enumerate(rows(plan)):
        inside = chains({key: seconds.get(key, 0.0) for key in row.keys}, needs)
        for place, key in enumerate(sorted(row.keys, key=lambda one: -inside[one])):
            ranks[key] = number + place / (len(row.keys) + 1)
    return ranks


def longest_first(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    """Job -> rank: what the longest chain of waiting jobs begins with goes first."""
    whole = {job.key: seconds.get(job.key, 0.0) for job in plan.jobs}
    return {key: -chain for key, chain in chains(whole, {job.key: job.needs for job in plan.jobs}).items()}


def shares(plan: Plan, costs: Mapping[str, float], limit_s: float) -> tuple[Share, ...]:
    """What each row takes of a spending limit, in the order in which they are run.

    Args:
        plan: of a manifest.
        costs: seconds of slots of the jobs that are still to run.
        limit_s: seconds of slots.
    """
    until, found = 0.0, []
    for row in rows(plan):
        cost = sum(costs.get(key, 0.0) for key in row.keys)
        until += cost
        found.append(Share(row=row, cost_s=cost, until_s=until, fits=until <= limit_s))
    return tuple(found)


def started(
    jobs: Sequence[Job],
    seconds: Mapping[str, float],
    ranks: Mapping[str, Any],
    *,
    slots: int,
    most: int | None = None,
    limit_s: float | None = None,
    cost: Callable[[Job], float] = lambda job: 1.0,
) -> set[str]:
    """Keys of the jobs that a run would start before it reaches a limit, if each takes what the forecast says.

    Args:
        jobs: that are still to run; what else they need is done.
        seconds: that each takes.
        ranks: of those that can start, the lowest goes first.
        slots: jobs at a time, preparations beside them.
        most: jobs to start.
        limit_s: spending limit in seconds of slots.
        cost: slots that a job occupies, for the spending limit.
    """
    waiting, begun = {job.key: job for job in jobs}, set[str]()
    running: list[tuple[float, str, Job]] = []
    now = spent = 0.0
    while waiting or running:
        open_ = {*waiting, *(key for _, key, _ in running)}
        ready = sorted(
            (job for job in waiting.values() if not open_.intersection(job.needs)), key=lambda one: ranks[one.key]
        )
        free = slots - sum(job.kind != "prepare" for *_, job in running)
        for job in ready:
            if (most is not None and len(begun) >= most) or (limit_s is not None and spent >= limit_s):
                waiting.clear()
                break
            if job.kind == "prepare" or free > 0:
                free -= job.kind != "prepare"
                begun.add(job.key)
                del waiting[job.key]
                heapq.heappush(running, (now + seconds.get(job.key, 0.0), job.key, job))
        if not running:
            break
        end, _, ended = heapq.heappop(running)
        spent += (end - now) * sum(cost(job) for job in (ended, *(job for *_, job in running)))
        now = end
    return begun


def slots_of(job: Job, *, device: str, gpus: float = 1.0, shared_by: int = 1) -> float:
    """Slots that a job takes on a cluster, where each job gets what it asks for, and not one slot like any other.

    Args:
        job: of a plan.
        device: "cuda" or "cpu": what a slot of this run is.
        gpus: GPUs of a slot, as for `limit_seconds`.
        shared_by: jobs that share a GPU; pre-training shares none, and `NO_GPU` take none.
    """
    processes = float(job.spec["pretrain"]["processes"]) if job.kind == "pretrain" else 0.0
    if device != "cuda":
        return processes or 1.0
    return 0.0 if job.kind in NO_GPU else (processes or 1.0 / shared_by) / gpus


def limit_seconds(text: str, *, device: str, gpus: float = 1.0, threads: int = 1) -> float:
    """Seconds of slots that a spending limit such as "40gpuh", "90cpumin", "3h" or "45m" pays for.

    Args:
        text: number and unit; h and m count slots, whatever they are.
        device: "cuda" or "cpu": what a slot of this run is.
        gpus: GPUs of a slot; several jobs a GPU make it a fraction.
        threads: of a CPU slot.

    Raises:
        UserError: no number, no known unit, or one of the other device.

    Example:
        >>> limit_seconds("90cpumin", device="cpu", threads=2)
        2700.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    unit = UNITS.get(match[2]) if match else None
    if match is None or unit is None or not float(match[1]):
        raise UserError(f"--budget {text}", allowed="a number and a unit: 40gpuh, 90cpumin, 3h or 45m")
    counted, seconds = unit
    if counted and counted != {"cuda": "gpu"}.get(device, device):
        has = "GPUs" if device == "cuda" else "the CPU"
        raise UserError(f"--budget {text}, and this run's slots are on {has}", allowed="3h counts slots")
    per_slot = {"gpu": gpus, "cpu": float(threads), "": 1.0}[counted]
    return float(match[1]) * seconds / per_slot
