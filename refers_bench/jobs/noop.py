"""What does a job do that only proves that orchestration works: wait, publish, or fail in a stated way?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from refers_bench.errors import DataError, NotFiniteLoss
from refers_bench.jobs.record import Record
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Ways to fail that a specification may ask for under ``fail``.
FAILURES = ("memory", "nan", "data", "bug", "exit", "kill", "hang")


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Sleep ``spec["sleep"]`` seconds, then fail as ``spec["fail"]`` says, or publish a record.

    ``spec["fail_attempts"]`` (default: all) limits failing to the first attempts, counted in the work folder.
    """
    spec, store = job["spec"], ResultStore(context.results)
    record = Record.start(job, context)
    time.sleep(float(spec.get("sleep", 0)))
    if spec.get("fail") and _attempt(store, job["key"]) <= spec.get("fail_attempts", float("inf")):
        _fail(str(spec["fail"]))
    with store.publish(job["key"]) as stage:
        record.write(stage, facts={"echo": spec.get("echo")})


def _attempt(store: ResultStore, key: str) -> int:
    """1 for the first attempt, one more each time."""
    counter = store.work_folder(key) / "attempts"
    counter.parent.mkdir(parents=True, exist_ok=True)
    attempt = 1 + (int(counter.read_text()) if counter.exists() else 0)
    counter.write_text(str(attempt))
    return attempt


def _fail(how: str) -> None:
    match how:
        case "memory":
            raise MemoryError("asked for by the job")
        case "nan":
            raise NotFiniteLoss("asked for by the job")
        case "data":
            raise DataError("asked for by the job")
        case "exit":
            os._exit(13)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "bug":
            raise RuntimeError("asked for by the job")
        case _:
            raise ValueError(f"unknown failure {how!r}; allowed: {', '.join(FAILURES)}")
