"""Runs jobs on this machine: one worker process a slot, isolated, with a time limit."""

import concurrent.futures.process
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pebble

from refers_bench.execution import coordinator, worker
from refers_bench.execution.categories import of_exit, oom_kill_count
from refers_bench.execution.engine import Attempt, Ending, Engine, Listener, Outcome, Settings, Slot
from refers_bench.jobs.interruption import SIGNALS
from refers_bench.machine import main_hidden, safe_path, start_fork_server
from refers_bench.plan.lock import Job
from refers_bench.store import job_logs
from refers_bench.store.results import ResultStore

#: Lines of a log in which a library that ended the process may have said why.
LAST_LINES = 200


def execute(jobs: Sequence[Job], settings: Settings, listener: Listener) -> Outcome:
    """`refers_bench.execution.coordinator.execute` on this machine."""
    return coordinator.execute(jobs, LocalEngine(settings), settings, listener)


def _start_server(preload: Sequence[str]) -> None:
    """Start the process that workers are forked from, with a scheduler's signals ignored.

    A scheduler signals every process of a job; if this one died of it, nobody could find out how a worker ended.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers belong to the main thread
        start_fork_server(preload)
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        start_fork_server(preload)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Started:
    """Starts processes for a pool as a context of `multiprocessing` does, and keeps the last one."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.process: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def Process(self, **how: Any) -> Any:  # noqa: N802 - as it is called there
        self.process = self._context.Process(**how)
        return self.process


class LocalEngine(Engine):
    """Persistent workers forked from a process that has loaded torch; a worker that dies is replaced.

    So is one whose job has crashed on a GPU: after an error of a kernel, every later call of CUDA in the same process
    fails; and one whose job ran out of memory, which it may still hold. Images are prepared by a worker of its own, one
    data set after another in as many processes as the machine offers, and not in a slot: no GPU is held by a job that
    does not use it.

    Args:
        settings: `slots`, `threads`, `time_limit`, folders and roots are read.
        execution: not read: a manifest's slots are those of `settings`.
    """

    name = "local"
    here = True
    #: Kinds of jobs that run beside the slots, in the last place.
    apart = ("prepare",)

    def __init__(self, settings: Settings, execution: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.settings = settings
        #: The last one holds no GPU.
        self.slots = [*settings.slots, Slot(device="cpu", environment={"CUDA_VISIBLE_DEVICES": ""})]
        self.free = list(range(len(self.slots)))
        self.workers: list[Any] = []
        #: Future -> key of its job, its slot, and kills for memory before it began.
        self.running: dict[Any, tuple[str, int, int]] = {}
        self.context = multiprocessing.get_context("forkserver")
        with safe_path():  # starts a process, too
            self.stop = self.context.Event()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """One single-worker pool per slot, so that a slot keeps its device when its worker is replaced."""
        worker.limit_threads(self.settings.threads)
        _start_server(self.settings.preload)
        self.workers = [self._worker(slot) for slot in self.slots]
        try:
            with main_hidden():
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
        """A pool of one process, which starts with its first job."""
        context: Any = _Started(self.context)
        given = (dict(slot.environment), self.stop)
        pool: Any = pebble.ProcessPool(max_workers=1, context=context, initializer=worker.initialise, initargs=given)
        pool.started = context
        return pool

    def _replace_worker(self, place: int) -> None:
        self.workers[place].stop()
        self.workers[place].join()
        self.workers[place] = self._worker(self.slots[place])

    def _places(self, kind: str) -> list[int]:
        """Free slots for a kind of job."""
        beside = len(self.settings.slots)
        return [place for place in self.free if (place == beside) == (kind in self.apart)]

    def room(self, kind: str = "") -> int:
        """Free slots; for a kind of `apart` its own place, while that is free."""
        return len(self._places(kind))

    def start(self, attempts: Sequence[Attempt]) -> None:
        """One job a free slot."""
        for attempt in attempts:
            slot = self._places(attempt.job.kind)[0]
            self.free.remove(slot)
            sent = (self.settings.entry, vars(attempt.job), self.settings.context(attempt, self.slots[slot].device))
            future = self.workers[slot].schedule(worker.work, args=sent, timeout=self.settings.time_limit)
            self.running[future] = (attempt.job.key, slot, oom_kill_count())

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Of whatever ends first, and what has ended with it."""
        ended, _ = concurrent.futures.wait(self.running, seconds, concurrent.futures.FIRST_COMPLETED)
        unwatched = {future for future, (_, slot, _) in self.running.items() if not _watched(self.workers[slot])}
        endings = []
        for future in ended | unwatched:
            key, slot, oom_kills = self.running.pop(future)
            ending = self._ending(key, slot, future, oom_kills)
            spoilt = ("host_oom",) if self.slots[slot].device == "cpu" else ("host_oom", "crash")
            if ending.category in spoilt or future in unwatched or not self.workers[slot].active:
                self._replace_worker(slot)
            self.free.append(slot)
            endings.append(ending)
        return endings

    def _ending(self, key: str, slot: int, future: Any, oom_kills: int) -> Ending:
        try:
            return Ending.of(key, future.result(timeout=0))
        except concurrent.futures.TimeoutError:
            if not future.done():
                return Ending(key=key, category="crash", message="a thread that watches the worker has failed")
            limit = self.settings.time_limit
            return Ending(key=key, category="timeout", message=f"over its time limit of {limit:g} s")
        except pebble.ProcessExpired as error:
            status = error.exitcode
        except concurrent.futures.process.BrokenProcessPool:  # it died before it said that it has the job
            status = self.workers[slot].started.process.exitcode
        printed = "\n".join(_last_lines(ResultStore(self.settings.results).log(key)))
        category = of_exit(status, oom_kills=oom_kill_count() - oom_kills, printed=printed)
        message = f"worker died with exit status {status}"
        return Ending(key=key, category=category, message=message, facts={"exit_status": status})

    def interrupt(self) -> None:
        """Workers look every half second; see `refers_bench.execution.worker`."""
        self.stop.set()


def _watched(pool: Any) -> bool:
    """Whether all threads of a pool run: without them, nobody would notice how its worker ends."""
    return all(thread.is_alive() for thread in pool._loops)


def _last_lines(log: Path) -> list[str]:
    """What a worker that died had printed last, of this attempt."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = job_logs.tail(log, LAST_LINES)
    starts = [place for place, line in enumerate(lines) if line.startswith(job_logs.MARK)]
    return lines[starts[-1] :] if starts else lines


#: The factory by which the engine is found.
engine = LocalEngine
