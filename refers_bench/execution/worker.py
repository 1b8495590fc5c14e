"""What does a worker process do: stay alive over many jobs, and say how each one ended?"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from refers_bench import plugins
from refers_bench.errors import StorageError
from refers_bench.execution.capture import captured
from refers_bench.execution.categories import of_exception
from refers_bench.files import storage_errors
from refers_bench.store.context import JobContext
from refers_bench.store.job_logs import MARK
from refers_bench.store.leases import process_start
from refers_bench.store.results import ResultStore

#: Signals by which a scheduler tells a job to make room.
TOLD = (signal.SIGTERM, signal.SIGUSR2)
#: Lines of a traceback kept in a failure's record.
TRACEBACK_LINES = 40


def initialise(orchestrator: int, started: str | None, environment: Mapping[str, str], stop: Any) -> None:
    """Set the slot's environment, and leave when the orchestrator is gone (it may have been killed).

    Args:
        orchestrator: its process number.
        started: start time of that process, which tells a recycled number apart.
        environment: variables of this slot.
        stop: event that asks a running job to save its state and end: it gets SIGUSR2, once.
    """
    for number in TOLD:  # ignored by the server that this process was forked from
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(environment)
    gc.freeze()  # what was loaded before the fork stays: collecting garbage before a job takes ms, not half a second
    faulthandler.enable()  # a segmentation fault says where, in the log of the job that runs

    def watch() -> None:
        asked = False
        while process_start(orchestrator) == started:
            if stop.is_set() and not asked:
                asked = True
                os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(0.5)
        os._exit(70)

    threading.Thread(target=watch, daemon=True, name="orchestrator watch").start()


def work(entry: str, job: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Run one job, with what it prints in its log; what went wrong is returned, never raised: nothing is pickled."""
    store = ResultStore(context.results)
    path = store.log(job["key"])
    try:
        with storage_errors(path), captured(path) as log:
            store.progress(job["key"]).unlink(missing_ok=True)  # of an attempt before this one
            started = time.monotonic()
            print(_line(f"start {job['name']} ({job['key']}), {_where(context)}"), file=log)
            ending = _ending(entry, job, context)
            for line in ending.get("traceback", ()):
                print(line, file=log)
            message = f": {ending['message']}" if "message" in ending else ""
            print(_line(f"end {ending['category']} after {time.monotonic() - started:.1f} s{message}"), file=log)
    except StorageError as error:  # of the log itself
        return {"category": "storage", "message": str(error)}
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


def _ending(entry: str, job: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Category of how the job ended, with message and traceback where it failed."""
    try:
        plugins.resolve(entry)(job, context)
    except StorageError as error:
        return {"category": "storage", "message": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the record holds every kind of failure
        tail = "".join(traceback.format_exception(error)).splitlines()[-TRACEBACK_LINES:]
        return {
            "category": of_exception(error),
            "message": f"{type(error).__name__}: {error}"[:2000],
            "traceback": tail,
        }
    return {"category": "ok"}
