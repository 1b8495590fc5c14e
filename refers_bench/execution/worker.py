"""Runs one job after another in a worker process that stays alive, and returns how each one ended."""

import bdb
import faulthandler
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing import util
from typing import Any

from refers_bench import plugins
from refers_bench.errors import StorageError
from refers_bench.execution.background import repeat
from refers_bench.execution.capture import captured
from refers_bench.execution.categories import EXHAUSTED, of_exception
from refers_bench.files import storage_errors
from refers_bench.jobs.interruption import SIGNALS
from refers_bench.machine import exit_with_parent
from refers_bench.store.context import JobContext
from refers_bench.store.job_logs import MARK
from refers_bench.store.results import ResultStore

#: Lines of a traceback kept in a failure's record.
TRACEBACK_LINES = 40


def limit_threads(threads: int) -> None:
    """Set what torch and its libraries read when they are loaded, in this process or in its children."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def initialise(environment: Mapping[str, str], stop: Any) -> None:
    """Set the slot's environment, and exit when the orchestrator no longer runs (it may have been killed).

    Args:
        environment: variables of this slot.
        stop: event that asks a running job to save its state and end: it gets SIGUSR2, once.
    """
    # Whatever else fails for want of memory, such as reading a job or returning how it ended, ends the process at once.
    util.Finalize(None, _leave_if_exhausted, exitpriority=100)
    exit_with_parent()
    for number in SIGNALS:  # ignored by the server that this process was forked from
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(environment)
    gc.freeze()  # what was loaded before the fork stays: collecting garbage before a job takes ms, not half a second
    faulthandler.enable()  # a segmentation fault leaves a traceback in the log of the job that runs

    def look() -> bool:
        if stop.is_set():
            os.kill(os.getpid(), signal.SIGUSR2)
        return bool(stop.is_set())

    repeat(look, 0.5)


def _leave_if_exhausted() -> None:
    """Called when the process ends, before it waits for threads: its exit status says what a message cannot."""
    error = sys.exception()
    if error is not None and of_exception(error) == "host_oom":
        os._exit(EXHAUSTED)


def work(entry: str, job: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Run one job, with what it prints in its log; a failure is returned, never raised: no exception is pickled."""
    path = ResultStore(context.results).log(job["key"])
    try:
        with storage_errors(path), captured(path) as log:
            started = time.monotonic()
            print(_line(f"start {job['name']} ({job['key']}), {_where(context)}"), file=log)
            ending = attempted(entry, job, context)
            for line in ending.get("traceback", ()):
                print(line, file=log)
            message = f": {ending['message']}" if "message" in ending else ""
            print(_line(f"end {ending['category']} after {time.monotonic() - started:.1f} s{message}"), file=log)
    except StorageError as error:  # of the log itself
        return {"category": "storage", "message": str(error)}
    except (MemoryError, RuntimeError) as error:  # of the log's threads, or of what describes the ending
        if of_exception(error) != "host_oom":
            raise
        return {"category": "host_oom", "message": f"{type(error).__name__}: {error}"[:2000]}
    return ending


def _line(text: str) -> str:
    return f"{MARK}{datetime.now(UTC).isoformat(timespec='seconds')} {text}"


def _where(context: JobContext) -> str:
    """Which attempt, and on what."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if context.device.startswith("cuda") else ""
    parts = f", batches in {context.accumulate} parts" if context.accumulate > 1 else ""
    return (
        f"attempt {context.attempt}{parts}, host {socket.gethostname()}, process {os.getpid()}, device {context.device}"
        f"{f' {gpus}' if gpus else ''}, threads {context.threads}"
    )


def attempted(entry: str, job: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Run one job; category of how it ended, with message and traceback where it failed.

    Raises:
        KeyboardInterrupt: the user has quit a debugger that the job had opened.
    """
    progress = ResultStore(context.results).progress(job["key"])
    try:
        with storage_errors(progress):
            progress.unlink(missing_ok=True)  # of an earlier attempt
        plugins.resolve(entry)(job, context)
    except StorageError as error:
        return {"category": "storage", "message": str(error)}
    except bdb.BdbQuit as error:
        raise KeyboardInterrupt from error
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the record holds every kind of failure
        tail = "".join(traceback.format_exception(error)).splitlines()[-TRACEBACK_LINES:]
        message = f"{type(error).__name__}: {error}"[:2000]
        return {"category": of_exception(error), "message": message, "traceback": tail}
    return {"category": "ok"}
