"""Decides which job goes next and what follows from how it ended: needs, claims, retries, failures, budget."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from refers_bench.errors import StorageError, UserError
from refers_bench.execution.engine import Attempt, Ending, Engine, Listener, Outcome, Refused, Settings
from refers_bench.execution.retry import next_attempt, refusal
from refers_bench.files import tidy
from refers_bench.plan.lock import Job
from refers_bench.plan.states import state_of
from refers_bench.store import provenance
from refers_bench.store.context import prepared_folder
from refers_bench.store.leases import RENEW_S, Leases
from refers_bench.store.results import ResultStore

#: Order in which ready jobs start: what others wait for comes first.
RANK = {"prepare": 0, "discover": 1, "pretrain": 2, "finetune": 3}
TICK_S = 0.25
#: Seconds between looks at jobs that somebody else runs.
ELSEWHERE_S = 1.0
#: Running jobs whose progress is read for a view.
SHOWN = 32


def execute(jobs: Sequence[Job], engine: Engine, settings: Settings, listener: Listener) -> Outcome:
    """Run what is not done, in the order of their needs; failures are recorded and the rest goes on.

    Args:
        jobs: needed ones before those that need them; unavailable ones are not run. A need that is not among them
            counts when the store has it.
        engine: where they run.
        settings: see `Settings`.
        listener: told what happens.

    Raises:
        StorageError: results or cache cannot be written; finished results stay, running jobs are stopped.
    """
    run = _Run(jobs, engine, settings, listener)
    run.clean()
    run.look()
    if not run.todo:
        return run.outcome
    try:
        with engine.opened():
            run.attach()
            run.loop()
    finally:
        run.let_go()
    return run.outcome


class _Run:
    """One call of `execute`."""

    def __init__(self, jobs: Sequence[Job], engine: Engine, settings: Settings, listener: Listener) -> None:
        self.engine, self.settings, self.listener = engine, settings, listener
        self.store = ResultStore(settings.results)
        self.claims = Leases(settings.results, stale_s=settings.stale_s, engine=engine.name, queued=bool(engine.token))
        self.jobs = {job.key: job for job in jobs}
        self.place = {key: number for number, key in enumerate(self.jobs)}
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        #: Neither done nor failed, running or not.
        self.todo: dict[str, Job] = {}
        #: Kinds with places apart (engines of other packages may name none), and '' -> heap of what can start.
        self.ready: dict[str, list[Any]] = {kind: [] for kind in (*getattr(engine, "apart", ()), "")}
        self.running: dict[str, tuple[Attempt, float]] = {}
        #: Those of them that wait in the engine's queue, as far as it has told.
        self.queued: set[str] = set()
        #: Claimed by somebody else when it was this run's turn.
        self.elsewhere: set[str] = set()
        #: When failures that stood there before were recorded.
        self.before: dict[str, int] = {}
        self.children: dict[str, list[str]] = {}
        self.attempts = Counter({key: attempt.number - 1 for key, attempt in settings.given.items()})
        self.parts = {key: attempt.accumulate for key, attempt in settings.given.items()}
        #: Which failure made a job's batches smaller.
        self.smaller = {key: attempt.after for key, attempt in settings.given.items()}
        self.left: Counter[str] = Counter()
        self.starts, self.interrupted = 0, False
        self.renewed = self.looked = self.ticked = self.idle_since = time.monotonic()
        self.outcome = Outcome()

    # --- what there is ----------------------------------------------------------------------------------------------

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
        for key in [key for key, job in self.jobs.items() if job.kind == "prepare"]:
            tidy(prepared_folder(self.settings.cache, key))

    def is_done(self, job: Job) -> bool:
        return state_of(job, self.store, self.settings.cache) == "done"

    def look(self) -> None:
        """Sort the jobs into done, blocked and to do, and find those that can start."""
        self.before = {key: self.store.failed_at(key) for key in self.store.listing().failed}
        for job in self.jobs.values():
            for need in job.needs:
                self.children.setdefault(need, []).append(job.key)
        for key, job in self.jobs.items():
            if self.is_done(job):
                self.done.add(key)
            elif not job.unavailable:
                self.todo[key] = job
                self.left[job.kind] += 1
        for key, job in self.jobs.items():
            if job.unavailable and key not in self.done:
                self.block(key)
        for key in self.todo:
            self.consider(key)

    def attach(self) -> None:
        """Go on watching what a coordinator that is gone has left running on the engine."""
        for attempt in self.engine.under_way(self.todo):
            key = attempt.job.key
            if self.claims.acquire(key, token=attempt.token, patient=True):
                self.attempts[key], self.parts[key] = attempt.number, attempt.accumulate
                self.smaller[key] = attempt.after
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

    def let_go(self) -> None:
        """Give back what this run claimed; not what stays queued on an engine, for whoever goes on watching it."""
        for key in list(self.claims.held):
            if key in self.running:
                if self.engine.token:
                    continue
                self.claims.held[key] = ""  # whoever runs it elsewhere still gives its claim back itself
            with contextlib.suppress(StorageError):
                self.claims.release(key)

    def exhausted(self) -> bool:
        """Whether no further job may start in this run."""
        most = self.settings.max_jobs
        return self.interrupted or (most is not None and self.starts >= most) or self.overspent()

    def overspent(self) -> bool:
        """Whether the budget is spent."""
        return self.settings.budget_s is not None and self.spent() >= self.settings.budget_s

    def spent(self) -> float:
        """Seconds of slots that this run has used."""
        now = time.monotonic()
        return self.outcome.spent_s + sum(
            (now - since) * self.settings.cost(attempt.job)
            for key, (attempt, since) in self.running.items()
            if key not in self.queued
        )

    # --- the loop ---------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        while True:
            if not self.interrupted and self.settings.stopping():
                self.interrupted = True
                self.engine.interrupt()
            self.hand_over()
            if self.queued and self.overspent():
                self.engine.take_back()
            if self.running:
                for ending in self.engine.wait(TICK_S):
                    self.end(ending)
            elif self.exhausted() or not (self.elsewhere or any(self.ready.values())) or self.waited_enough():
                break
            else:  # somebody else runs what is left, or the engine has no room yet
                time.sleep(TICK_S)
            self.look_elsewhere()
            self.tick()
        self.outcome.left += list(self.todo)

    def waited_enough(self) -> bool:
        """Whether nothing has run here for longer than this run is willing to wait for others."""
        patience = self.settings.patience_s
        return patience is not None and time.monotonic() - self.idle_since > patience

    def hand_over(self) -> None:
        """Give the engine what it has room for."""
        batch: list[Attempt] = []
        for kind, ready in self.ready.items():
            room = (self.engine.room(kind) if kind else self.engine.room()) if ready else 0
            while ready and room and not self.exhausted():
                *_, key = heapq.heappop(ready)
                if key in self.todo and key not in self.running and (attempt := self.claimed(key)):
                    batch.append(attempt)
                    room -= 1
                    self.starts += 1
                    self.began(attempt)
        try:
            if batch:
                self.engine.start(batch)
        except UserError as error:  # what was refused is nobody's to watch
            taken = error.taken if isinstance(error, Refused) else frozenset()
            for key in {attempt.job.key for attempt in batch} - taken:
                self.running.pop(key)
            raise

    def claimed(self, key: str) -> Attempt | None:
        """Claim a job; None when somebody else is at it or has finished it."""
        job, given = self.todo[key], self.settings.given.get(key)
        token = given.token if given else self.engine.token
        if not self.claims.acquire(key, token=token):
            self.elsewhere.add(key)
            return None
        self.elsewhere.discard(key)
        done, failed = self.is_done(job), self.store.failed_at(key) > self.before.get(key, 0)
        if done or failed:  # somebody else has run it, meanwhile
            self.claims.release(key)
            self.left[job.kind] -= 1
            self.succeed(key) if done else self.give_up(key, (self.store.failure(key) or {}).get("category", "lost"))
            return None
        self.attempts[key] += 1
        parts, after = self.parts.setdefault(key, self.settings.accumulate), self.smaller.get(key, "")
        return Attempt(job=job, number=self.attempts[key], accumulate=parts, token=token, after=after)

    def began(self, attempt: Attempt) -> None:
        key = attempt.job.key
        self.running[key] = (attempt, time.monotonic())
        self.left[attempt.job.kind] -= 1
        self.listener.started(attempt.job)
        if self.engine.token:
            self.queued.add(key)
        if self.engine.queues:
            for child in self.children.get(key, ()):
                self.consider(child)

    def look_elsewhere(self) -> None:
        """Whether what somebody else runs has ended."""
        if not self.elsewhere or time.monotonic() - self.looked < ELSEWHERE_S:
            return
        self.looked = time.monotonic()
        free = [key for key in self.elsewhere if self.claims.owner(key) is None or self.is_done(self.todo[key])]
        self.elsewhere -= set(free)
        if free and self.engine.token:  # whoever watched them may have died, on another host
            self.attach()
        for key in free:
            self.consider(key)

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.renewed > RENEW_S:
            self.claims.renew()
            self.renewed = now
        if now - self.ticked >= TICK_S:
            self.ticked = now
            begun = (attempt.job for key, (attempt, _) in self.running.items() if key not in self.queued)
            running = {job.name: self.store.said(job.key) for job in itertools.islice(begun, SHOWN)}
            waiting = self.left + Counter(self.jobs[key].kind for key in self.queued)
            self.listener.tick(running, {kind: count for kind, count in waiting.items() if count})

    # --- what follows from an ending --------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        if ending.key not in self.running:  # of an attempt that somebody else had taken over
            return
        if ending.category == "running":
            self.running[ending.key] = (self.running[ending.key][0], time.monotonic())
            self.queued.discard(ending.key)
            self.listener.started(self.jobs[ending.key])
            return
        if ending.category == "queued":
            self.back(ending.key)
            return
        attempt, since = self.running.pop(ending.key)
        self.idle_since = time.monotonic()
        job, seconds = attempt.job, self.idle_since - since
        if job.key in self.queued:  # too short to be seen running
            self.queued.discard(job.key)
            seconds = min(seconds, float((self.store.record(job.key) or {}).get("wall_s", 0.0)))
        self.outcome.spent_s += seconds * self.settings.cost(job)
        if ending.category == "storage":
            raise StorageError(ending.message)
        if ending.category == "ok" and not self.is_done(job):
            ending = Ending(key=job.key, category="crash", message="the job returned without publishing a result")
        if ending.category == "ok":
            self.claims.release(job.key)
            self.succeed(job.key)
        elif ending.category in ("waiting", "preempted"):
            self.again(attempt, counts=False)
        elif not ending.recorded and self.retry(attempt, ending.category):
            self.again(attempt, counts=True)
        else:
            self.fail(attempt, ending, seconds)
        if ending.category != "waiting":
            self.listener.ended(job, ending.category, seconds, ending.message)

    def back(self, key: str) -> None:
        """A job waits in the queue again: its time counts no more, and whoever ran it has given its claim back."""
        attempt, since = self.running[key]
        if key not in self.queued:
            self.outcome.spent_s += (time.monotonic() - since) * self.settings.cost(attempt.job)
        self.queued.add(key)
        self.claims.acquire(key, token=attempt.token)

    def retry(self, attempt: Attempt, category: str) -> bool:
        """Whether another attempt may help; sets in how many parts it processes its batches."""
        job = attempt.job
        parts = next_attempt(
            job.spec,
            category,
            number=attempt.number,
            accumulate=attempt.accumulate,
            retries=self.settings.retries,
            fitted=bool(self.store.said(job.key).get("step")),
        )
        if parts is None:
            return False
        if parts != attempt.accumulate:
            self.smaller[job.key] = category
        self.parts[job.key] = parts
        return True

    def again(self, attempt: Attempt, *, counts: bool) -> None:
        """Put a job back."""
        job = attempt.job
        self.claims.release(job.key)
        self.left[job.kind] += 1
        self.attempts[job.key] -= not counts
        if any(need in self.failed for need in job.needs):  # it was queued before what it needs had failed
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
        """Record a failure for good."""
        job, why = attempt.job, refusal(attempt.job.spec, ending.category, accumulate=attempt.accumulate)
        if not ending.recorded:
            self.store.fail(
                job.key,
                category=ending.category,
                record={
                    "message": ending.message + why,
                    **provenance.scheduler(),
                    **ending.facts,
                    "name": job.name,
                    "kind": job.kind,
                    "attempts": attempt.number,
                    "wall_s": round(seconds, 3),
                    "token": attempt.token,
                },
            )
        self.claims.release(job.key)
        self.give_up(job.key, ending.category)

    def give_up(self, key: str, category: str) -> None:
        """Count a job as failed, and block what needs it."""
        self.failed[key] = self.outcome.failed[key] = category
        self.todo.pop(key)
        self.block(key)

    def block(self, key: str) -> None:
        """Whatever needs this job, directly or not, cannot run; what is queued already finds out by itself."""
        waiting = list(self.children.get(key, ()))
        while waiting:
            child = waiting.pop()
            if child in self.todo and child not in self.running:
                self.drop(child)
                waiting += self.children.get(child, ())

    def drop(self, key: str) -> None:
        """Give up a job that cannot run."""
        self.left[self.todo.pop(key).kind] -= 1
        self.elsewhere.discard(key)
        self.failed[key] = "blocked"
        self.outcome.blocked.append(key)
