"""Runs a batch of jobs where an engine put it: one file in, this machine's workers, every ending in the store.

Whatever the engine, the process that it starts elsewhere reads a batch and runs it with the same coordinator and the
same workers as `local`: claims, time limits, retries and failure records are one piece of code.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from refers_bench.execution import local
from refers_bench.execution.engine import Attempt, Ending, Listener, Outcome, Settings, Slot
from refers_bench.execution.gpus import visible_gpus
from refers_bench.execution.progress import PlainView
from refers_bench.files import publish_json
from refers_bench.plan.lock import Job
from refers_bench.plan.states import state_of
from refers_bench.store.leases import RENEW_S
from refers_bench.store.results import ResultStore

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Attempts under one token, and how they run.

    Attributes:
        engine: name of the engine that sends it.
        token: under which its jobs are claimed.
        device: "auto", "cpu" or "cuda", decided where it runs.
        attempts: in the order in which they may run.
        settings: see `Settings`; slots are made where it runs.
        side_by_side: jobs at a time, which share its GPUs.
    """

    engine: str
    token: str
    device: str
    attempts: Sequence[Attempt]
    settings: Settings
    side_by_side: int = 1

    def write(self, path: Path) -> None:
        """Publish as JSON.

        Raises:
            StorageError: the folder cannot be written.
        """
        settings = self.settings
        content = {
            "version": VERSION,
            "engine": self.engine,
            "token": self.token,
            "device": self.device,
            "side_by_side": self.side_by_side,
            "attempts": [
                {
                    "job": asdict(attempt.job),
                    "number": attempt.number,
                    "accumulate": attempt.accumulate,
                    "after": attempt.after,
                }
                for attempt in self.attempts
            ],
            "settings": {
                "results": str(settings.results.absolute()),
                "cache": str(settings.cache.absolute()),
                "roots": dict(settings.roots),
                "threads": settings.threads,
                "processes": settings.processes,
                "arithmetic": settings.arithmetic,
                "time_limit": settings.time_limit,
                "retries": dict(settings.retries),
                "stale_s": settings.stale_s,
                "accumulate": settings.accumulate,
                "entry": settings.entry,
                "preload": list(settings.preload),
            },
        }
        publish_json(path, content)

    @classmethod
    def read(cls, path: Path) -> Batch:
        """What `write` wrote."""
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        how = content["settings"]
        settings = Settings(**{**how, "results": Path(how["results"]), "cache": Path(how["cache"])})
        attempts = [
            Attempt(**{**one, "job": Job.of(one["job"])}, token=content["token"]) for one in content["attempts"]
        ]
        return cls(
            engine=content["engine"],
            token=content["token"],
            device=content["device"],
            attempts=attempts,
            settings=settings,
            side_by_side=content["side_by_side"],
        )


def slot_here(device: str) -> Slot:
    """The slot of a process that an engine started: all the GPUs it was given, or the CPU.

    Args:
        device: "cpu"; "cuda"; or "auto" for the GPUs where there are any.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if not gpus:
        return Slot(device="cuda" if device == "cuda" else "cpu")
    return Slot(device="cuda", environment={"CUDA_VISIBLE_DEVICES": ",".join(gpus)})


def run(batch: Batch, *, stop: threading.Event | None = None, view: Listener | None = None) -> Outcome:
    """Run a batch on this machine, one job at a time or a few; results and failures are in the store afterwards.

    A job that somebody alive is at, or whose needs are not done, is left; one whose failure an earlier run of the batch
    has recorded is over.

    Args:
        batch: what to run.
        stop: once set, the running job saves its state and ends, and the rest is left.
        view: told what happens; lines on standard error by default.

    Raises:
        StorageError: results cannot be written.
    """
    stopping = stop.is_set if stop is not None else (lambda: False)
    store = ResultStore(batch.settings.results)
    attempts = [one for one in batch.attempts if (store.failure(one.job.key) or {}).get("token") != batch.token]
    settings = replace(
        batch.settings,
        slots=[slot_here(batch.device)] * batch.side_by_side,
        stopping=stopping,
        given={attempt.job.key: attempt for attempt in attempts},
        # A claim that a dead machine has left is taken over; nobody holds a GPU to watch what another one does.
        patience_s=batch.settings.stale_s + RENEW_S,
    )
    view = view or PlainView(len(attempts))
    return local.execute([attempt.job for attempt in attempts], settings, view)


def ending_in_store(attempt: Attempt, settings: Settings) -> Ending | None:
    """How an attempt elsewhere ended, as far as the store tells: done, or failed under its token; None if it does not.

    Args:
        attempt: handed to an engine.
        settings: of the coordinator.
    """
    key, store = attempt.job.key, ResultStore(settings.results)
    if state_of(attempt.job, store, settings.cache) == "done":
        return Ending(key=key, category="ok")
    failure = store.failure(key)
    if failure is None or failure.get("token") != attempt.token:
        return None
    facts = {name: value for name, value in failure.items() if name not in ("version", "key", "category", "message")}
    return Ending(key=key, category=failure["category"], message=failure.get("message", ""), facts=facts, recorded=True)
