"""States what an engine is: the place where jobs run, as the coordinator sees it.

Built in: `local`, `slurm`, `ray`, and `debug` in the command's own process. Other packages add theirs through the
entry-point group ``refers_bench.engines``: a factory ``(settings, execution) -> Engine``, where `execution` is what the
manifest says about running, as a mapping, with the section of the engine's own name (``options`` for engines of other
packages) completed from the user config file. The results store is the only channel of results: an engine reports when
an attempt is over, never what it found. Whatever an engine starts elsewhere runs `refers_bench.execution.task`;
``tests/contract/test_engines.py`` runs over all engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from refers_bench.errors import Problem, UserError
from refers_bench.plan.lock import Job
from refers_bench.store.context import JobContext
from refers_bench.store.leases import STALE_S

#: What a worker calls with a job and its context.
ENTRY = "refers_bench.jobs.entry:run"
#: Loaded once, before workers are forked: replacing a worker costs milliseconds, not the import of torch.
PRELOAD = ("refers_bench.execution.worker", "refers_bench.jobs.entry")
HEAVY = (
    "refers_bench.jobs.prepare",
    "refers_bench.jobs.finetune",
    "refers_bench.jobs.pretrain",
    "torch._dynamo",  # which the first step of an optimiser would load
)
#: Besides, where reports may be read: it takes as long as torch.
TEXT = ("transformers.models.bert.modeling_bert",)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one job at a time: a worker process, its device and its environment."""

    device: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A job as it is handed to an engine.

    Attributes:
        job: what to run.
        number: 1 for the first attempt of this run.
        micro_batches: that each of its batches is processed in.
        token: under which it is leased; whoever runs it elsewhere takes the lease over with it.
        after: the failure that led to more micro-batches than asked for; '' for none.
    """

    job: Job
    number: int = 1
    micro_batches: int = 1
    token: str = ""
    after: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What the record of a failure says about it."""
        return {"name": self.job.name, "kind": self.job.kind, "attempts": self.number}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Run options: how jobs run; nothing here changes a result.

    Attributes:
        results: results folder.
        cache: folder of prepared images.
        roots: data-root name -> path.
        plugins: files and folders of further plug-ins.
        slots: of this machine, one worker each.
        device: "auto", "cpu" or "cuda": as asked for, for engines that find their slots elsewhere.
        threads: torch threads of a worker.
        processes: that a preparation of images may use, at most; None for as many as the machine offers.
        arithmetic: of the CPU, see `refers_bench.store.context.JobContext`.
        compile: whether networks are compiled; see there.
        time_limit: seconds a job may take.
        retries: failure category -> further attempts in this run.
        micro_batches: that each batch is processed in from the start.
        given: attempts that another coordinator handed over to this process, by key: their leases are taken over, and
            the count of attempts continues.
        max_jobs: jobs to start at most; None for all.
        order: job key -> rank; among jobs that can start, the lower goes first. Empty for the order of their kinds.
        budget_s: spending limit in seconds of slots; once it is reached no new job starts. None for no limit.
        cost: slots that a job occupies, for the spending limit.
        patience_s: seconds to wait for jobs that another coordinator runs, once nothing runs here; None for as long as
            it takes.
        stopping: called now and then; once true no job starts and running ones are asked to save and end.
        cancel: called with a question for the user when the run is interrupted while jobs are queued or run elsewhere;
            returns whether they are to be cancelled.
        stale_s: seconds after which a lease of another host that is not renewed is taken over.
        entry: what a worker calls.
        preload: modules loaded before workers are forked.
    """

    results: Path
    cache: Path
    roots: Mapping[str, str] = field(default_factory=dict)
    plugins: Sequence[str] = ()
    slots: Sequence[Slot] = (Slot(device="cpu"),)
    device: str = "auto"
    threads: int = 1
    processes: int | None = None
    arithmetic: str = "native"
    compile: bool = False
    time_limit: float | None = None
    retries: Mapping[str, int] = field(default_factory=lambda: {"crash": 1, "lost": 2})
    micro_batches: int = 1
    given: Mapping[str, Attempt] = field(default_factory=dict)
    max_jobs: int | None = None
    order: Mapping[str, float] = field(default_factory=dict)
    budget_s: float | None = None
    cost: Callable[[Job], float] = lambda job: 1.0
    patience_s: float | None = None
    stopping: Callable[[], bool] = lambda: False
    cancel: Callable[[str], bool] = lambda question: False
    stale_s: float = STALE_S
    entry: str = ENTRY
    preload: Sequence[str] = (*PRELOAD, *HEAVY, *TEXT)

    def context(self, attempt: Attempt, device: str) -> JobContext:
        """What a recipe may use on a device, for one attempt."""
        return JobContext(
            results=self.results,
            cache=self.cache,
            roots=dict(self.roots),
            plugins=tuple(self.plugins),
            device=device,
            threads=self.threads,
            processes=self.processes,
            accumulate=attempt.micro_batches,
            after=attempt.after,
            arithmetic=self.arithmetic,
            compile=self.compile,
            attempt=attempt.number,
        )


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Attributes:
        key: of the job.
        category: one of `refers_bench.errors.CATEGORIES`; or "storage" (results cannot be written, which ends the
            run), "waiting" (it did not run, since what it needs is not done or another process runs it), or no ending:
            "running" (it has left the queue, and its time counts from now) or "queued" (it is back there).
        message: one line for people.
        facts: more for the record of a failure: traceback, exit status, host, the engine's own job id.
        recorded: whether the process that ran it has retried it where that helps and has recorded the failure.
    """

    key: str
    category: str
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False

    @classmethod
    def of(cls, key: str, said: Mapping[str, Any], **more: Any) -> Ending:
        """The ending whose category and message stand among other facts: a worker's answer, or a failure's record."""
        facts = {name: value for name, value in said.items() if name not in ("category", "message")}
        return cls(key=key, category=said["category"], message=said.get("message", ""), facts=facts, **more)


class Refused(UserError):
    """An engine rejects attempts, for a reason.

    Attributes:
        taken: keys of those that it has accepted nevertheless, before or with them.
    """

    def __init__(self, problems: Iterable[Problem], *, taken: frozenset[str]) -> None:
        super().__init__(problems)
        self.taken = taken


def processes_of(job: Job) -> int:
    """Over how many processes a job trains."""
    return int(job.spec["pretrain"]["processes"]) if job.kind == "pretrain" else 1


class Engine(Protocol):
    """A place where jobs run; one instance serves one run of the coordinator.

    An engine may inherit from this class: it then is one without a queue, whose jobs end with their coordinator.

    Attributes:
        name: as the user calls it.
        token: under which this engine's jobs are leased for the processes that run them; '' where the coordinator's
            own process and its children run them.
        queues: whether it takes jobs before those they need are done, and holds them back itself.
        apart: kinds of jobs that have places of their own beside those of all others.
        here: whether jobs run in the slots of this machine.
        in_command: whether they run in the command's own process, for a debugger: one at a time, none again, and no
            display is drawn meanwhile.
    """

    name: str
    token: str = ""
    queues: bool = False
    apart: Sequence[str] = ()
    here: bool = False
    in_command: bool = False

    def opened(self) -> AbstractContextManager[None]:
        """Everything the engine needs while it runs; left by an exception it stops what the coordinator started."""

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """Attempts at these jobs (by key) that a coordinator which no longer runs has left running or queued."""
        return ()

    def room(self, kind: str = "") -> int:
        """How many more attempts it takes now: in the places that all jobs share, or in those of a kind of `apart`."""

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Run these leased jobs as soon as it can; those they need come before them or were started earlier.

        Raises:
            Refused: it has accepted some of them only.
            UserError: it has accepted none of them.
        """

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Attempts that have ended since, after at most so many seconds."""

    def interrupt(self) -> None:
        """Ask what runs to save its state and end with "preempted"."""

    def take_back(self) -> None:
        """Make what still waits in its queue end with "waiting"; called again as long as there is any."""
        return


class Listener(Protocol):
    """Is notified of what happens."""

    def started(self, job: Job) -> None:
        """A job begins, or is queued."""

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        """A job ended with a category of `refers_bench.errors.CATEGORIES`."""

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """Progress of running jobs by name, and how many of each kind are waiting."""


@dataclass(kw_only=True)
class Outcome:
    """What became of the jobs asked for: their keys; of the failed ones with their categories."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    spent_s: float = 0.0
