"""How do jobs run on this machine: one worker process a slot, isolated, with a time limit?"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any

import pebble

from refers_bench.execution import coordinator, worker
from refers_bench.execution.categories import of_exit, oom_kill_count
from refers_bench.execution.engine import Attempt, Ending, Listener, Outcome, Settings
from refers_bench.plan.lock import Job
from refers_bench.store.claims import process_start
from refers_bench.store.context import JobContext


def execute(jobs: Sequence[Job], settings: Settings, listener: Listener) -> Outcome:
    """`refers_bench.execution.coordinator.execute` on this machine."""
    return coordinator.execute(jobs, LocalEngine(settings), settings, listener)


def engine(settings: Settings, execution: Mapping[str, Any]) -> LocalEngine:
    """The factory by which the engine is found; a manifest's slots are those of `settings`."""
    return LocalEngine(settings)


def _start_server() -> None:
    """Start the process that workers are forked from, deaf to what tells jobs to make room.

    A scheduler tells every process of a job; were this one to die of it, nobody could say how a worker ended.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers belong to the main thread
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in worker.TOLD}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@dataclass(frozen=True, kw_only=True)
class _Running:
    job: Job
    slot: int
    oom_kills: int


class LocalEngine:
    """Persistent workers forked from a process that has loaded torch; a worker that dies is replaced.

    Args:
        settings: `slots`, `threads`, `time_limit`, folders and roots are read.
    """

    name = "local"
    token = ""
    queues = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.free = list(range(len(settings.slots)))
        self.workers: list[Any] = []
        self.running: dict[Any, _Running] = {}
        self.context = multiprocessing.get_context("forkserver")
        self.stop = self.context.Event()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """One single-worker pool per slot, so that a slot keeps its device when its worker is replaced."""
        threads = str(self.settings.threads)
        # Read when torch is loaded in the server that workers are forked from.
        os.environ.update({"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"})
        self.context.set_forkserver_preload(list(self.settings.preload))
        _start_server()
        me = (os.getpid(), process_start(os.getpid()))
        self.workers = [
            pebble.ProcessPool(
                max_workers=1, context=self.context, initializer=worker.initialise,
                initargs=(*me, dict(slot.environment), self.stop),
            )
            for slot in self.settings.slots
        ]  # fmt: skip
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

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """None: workers end with their coordinator."""
        return ()

    def room(self) -> int:
        """Free slots."""
        return len(self.free)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """One job a free slot."""
        for attempt in attempts:
            self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        job, settings, slot = attempt.job, self.settings, self.free.pop(0)
        context = JobContext(
            results=settings.results, cache=settings.cache, roots=dict(settings.roots),
            device=settings.slots[slot].device, threads=settings.threads, accumulate=attempt.accumulate,
            after=attempt.after, arithmetic=settings.arithmetic, attempt=attempt.number,
        )  # fmt: skip
        payload = {"key": job.key, "kind": job.kind, "name": job.name, "needs": list(job.needs), "spec": dict(job.spec)}
        future = self.workers[slot].schedule(
            worker.work, args=(settings.entry, payload, context), timeout=settings.time_limit
        )
        self.running[future] = _Running(job=job, slot=slot, oom_kills=oom_kill_count())

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Of whatever ends first, and what has ended with it."""
        ended, _ = concurrent.futures.wait(self.running, seconds, concurrent.futures.FIRST_COMPLETED)
        endings = []
        for future in ended:
            run = self.running.pop(future)
            self.free.append(run.slot)
            endings.append(self._ending(run, future))
        return endings

    def _ending(self, run: _Running, future: Any) -> Ending:
        try:
            result: dict[str, Any] = future.result()
        except concurrent.futures.TimeoutError:
            limit = self.settings.time_limit
            return Ending(key=run.job.key, category="timeout", message=f"over its time limit of {limit:g} s")
        except pebble.ProcessExpired as error:
            return Ending(
                key=run.job.key,
                category=of_exit(error.exitcode, oom_kills=oom_kill_count() - run.oom_kills),
                message=f"worker died with exit status {error.exitcode}",
                facts={"exit_status": error.exitcode},
            )
        category, message = result.pop("category"), result.pop("message", "")
        return Ending(key=run.job.key, category=category, message=message, facts=result)

    def interrupt(self) -> None:
        """Workers look every half second; see `refers_bench.execution.worker`."""
        self.stop.set()

    def take_back(self) -> None:
        """Nothing waits here."""
