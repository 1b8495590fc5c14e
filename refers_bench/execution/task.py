"""Runs a batch of jobs where an engine put it: one file in, this machine's workers, every ending in the store.

Whatever the engine, the process that it starts elsewhere reads a batch and runs it with the same coordinator and the
same workers as `local`: leases, time limits, retries and failure records are one piece of code.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from refers_bench import plugins
from refers_bench.execution import local
from refers_bench.execution.engine import Attempt, Ending, Listener, Outcome, Settings, Slot
from refers_bench.execution.gpus import visible_gpus
from refers_bench.execution.progress import PlainView
from refers_bench.files import publish_json, read_json
from refers_bench.plan.lock import Job
from refers_bench.plan.states import state_of
from refers_bench.store.leases import RENEW_S
from refers_bench.store.results import ResultStore

VERSION = 1
#: Settings that a batch carries, beside its folders.
_SENT = (
    *(
        "roots",
        "plugins",
        "threads",
        "processes",
        "arithmetic",
        "compile",
        "time_limit",
        "retries",
        "stale_s",
        "micro_batches",
        "entry",
    ),
    "preload",
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Attempts under one token, and how they run.

    Attributes:
        engine: name of the engine that sends it.
        token: under which its jobs are leased.
        device: "auto", "cpu" or "cuda", decided where it runs.
        settings: see `Settings`; slots are made where it runs.
        attempts: in the order in which they may run.
        side_by_side: jobs at a time, which share its GPUs.
    """

    engine: str
    token: str
    device: str
    settings: Settings
    attempts: Sequence[Attempt] = ()
    side_by_side: int = 1

    def write(self, path: Path) -> None:
        """Publish as JSON.

        Raises:
            StorageError: the folder cannot be written.
        """
        folders = {name: str(getattr(self.settings, name).absolute()) for name in ("results", "cache")}
        settings = {**folders, **{name: getattr(self.settings, name) for name in _SENT}}
        attempts = [asdict(attempt) for attempt in self.attempts]
        for part in (settings, *attempts):
            part["accumulate"] = part.pop("micro_batches")  # its name in files
            part.pop("token", None)
        publish_json(path, {"version": VERSION, **vars(self), "settings": settings, "attempts": attempts})

    @classmethod
    def read(cls, path: Path) -> Batch:
        """What `write` wrote."""
        content = read_json(path)
        content.pop("version")
        how, token = content["settings"], content["token"]
        for part in (how, *content["attempts"]):
            part["micro_batches"] = part.pop("accumulate")
        settings = Settings(**{**how, "results": Path(how["results"]), "cache": Path(how["cache"])})
        attempts = [Attempt(**{**one, "job": Job.of(one["job"])}, token=token) for one in content["attempts"]]
        return cls(**{**content, "attempts": attempts, "settings": settings})


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

    A job that a live process runs, or whose needs are not done, is left; one whose failure an earlier run of the batch
    has recorded is not run again.

    Args:
        batch: what to run.
        stop: once set, the running job saves its state and ends, and the rest is left.
        view: notified of what happens; lines on standard error by default.

    Raises:
        StorageError: results cannot be written.
    """
    plugins.use(map(Path, batch.settings.plugins))
    store = ResultStore(batch.settings.results)
    attempts = [one for one in batch.attempts if (store.failure(one.job.key) or {}).get("token") != batch.token]
    settings = replace(
        batch.settings,
        slots=[slot_here(batch.device)] * batch.side_by_side,
        stopping=(stop or threading.Event()).is_set,
        given={attempt.job.key: attempt for attempt in attempts},
        # The lease of a dead machine is taken over; nobody occupies a GPU to watch what another one does.
        patience_s=batch.settings.stale_s + RENEW_S,
    )
    return local.execute([attempt.job for attempt in attempts], settings, view or PlainView(len(attempts)))


def ending_in_store(attempt: Attempt, settings: Settings) -> Ending | None:
    """How an attempt elsewhere ended, if the store shows it: done, or failed under its token; None otherwise.

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
    facts = {name: value for name, value in failure.items() if name not in ("version", "key")}
    return Ending.of(key, facts, recorded=True)
