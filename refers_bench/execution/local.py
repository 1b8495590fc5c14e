"""Runs jobs on this machine: one worker process a slot, isolated, with a time limit."""

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
from refers_bench.execution.engine import Attempt, Ending, Listener, Outcome, Settings, Slot
from refers_bench.plan.lock import Job
from refers_bench.store.context import JobContext
from refers_bench.store.leases import process_start


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

    So is one whose job has crashed on a GPU: after an error of a kernel, every later call of CUDA in the same process
    fails. Images are prepared by a worker of its own, one data set after another in as many processes as the machine
    offers, and not in a slot: a GPU is not held by who does not use it.

    Args:
        settings: `slots`, `threads`, `time_limit`, folders and roots are read.
    """

    name = "local"
    token = ""
    queues = False
    #: Kinds of jobs that run beside the slots, in the last place.
    apart: Sequence[str] = ("prepare",)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The last one holds no GPU.
        self.slots = [*settings.slots, Slot(device="cpu", environment={"CUDA_VISIBLE_DEVICES": ""})]
        self.free = list(range(len(self.slots)))
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
        self.workers = [self._worker(slot) for slot in self.slots]
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

    def _worker(self, slot: Slot) -> Any:
        """A pool of one process, which begins with its first job."""
        me = (os.getpid(), process_start(os.getpid()))
        return pebble.ProcessPool(
            max_workers=1,
            context=self.context,
            initializer=worker.initialise,
            initargs=(*me, dict(slot.environment), self.stop),
        )

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """None: workers end with their coordinator."""
        return ()

    def _is_apart(self, place: int) -> bool:
        return place == len(self.settings.slots)

    def room(self, kind: str = "") -> int:
        """Free slots; for a kind of `apart` its own place, while that is free."""
        return sum(self._is_apart(place) == (kind in self.apart) for place in self.free)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """One job a free slot."""
        for attempt in attempts:
            self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        job, settings = attempt.job, self.settings
        slot = next(place for place in self.free if self._is_apart(place) == (job.kind in self.apart))
        self.free.remove(slot)
        context = JobContext(
            results=settings.results,
            cache=settings.cache,
            roots=dict(settings.roots),
            device=self.slots[slot].device,
            threads=settings.threads,
            processes=settings.processes,
            accumulate=attempt.accumulate,
            after=attempt.after,
            arithmetic=settings.arithmetic,
            attempt=attempt.number,
        )
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
            ending = self._ending(run, future)
            if ending.category == "crash" and self.slots[run.slot].device != "cpu":
                self._replace(run.slot)
            self.free.append(run.slot)
            endings.append(ending)
        return endings

    def _replace(self, slot: int) -> None:
        """A new process for a slot."""
        self.workers[slot].stop()
        self.workers[slot].join()
        self.workers[slot] = self._worker(self.slots[slot])

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
