"""A worker that has no memory left ends its job as `host_oom` within seconds, whatever fails for the want of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pebble
import pytest

from exhausted_jobs import ENTRY
from refers_bench.execution.engine import PRELOAD, Outcome, Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.execution.progress import PlainView
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore
from tiny_jobs import job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process (Linux)")
#: Seconds for jobs, far below their time limit.
WITHIN_S = 30.0


def ran(folder: Path, *jobs: Job, **how: Any) -> tuple[Outcome, float]:
    """What became of jobs on one slot, and the seconds that took once the server runs that forks workers."""
    settings = Settings(
        results=folder / "results", cache=folder / "cache", slots=[Slot(device="cpu")], device="cpu",
        preload=PRELOAD, retries={}, entry=ENTRY, time_limit=120.0, **how,
    )  # fmt: skip
    execute([job("before", kind="exhausted", how="")], settings, PlainView(1))
    since = time.monotonic()
    return execute(jobs, settings, PlainView(len(jobs))), time.monotonic() - since


@pytest.mark.parametrize("how", ["numpy", "torch", "thread", "library", "ending", "hung"])
def test_what_a_job_cannot_allocate_is_host_oom(tmp_path: Path, how: str) -> None:
    bad, good = job("bad", kind="exhausted", how=how), job("good", kind="exhausted", how="")
    outcome, seconds = ran(tmp_path, bad, good)
    failure = ResultStore(tmp_path / "results").failure(bad.key) or {}
    assert outcome.failed == {bad.key: "host_oom"}, failure
    assert outcome.done == [good.key] and seconds < WITHIN_S


def test_a_job_that_cannot_be_read_for_want_of_memory_is_host_oom(tmp_path: Path) -> None:
    first, large = (
        job("first", kind="exhausted", how="limit"),
        job("large", kind="exhausted", how="", text="x" * (90 << 20)),
    )
    outcome, seconds = ran(tmp_path, first, large)
    assert (outcome.done, outcome.failed) == ([first.key], {large.key: "host_oom"})
    assert seconds < WITHIN_S


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_pool_whose_threads_have_failed_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where this process has no memory to read how a job ended."""
    received = pebble.pool.process.WorkerManager.receive
    failed: list[str] = []

    def receive(self: Any, timeout: float) -> Any:
        message = received(self, timeout)
        if isinstance(message, pebble.pool.process.TaskResult) and failed == ["before"]:
            failed.append("first")
            raise MemoryError
        if isinstance(message, pebble.pool.process.TaskResult) and not failed:
            failed.append("before")
        return message

    monkeypatch.setattr(pebble.pool.process.WorkerManager, "receive", receive)
    first, second = job("first", kind="exhausted", how=""), job("second", kind="exhausted", how="")
    outcome, seconds = ran(tmp_path, first, second)
    assert (outcome.done, list(outcome.failed)) == ([second.key], [first.key])
    assert seconds < WITHIN_S
