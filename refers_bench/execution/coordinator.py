"""Decides which job runs next and what follows from how it ended: needs, leases, retries, failures, spending limit."""

import contextlib
import heapq
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from refers_bench.errors import StorageError, UserError
from refers_bench.execution.engine import Attempt, Ending, Engine, Listener, Outcome, Refused, Settings
from refers_bench.execution.retry import comes_again, next_attempt, refusal
from refers_bench.files import tidy
from refers_bench.plan.lock import Job
from refers_bench.plan.states import state_of
from refers_bench.store import provenance
from refers_bench.store.context import CACHED
from refers_bench.store.leases import RENEW_S, Leases
from refers_bench.store.results import ResultStore

#: Order in which ready jobs start: what others wait for comes first.
RANK = {"prepare": 0, "discover": 1, "pretrain": 2, "features": 3, "heads": 4, "finetune": 5}
TICK_S = 0.25
#: Seconds between two checks of jobs that another coordinator runs.
ELSEWHERE_S = 1.0
#: Running jobs whose progress is read for a view.
SHOWN = 32


def execute(jobs: Sequence[Job], engine: Engine, settings: Settings, listener: Listener) -> Outcome:
    """Run what is not done, in the order of their needs; a failure is recorded, and the other jobs still run.

    Args:
        jobs: needed ones before those that need them; unavailable ones are not run. A need that is not among them
            counts when the store has it.
        engine: where they run.
        settings: see `Settings`.
        listener: notified of what happens.

    Raises:
        StorageError: results or cache cannot be written; finished results stay, running jobs are stopped.
    """
    run = _Run(jobs, engine, settings, listener)
    run.clean()
    run.sort()
    if not run.todo:
        return run.outcome
    try:
        with engine.opened():
            run.attach()
            run.loop()
    finally:
        run.release_all()
    return run.outcome


@dataclass(kw_only=True)
class _Running:
    """A job that the engine has.

    Attributes:
        attempt: at the job.
        since: when it began or was queued.
        queued: whether it waits in the engine's queue, as far as the engine has reported.
    """

    attempt: Attempt
    since: float
    queued: bool


class _Run:
    """One call of `execute`."""

    def __init__(self, jobs: Sequence[Job], engine: Engine, settings: Settings, listener: Listener) -> None:
        self.engine, self.settings, self.listener = engine, settings, listener
        self.store = ResultStore(settings.results)
        self.leases = Leases(settings.results, stale_s=settings.stale_s, engine=engine.name, queued=bool(engine.token))
        self.jobs = {job.key: job for job in jobs}
        self.place = {key: number for number, key in enumerate(self.jobs)}
        self.done: set[str] = set()
        #: Failed or blocked.
        self.hopeless: set[str] = set()
        #: Neither done nor hopeless, running or not.
        self.todo: dict[str, Job] = {}
        #: Kinds with places apart (engines of other packages may name none), and '' -> heap of what can start.
        self.ready: dict[str, list[Any]] = {kind: [] for kind in (*getattr(engine, "apart", ()), "")}
        self.running: dict[str, _Running] = {}
        #: Leased by another coordinator when it was this run's turn.
        self.elsewhere: set[str] = set()
        #: When failures of earlier runs were recorded.
        self.before: dict[str, int] = {}
        self.children: dict[str, list[str]] = {}
        #: Attempts that follow an earlier one.
        self.next: dict[str, Attempt] = dict(settings.given)
        self.starts, self.interrupted = 0, False
        self.renewed = self.looked = self.ticked = self.idle_since = time.monotonic()
        self.outcome = Outcome()

    # --- what there is ----------------------------------------------------------------------------------------------

    def clean(self) -> None:
        """Remove what killed runs left half-written, except where a live process is at work."""
        self.leases.sweep()
        for part in [*self.store.root.glob(".*.part"), *self.store.root.glob(".*.old")]:
            if self.leases.owner(part.name.split(".")[1]) is None:
                shutil.rmtree(part, ignore_errors=True)
                part.unlink(missing_ok=True) if part.is_file() else None
        for work in self.leases.folder.parent.iterdir():
            key = work.name
            if key == self.leases.folder.name or self.leases.owner(key) is not None:
                continue
            if self.store.state(key) == "done":  # killed after publishing, before tidying up
                shutil.rmtree(work, ignore_errors=True)
            for part in work.glob("*.part"):
                part.unlink(missing_ok=True)
        for job in self.jobs.values():
            if job.kind in CACHED:
                tidy(CACHED[job.kind](self.settings.cache, job.key))

    def is_done(self, job: Job) -> bool:
        return state_of(job, self.store, self.settings.cache) == "done"

    def sort(self) -> None:
        """Sort the jobs into done, blocked and to do, and find those that can start."""
        self.before = {key: self.store.failed_at(key) for key in self.store.listing().failed}
        for key, job in self.jobs.items():
            for need in job.needs:
                self.children.setdefault(need, []).append(key)
            if self.is_done(job):
                self.done.add(key)
            elif not job.unavailable:
                self.todo[key] = job
        for key, job in self.jobs.items():
            if job.unavailable and key not in self.done:
                self.block(key)
        for key in self.todo:
            self.consider(key)

    def attach(self) -> None:
        """Watch what a coordinator that no longer runs has left on the engine."""
        for attempt in self.engine.under_way(self.todo):
            if self.leases.acquire(attempt.job.key, token=attempt.token, patient=True):
                self.began(attempt)

    # --- who can start ----------------------------------------------------------------------------------------------

    def satisfied(self, need: str) -> bool:
        """Whether a job that needs this one may be handed to the engine."""
        if need in self.done or (self.engine.queues and need in self.running):
            return True
        return need not in self.jobs and self.store.state(need) == "done"

    def consider(self, key: str) -> None:
        """Make a job ready when all it needs is there."""
        if key in self.todo and key not in self.running and all(map(self.satisfied, self.todo[key].needs)):
            kind = self.todo[key].kind
            entry = (self.settings.order.get(key, 0.0), RANK.get(kind, 9), self.place[key], key)
            heapq.heappush(self.ready[kind if kind in self.ready else ""], entry)

    def release_all(self) -> None:
        """Release the leases of this run, except of what stays queued on an engine for another coordinator."""
        for key in list(self.leases.held):
            if key in self.running:
                if self.engine.token:
                    continue
                self.leases.held[key] = ""  # the process that runs it elsewhere releases its lease itself
            with contextlib.suppress(StorageError):
                self.leases.release(key)

    def exhausted(self) -> bool:
        """Whether no further job may start in this run."""
        most = self.settings.max_jobs
        return self.interrupted or (most is not None and self.starts >= most) or self.overspent()

    def overspent(self) -> bool:
        """Whether the spending limit is reached."""
        limit, now = self.settings.budget_s, time.monotonic()
        if limit is None:
            return False
        running = [one for one in self.running.values() if not one.queued]
        spent = sum((now - one.since) * self.settings.cost(one.attempt.job) for one in running)
        return self.outcome.spent_s + spent >= limit

    # --- the loop ---------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        while True:
            if not self.interrupted and self.settings.stopping():
                self.interrupted = True
                self.engine.interrupt()
            self.hand_over()
            if self.overspent() and any(one.queued for one in self.running.values()):
                self.engine.take_back()
            if self.running:
                for ending in self.engine.wait(TICK_S):
                    self.end(ending)
            elif self.exhausted() or not (self.elsewhere or any(self.ready.values())) or self.waited_enough():
                break
            else:  # another coordinator runs what is left, or the engine has no room yet
                time.sleep(TICK_S)
            self.look_elsewhere()
            self.tick()
        self.outcome.left += list(self.todo)

    def waited_enough(self) -> bool:
        """Whether nothing has run here for longer than this run waits for others."""
        patience = self.settings.patience_s
        return patience is not None and time.monotonic() - self.idle_since > patience

    def hand_over(self) -> None:
        """Give the engine what it has room for."""
        batch: list[Attempt] = []
        for kind, ready in self.ready.items():
            room = (self.engine.room(kind) if kind else self.engine.room()) if ready else 0
            while ready and room and not self.exhausted():
                *_, key = heapq.heappop(ready)
                if key in self.todo and key not in self.running and (attempt := self.leased(key)):
                    batch.append(attempt)
                    room -= 1
                    self.starts += 1
                    self.began(attempt)
        try:
            if batch:
                self.engine.start(batch)
        except UserError as error:  # stop tracking rejected attempts
            taken = error.taken if isinstance(error, Refused) else frozenset()
            for key in {attempt.job.key for attempt in batch} - taken:
                self.running.pop(key)
            raise

    def leased(self, key: str) -> Attempt | None:
        """The next attempt at a job, once it is leased; None when another coordinator runs it or has finished it."""
        job, given = self.todo[key], self.settings.given.get(key)
        token = given.token if given else self.engine.token
        if not self.leases.acquire(key, token=token):
            self.elsewhere.add(key)
            return None
        self.elsewhere.discard(key)
        done, failed = self.is_done(job), self.store.failed_at(key) > self.before.get(key, 0)
        if done or failed:  # another coordinator has run it meanwhile
            self.leases.release(key)
            self.succeed(key) if done else self.give_up(key, (self.store.failure(key) or {}).get("category", "lost"))
            return None
        attempt = self.next.get(key) or Attempt(job=job, micro_batches=self.settings.micro_batches)
        return replace(attempt, token=token)

    def began(self, attempt: Attempt) -> None:
        key = attempt.job.key
        self.running[key] = _Running(attempt=attempt, since=time.monotonic(), queued=bool(self.engine.token))
        self.listener.started(attempt.job)
        if self.engine.queues:
            for child in self.children.get(key, ()):
                self.consider(child)

    def look_elsewhere(self) -> None:
        """Find out whether what another coordinator runs has ended."""
        if not self.elsewhere or time.monotonic() - self.looked < ELSEWHERE_S:
            return
        self.looked = time.monotonic()
        free = [key for key in self.elsewhere if self.leases.owner(key) is None or self.is_done(self.todo[key])]
        self.elsewhere -= set(free)
        if free and self.engine.token:  # the coordinator that watched them may have died, on another host
            self.attach()
        for key in free:
            self.consider(key)

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.renewed > RENEW_S:
            self.leases.renew()
            self.renewed = now
        if now - self.ticked >= TICK_S:
            self.ticked = now
            begun = {key: one.attempt.job for key, one in self.running.items() if not one.queued}
            shown = list(begun.values())[:SHOWN]
            waiting = Counter(job.kind for key, job in self.todo.items() if key not in begun)
            self.listener.tick({job.name: self.store.said(job.key) for job in shown}, waiting)

    # --- what follows from an ending --------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        key = ending.key
        if key not in self.running:  # of an attempt that another coordinator had taken over
            return
        run, now = self.running[key], time.monotonic()
        attempt, job, seconds = run.attempt, run.attempt.job, now - run.since
        if ending.category == "running":
            run.since, run.queued = now, False
            self.listener.started(job)
            return
        if ending.category == "queued":  # its time no longer counts, and its lease was released
            if not run.queued:
                self.outcome.spent_s += seconds * self.settings.cost(job)
            run.queued = True
            self.leases.acquire(key, token=attempt.token)
            return
        del self.running[key]
        self.idle_since = now
        if run.queued:  # too short to be seen running
            seconds = min(seconds, float((self.store.record(key) or {}).get("wall_s", 0.0)))
        self.outcome.spent_s += seconds * self.settings.cost(job)
        if ending.category == "storage":
            raise StorageError(ending.message)
        if ending.category == "ok" and not self.is_done(job):
            ending = Ending(key=key, category="crash", message="the job returned without publishing a result")
        if ending.category == "ok":
            self.leases.release(key)
            self.succeed(key)
        elif ending.category in ("waiting", "preempted"):
            self.put_back(attempt)
        elif following := self.retried(attempt, ending):
            self.put_back(following)
        else:
            self.fail(attempt, ending, seconds)
        if ending.category != "waiting":
            self.listener.ended(job, ending.category, seconds, ending.message)

    def retried(self, attempt: Attempt, ending: Ending) -> Attempt | None:
        """The attempt that follows a failed one; None where it cannot help."""
        if ending.recorded or comes_again(ending.category, ending.message):
            return None
        fitted = bool(self.store.said(ending.key).get("step"))
        return next_attempt(attempt, ending.category, retries=self.settings.retries, fitted=fitted)

    def put_back(self, attempt: Attempt) -> None:
        """Let a job run again, with this attempt."""
        job = attempt.job
        self.leases.release(job.key)
        self.next[job.key] = attempt
        if any(need in self.hopeless for need in job.needs):  # it was queued before what it needs had failed
            self.drop(job.key)
            self.block(job.key)
        else:
            self.consider(job.key)

    def succeed(self, key: str) -> None:
        """Count a job as done, and see who waited for it."""
        self.todo.pop(key)
        self.done.add(key)
        self.outcome.done.append(key)
        for child in self.children.get(key, ()):
            self.consider(child)

    def fail(self, attempt: Attempt, ending: Ending, seconds: float) -> None:
        """Record a failure that is not retried."""
        job = attempt.job
        if not ending.recorded:
            record = {
                "message": ending.message + refusal(attempt, ending.category),
                **provenance.scheduler(),
                **ending.facts,
                **attempt.facts,
                "wall_s": round(seconds, 3),
                "token": attempt.token,
            }
            self.store.fail(job.key, category=ending.category, record=record)
        self.leases.release(job.key)
        self.give_up(job.key, ending.category)

    def give_up(self, key: str, category: str) -> None:
        """Count a job as failed, and block what needs it."""
        self.outcome.failed[key] = category
        self.hopeless.add(key)
        self.todo.pop(key)
        self.block(key)

    def block(self, key: str) -> None:
        """Drop what needs this job, directly or not, and is not handed over: what is queued ends by itself."""
        waiting = list(self.children.get(key, ()))
        while waiting:
            child = waiting.pop()
            if child in self.todo and child not in self.running:
                self.drop(child)
                waiting += self.children.get(child, ())

    def drop(self, key: str) -> None:
        """Give up a job that cannot run."""
        self.todo.pop(key)
        self.elsewhere.discard(key)
        self.hopeless.add(key)
        self.outcome.blocked.append(key)
