"""What a worker does with a job: its log, how its ending is named, its environment, and when it leaves."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import DataError, Interrupted, NotFiniteLoss, StorageError
from refers_bench.execution import worker
from refers_bench.store.context import JobContext

JOB = {"key": "k" * 20, "kind": "noop", "name": "a job", "spec": {}}


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a recipe in this process; the ending, and the log with its times left out."""

    def run(recipe: Any, **how: Any) -> tuple[dict[str, Any], list[str]]:
        monkeypatch.setattr(worker, "recipe", recipe, raising=False)
        context = JobContext(results=tmp_path, cache=tmp_path, **how)
        ending = worker.work("refers_bench.execution.worker:recipe", JOB, context)
        log = (tmp_path / "logs" / f"{'k' * 20}.txt").read_text()
        (tmp_path / "logs" / f"{'k' * 20}.txt").unlink()
        return ending, re.sub(r"^== \S+ ", "== TIME ", log, flags=re.MULTILINE).splitlines()

    return run


def test_a_log_says_where_a_job_began_and_how_it_ended(ended: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def recipe(job: Any, context: JobContext) -> None:
        seen.append((job, context.device))
        print("from the job")

    ending, log = ended(recipe)
    here = f"host {socket.gethostname()}, process {os.getpid()}"
    assert (ending, seen) == ({"category": "ok"}, [(JOB, "cpu")])
    assert log == [
        f"== TIME start a job ({'k' * 20}), attempt 1, {here}, device cpu, threads 1",
        "from the job",
        "== TIME end ok after 0.0 s",
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    _, log = ended(recipe, attempt=2, accumulate=4, threads=3, device="cuda")
    assert log[0].partition("), ")[2] == f"attempt 2, batches in 4 parts, {here}, device cuda 3, threads 3"
    _, log = ended(recipe, threads=2)
    assert log[0].endswith("device cpu, threads 2"), "a GPU that a job does not use is not named"


@pytest.mark.parametrize(
    ("error", "category", "message"),
    [
        (NotFiniteLoss("loss"), "nan", "NotFiniteLoss: loss"),
        (DataError("image"), "data_error", "DataError: image"),
        (Interrupted("saved"), "preempted", "Interrupted: saved"),
        (MemoryError("2 GiB"), "host_oom", "MemoryError: 2 GiB"),
        (SystemExit(3), "crash", "SystemExit: 3"),
        (ValueError("x" * 3000), "crash", f"ValueError: {'x' * 1988}"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_a_job_raises_is_named_and_kept(ended: Any, error: BaseException, category: str, message: str) -> None:
    def recipe(job: Any, context: JobContext) -> None:
        def deeper(depth: int) -> None:
            if depth:
                deeper(depth - 1)
            raise error

        deeper(30)

    ending, log = ended(recipe)
    assert (ending["category"], ending["message"]) == (category, message)
    assert set(ending) == {"category", "message", "traceback"}
    assert len(ending["traceback"]) <= worker.TRACEBACK_LINES == 40
    assert ending["traceback"][-1].startswith(message.split(":")[0]) or message.split(":")[0] in ending["traceback"][-1]
    assert log[1:-1] == ending["traceback"]
    assert log[-1] == f"== TIME end {category} after 0.0 s: {message}"


def test_what_cannot_be_written_ends_the_run(ended: Any, tmp_path: Path) -> None:
    def recipe(job: Any, context: JobContext) -> None:
        raise StorageError("disk full")

    ending, _ = ended(recipe)
    assert ending == {"category": "storage", "message": "disk full"}


def test_progress_of_an_earlier_attempt_is_forgotten(ended: Any, tmp_path: Path) -> None:
    progress = tmp_path / "work" / ("k" * 20) / "progress.json"
    progress.parent.mkdir(parents=True)
    progress.write_text("{}")
    found: list[bool] = []
    ended(lambda job, context: found.append(progress.exists()))
    assert found == [False]


def forked(said: Path) -> int:
    """A worker of this process that is asked to make room, and notes for more than a second what it is told."""
    child = os.fork()
    if child == 0:
        try:
            stop = threading.Event()
            os.dup2(os.pipe()[0], 0)  # whose other end this process holds itself: it is not to leave
            worker.initialise({"A_VARIABLE": "of the slot"}, stop)
            told = [str([signal.getsignal(number) is signal.SIG_DFL for number in worker.SIGNALS])]
            signal.signal(signal.SIGUSR2, lambda *_: told.append("told"))
            stop.set()
            end = time.monotonic() + 1.3
            while time.monotonic() < end:
                time.sleep(0.05)
            said.write_text(" ".join([os.environ["A_VARIABLE"], *told]))
            os._exit(0)
        finally:
            os._exit(1)
    return child


def test_a_worker_is_told_once_to_make_room(tmp_path: Path) -> None:
    said = tmp_path / "said"
    child = forked(said)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert said.read_text() == "of the slot [True, True] told"
