"""Finds the jobs that run right now, where and how far they are, from files that every machine sees."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from refers_bench.plan.lock import Job
from refers_bench.plan.states import Seen
from refers_bench.store.context import CACHED
from refers_bench.store.results import ResultStore

#: Seconds without a progress report after which a job is shown as silent: a validation or a slow disk takes some.
SILENT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Running:
    """A job that a live process holds a lease of.

    Attributes:
        job: of a plan.
        owner: its lease: host, process and engine of the run that executes it, or that has queued it.
        view: the job's last progress report; empty before the first.
        silent_s: seconds since that report, as far as the clocks of two hosts agree; None before it.
    """

    job: Job
    owner: Mapping[str, Any]
    view: Mapping[str, Any] = field(default_factory=dict)
    silent_s: float | None = None

    @property
    def queued(self) -> bool:
        """Whether it still waits in an engine's queue."""
        return bool(self.owner.get("queued"))


def running(jobs: Iterable[Job], seen: Seen, store: ResultStore) -> list[Running]:
    """Jobs with a live lease, in the order given, that are not done.

    Args:
        jobs: of one plan or several.
        seen: what the results folder held.
        store: where the jobs' progress files are.
    """
    found: dict[str, Running] = {}
    if not seen.owners:
        return []
    for job in jobs:
        owner = seen.owners.get(job.key)
        if owner is None or job.key in found or (job.key in seen.listing.done and job.kind not in CACHED):
            continue
        view = {} if owner.get("queued") else store.said(job.key)
        silent = max(0.0, time.time() - view["time"]) if "time" in view else None
        found[job.key] = Running(job=job, owner=owner, view=view, silent_s=silent)
    return list(found.values())


def whose(owner: Mapping[str, Any]) -> str:
    """Who holds a job, from its lease: "is run by process 12 on node3 (slurm)"."""
    verb = "is queued" if owner.get("queued") else "is run"
    engine = f" ({owner['engine']})" if owner.get("engine") else ""
    return f"{verb} by process {owner['pid']} on {owner['host']}{engine}"
