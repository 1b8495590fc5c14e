"""What does a worker process do: stay alive over many jobs, and say how each one ended?"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from refers_bench import plugins
from refers_bench.errors import StorageError
from refers_bench.execution.categories import of_exception
from refers_bench.store.claims import process_start
from refers_bench.store.context import JobContext

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
    os.environ.update(environment)

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
    """Run one job; what went wrong is returned, never raised, so that nothing has to be pickled."""
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
