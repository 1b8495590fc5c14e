"""How do jobs run on this machine: slots, order, failures, resume?"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pebble

from refers_bench.errors import Problem, StorageError
from refers_bench.execution import worker
from refers_bench.execution.categories import of_exit, oom_kill_count
from refers_bench.plan.lock import Job
from refers_bench.plan.states import state_of
from refers_bench.store.claims import Claims, process_start
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

ENTRY = "refers_bench.jobs.entry:run"
#: Loaded once, before workers are forked: a replaced worker costs milliseconds, not the import of torch.
PRELOAD = ("refers_bench.execution.worker", "refers_bench.jobs.entry")
HEAVY = (
    "refers_bench.jobs.prepare",
    "refers_bench.jobs.finetune",
    "refers_bench.jobs.pretrain",
    "transformers.models.bert.modeling_bert",
)
#: Order in which ready jobs start: what others wait for comes first.
RANK = {"prepare": 0, "discover": 1, "pretrain": 2, "finetune": 3}
TICK_S = 0.25
RENEW_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one job at a time: a worker process, its device and its environment."""

    device: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How jobs run; nothing here changes a result.

    Attributes:
        results: results folder.
        cache: folder of prepared images.
        roots: data-root name -> path.
        slots: one worker each.
        threads: torch threads of a worker.
        time_limit: seconds a job may take.
        retries: failure category -> further attempts in this run.
        max_jobs: jobs to start at most; None for all.
        entry: what a worker calls.
        preload: modules loaded before workers are forked.
    """

    results: Path
    cache: Path
    roots: Mapping[str, str] = field(default_factory=dict)
    slots: Sequence[Slot] = (Slot(device="cpu"),)
    threads: int = 1
    time_limit: float | None = None
    retries: Mapping[str, int] = field(default_factory=lambda: {"crash": 1})
    max_jobs: int | None = None
    entry: str = ENTRY
    preload: Sequence[str] = (*PRELOAD, *HEAVY)


class Listener(Protocol):
    """Who is told what happens."""

    def started(self, job: Job, slot: int) -> None:
        """A job begins."""

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        """A job ended with a category of `refers_bench.errors.CATEGORIES`."""

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """Progress of running jobs by name, and how many of each kind are waiting."""


@dataclass(kw_only=True)
class Outcome:
    """What became of the jobs asked for."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class _Running:
    job: Job
    slot: int
    future: Any
    started: float
    oom_kills: int


def execute(jobs: Sequence[Job], settings: Settings, listener: Listener) -> Outcome:
    """Run what is not done, in the order of their needs; failures are recorded and the rest goes on.

    Args:
        jobs: needed ones before those that need them; unavailable ones are not run.
        settings: see `Settings`.
        listener: told what happens.

    Raises:
        StorageError: results or cache cannot be written; finished results stay, running jobs are stopped.
    """
    run = _Run(jobs, settings, listener)
    run.clean()
    if not run.pending:
        return run.outcome
    with run.pools():
        run.loop()
    return run.outcome


class _Run:
    """One call of `execute`."""

    def __init__(self, jobs: Sequence[Job], settings: Settings, listener: Listener) -> None:
        self.settings, self.listener = settings, listener
        self.store, self.claims = ResultStore(settings.results), Claims(settings.results)
        self.jobs = {job.key: job for job in jobs}
        self.done = {job.key for job in jobs if self.is_done(job)}
        self.pending = [job for job in jobs if job.key not in self.done and not job.unavailable]
        self.pending.sort(key=lambda job: RANK.get(job.kind, 9))
        self.failed: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.running: dict[Any, _Running] = {}
        self.free = list(range(len(settings.slots)))
        self.workers: list[Any] = []
        self.starts = 0
        self.renewed = time.monotonic()
        self.outcome = Outcome()

    def is_done(self, job: Job) -> bool:
        return state_of(job, self.store, self.settings.cache) == "done"

    def clean(self) -> None:
        """Remove what killed runs left half-written, unless somebody is at work on it."""
        self.claims.sweep()
        for part in [*self.store.root.glob(".*.part"), *self.store.root.glob(".*.old")]:
            if self.claims.owner(part.name.split(".")[1]) is None:
                shutil.rmtree(part, ignore_errors=True)
                part.unlink(missing_ok=True) if part.is_file() else None
        for work in self.claims.folder.parent.iterdir():
            key = work.name
            if key == self.claims.folder.name or self.claims.owner(key) is not None:
                continue
            if self.store.state(key) == "done":  # killed after publishing, before tidying up
                shutil.rmtree(work, ignore_errors=True)
            for part in work.glob("*.part"):
                part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def pools(self) -> Iterator[None]:
        """One single-worker pool per slot, so that a slot keeps its device when its worker is replaced."""
        threads = str(self.settings.threads)
        # Read when torch is loaded in the server that workers are forked from.
        os.environ.update({"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"})
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(self.settings.preload))
        me = (os.getpid(), process_start(os.getpid()))
        self.workers = [
            pebble.ProcessPool(
                max_workers=1, context=context, initializer=worker.initialise, initargs=(*me, dict(slot.environment))
            )
            for slot in self.settings.slots
        ]
        try:
            yield
        except BaseException:
            for pool in self.workers:
                pool.stop()
            raise
        finally:
            for pool in self.workers:
                pool.close()
            for pool in self.workers:
                pool.join()
            for key in list(self.claims.held):
                with contextlib.suppress(StorageError):
                    self.claims.release(key)

    def loop(self) -> None:
        while self.pending or self.running:
            started = self.start_ready()
            if self.running:
                ended, _ = concurrent.futures.wait(self.running, TICK_S, concurrent.futures.FIRST_COMPLETED)
                for future in ended:
                    self.end(self.running.pop(future))
            elif self.pending and not started:
                if self.exhausted() or not self.waiting_for_others():
                    break
                time.sleep(TICK_S)
            self.tick()
        self.outcome.left += [job.key for job in self.pending]

    def exhausted(self) -> bool:
        return self.settings.max_jobs is not None and self.starts >= self.settings.max_jobs

    def waiting_for_others(self) -> bool:
        """Whether a pending job is claimed by another orchestrator, or can start now that it is done."""
        return any(self.claims.owner(key) or self.is_done(self.jobs[key]) for key in self.wanted())

    def wanted(self) -> list[str]:
        return [job.key for job in self.pending]

    def start_ready(self) -> bool:
        """Fill the free slots; returns whether anything changed."""
        changed = False
        for job in list(self.pending):
            blocked = [
                need for need in job.needs if need in self.failed or (need in self.jobs and self.jobs[need].unavailable)
            ]
            if blocked:
                self.pending.remove(job)
                self.failed[job.key] = "blocked"
                self.outcome.blocked.append(job.key)
                changed = True
            elif self.free and not self.exhausted() and all(need in self.done for need in job.needs):
                changed |= self.start(job)
        return changed

    def start(self, job: Job) -> bool:
        """Claim and start a job; False when another orchestrator is at it."""
        if not self.claims.acquire(job.key):
            return False
        self.pending.remove(job)
        if self.is_done(job):  # another orchestrator finished it
            self.claims.release(job.key)
            self.done.add(job.key)
            self.outcome.done.append(job.key)
            return True
        slot = self.free.pop(0)
        settings = self.settings
        context = JobContext(
            results=settings.results, cache=settings.cache, roots=dict(settings.roots),
            device=settings.slots[slot].device, threads=settings.threads,
        )  # fmt: skip
        self.attempts[job.key] = self.attempts.get(job.key, 0) + 1
        self.starts += 1
        self.listener.started(job, slot)
        payload = {"key": job.key, "kind": job.kind, "name": job.name, "needs": list(job.needs), "spec": dict(job.spec)}
        future = self.workers[slot].schedule(
            worker.work, args=(settings.entry, payload, context), timeout=settings.time_limit
        )
        self.running[future] = _Running(
            job=job, slot=slot, future=future, started=time.monotonic(), oom_kills=oom_kill_count()
        )
        return True

    def end(self, run: _Running) -> None:
        seconds, job = time.monotonic() - run.started, run.job
        self.free.append(run.slot)
        ending = self.ending(run)
        category = ending["category"]
        if category == "storage":
            raise StorageError(Problem(found=ending["message"]))
        if category == "ok" and not self.is_done(job):
            ending = {"category": "crash", "message": "the job returned without publishing a result"}
            category = "crash"
        if category == "ok":
            self.done.add(job.key)
            self.outcome.done.append(job.key)
        elif self.attempts[job.key] <= self.settings.retries.get(category, 0):
            self.pending.append(job)
        else:
            self.store.fail(
                job.key, category=category,
                record={
                    **ending, "name": job.name, "kind": job.kind, "attempts": self.attempts[job.key],
                    "wall_s": round(seconds, 3),
                },
            )  # fmt: skip
            self.failed[job.key] = category
            self.outcome.failed[job.key] = category
        self.claims.release(job.key)
        self.listener.ended(job, category, seconds, ending.get("message", ""))

    def ending(self, run: _Running) -> dict[str, Any]:
        """How a job ended, from its future."""
        try:
            result: dict[str, Any] = run.future.result()
        except concurrent.futures.TimeoutError:
            return {"category": "timeout", "message": f"over its time limit of {self.settings.time_limit:g} s"}
        except pebble.ProcessExpired as error:
            category = of_exit(error.exitcode, oom_kills=oom_kill_count() - run.oom_kills)
            return {
                "category": category,
                "message": f"worker died with exit status {error.exitcode}",
                "exit_status": error.exitcode,
            }
        return result

    def tick(self) -> None:
        if time.monotonic() - self.renewed > RENEW_S:
            self.claims.renew()
            self.renewed = time.monotonic()
        running = {
            run.job.name: _progress(self.store.work_folder(run.job.key) / "progress.json")
            for run in self.running.values()
        }
        self.listener.tick(running, Counter(job.kind for job in self.pending))


def _progress(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content
