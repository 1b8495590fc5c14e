"""Everything that a job prints ends in its log, in order, and nothing of another job does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import StorageError
from refers_bench.execution import capture, worker
from refers_bench.store import job_logs
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

KEY = "k" * 20


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


#: A process of its own: pytest puts streams and a place for warnings of its own before those of Python.
PROGRAM = """
import ctypes, logging, os, subprocess, sys, warnings
from pathlib import Path
from refers_bench.execution.capture import captured

early = logging.StreamHandler(sys.stderr)  # made before the job began, as libraries do when they are imported
library = logging.getLogger("a library")
library.addHandler(early)
library.propagate = False
print("before")
for name in sys.argv[1:]:
    with captured(Path(name)):
        print("printed")
        print("to standard error", file=sys.stderr)
        for _ in range(2):
            warnings.warn("of numbers", RuntimeWarning)
        logging.getLogger("mine").warning("a record")
        library.warning("through an early handler")
        os.write(1, b"to the descriptor\\n")
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        ctypes.CDLL(None).puts(b"of a C library")
        sys.__stdout__.write("to Python's own stream\\n")
    print("after")
"""


def test_prints_of_python_libraries_and_children(tmp_path: Path) -> None:
    paths = [tmp_path / "logs" / "a.txt", tmp_path / "logs" / "b.txt"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, paths)], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("before\nafter\nafter\n", "")
    for path in paths:
        found = path.read_text()
        for text in (
            "printed\n", "to standard error\n", "WARNING mine: a record\n", "through an early handler\n",
            "to the descriptor\n", "of a child\n", "of a C library\n", "to Python's own stream\n",
        ):  # fmt: skip
            assert found.count(text) == 1, text
        # Once in every job that meets it, though Python shows a warning of one place once a process.
        assert found.count("RuntimeWarning: of numbers") == 1


def test_streams_come_back_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (sys.stdout, sys.stderr, logging.getLogger().handlers[:])
    with pytest.raises(RuntimeError), capture.captured(tmp_path / "a"):
        raise RuntimeError
    assert (sys.stdout, sys.stderr, logging.getLogger().handlers[:]) == before
    os.write(2, b"outside")
    assert capfd.readouterr().err == "outside"


def test_a_log_that_cannot_be_written_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(capture.os, "open", refuse)
    with pytest.raises(StorageError, match="no space left on the device"), capture.captured(tmp_path / "a"):
        pass


def test_a_talkative_job_is_cut_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LOOK_S", 0.01)
    path = tmp_path / "a"
    with capture.captured(path):
        time.sleep(1.2)  # the watch may have been started by another test, with another pace
        for number in range(40_000):
            print(f"line {number:06d} {'x' * 50}")
        deadline = time.monotonic() + 10
        while path.stat().st_size > job_logs.MOST and time.monotonic() < deadline:
            time.sleep(0.05)
        assert path.stat().st_size <= job_logs.MOST, "cut while the job runs"
        print("the end")
    found = lines(path)
    assert found[0].startswith("line 000000 ")
    assert found[-1] == "the end"
    assert sum("bytes are left out here" in line for line in found) >= 1
    assert all(line.startswith(("line ", "== ", "the end")) for line in found), "cut between lines"


# --- a worker -------------------------------------------------------------------------------------------------------


def talk(job: Mapping[str, Any], context: JobContext) -> None:
    print("hello from", job["name"])
    if job["spec"].get("fail"):
        raise ValueError("it went wrong")
    store = ResultStore(context.results)
    with store.publish(job["key"]) as stage:
        (stage / "run.json").write_text("{}")


def payload(**spec: Any) -> dict[str, Any]:
    return {"key": KEY, "kind": "noop", "name": "a job", "needs": [], "spec": spec}


def test_a_worker_writes_attempts_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(worker.plugins, "resolve", lambda entry: talk)
    for attempt, device, fail in ((1, "cuda", True), (2, "cpu", False)):
        context = JobContext(results=tmp_path, cache=tmp_path, device=device, attempt=attempt)
        ending = worker.work("talk", payload(fail=fail), context)
        assert ending["category"] == ("crash" if fail else "ok")
    found = lines(ResultStore(tmp_path).log(KEY))
    marked = [line for line in found if line.startswith("== ")]
    assert f" start a job ({KEY}), attempt 1, host " in marked[0]
    assert f"process {os.getpid()}, device cuda 3, threads 1" in marked[0]
    assert marked[1].endswith("s: ValueError: it went wrong")
    assert " end crash after " in marked[1]
    assert "attempt 2" in marked[2]
    assert marked[2].endswith("device cpu, threads 1")
    assert " end ok after " in marked[3]
    assert found.count("hello from a job") == 2
    assert '    raise ValueError("it went wrong")' in found, "the traceback stands in the log"
    assert found.index('    raise ValueError("it went wrong")') < found.index(marked[1])


def test_a_full_disk_ends_as_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a job whose results can be written no more cannot be written either."""
    monkeypatch.setattr(worker.plugins, "resolve", lambda entry: talk)
    monkeypatch.setattr(ResultStore, "log", lambda self, key: Path("/dev/full"))
    ending = worker.work("talk", payload(), JobContext(results=tmp_path, cache=tmp_path))
    assert ending["category"] == "storage"
    assert "no space left on the device" in ending["message"]


def test_progress_of_an_attempt_before_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    store.progress(KEY).parent.mkdir(parents=True)
    store.progress(KEY).write_text('{"step": 5}')
    monkeypatch.setattr(worker.plugins, "resolve", lambda entry: talk)
    worker.work("talk", payload(fail=True), JobContext(results=tmp_path, cache=tmp_path))
    assert not store.progress(KEY).exists()
