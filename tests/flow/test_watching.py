"""Somebody at another terminal sees what runs, what it prints and how it ends."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from command_line import command_in
from refers_bench.cli import logs
from refers_bench.plan import lock
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.results import ResultStore
from tiny_jobs import job


class Reader:
    """A command of ours in the background, and what it has printed so far."""

    def __init__(self, results: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "refers_bench", "--results", str(results), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.out: list[str] = []
        self.err: list[str] = []
        self.threads = [
            threading.Thread(target=lines.extend, args=(stream,), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self.threads:
            thread.start()

    def wait(self) -> tuple[int, str, str]:
        """Exit status and what was printed."""
        try:
            code = self.process.wait(timeout=40)
        finally:
            self.process.kill()
        for thread in self.threads:
            thread.join()
        return code, "".join(self.out), "".join(self.err)


Follow = Callable[..., Reader]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Starts a `Reader`, which does not outlive the test."""
    readers: list[Reader] = []

    def started(results: Path, *arguments: str) -> Reader:
        readers.append(Reader(results, *arguments))
        return readers[-1]

    yield started
    for reader in readers:
        reader.process.kill()


def planned(results: Path, jobs: Sequence[Job]) -> None:
    lock.write(Plan(name="small", title="A small one", jobs=tuple(jobs)), results)


def until(what: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_logs_of_a_job_that_waits_runs_and_is_done(orchestrator: Any, follow: Follow, tmp_path: Path) -> None:
    jobs = [job("slow", sleep=2.5), job("other")]
    results, store = tmp_path / "results", ResultStore(tmp_path / "results")
    planned(results, jobs)
    code, out, err = command_in(results, "logs", "slow")
    assert (code, out, err) == (0, "", "no log: slow is to do\n")

    reader = follow(results, "logs", "slow", "-f")
    until(lambda: reader.err)
    running = orchestrator.start(jobs, workers=1)
    log = store.log(jobs[0].key)
    until(lambda: log.is_file() and log.stat().st_size)  # it is there before its first line
    code, out, _ = command_in(results, "logs", "sl*w")
    assert code == 0
    assert re.match(r"== \S+ start slow \(\w{20}\), attempt 1, host \S+, process \d+, device cpu, threads 1\n", out)
    assert " end " not in out
    running.communicate(timeout=90)

    code, out, err = reader.wait()
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.startswith("== ")] == ["start", "end"]
    said = err.splitlines()
    assert said[0] == "slow is to do"
    assert re.fullmatch(r"slow is run by process \d+ on \S+ \(local\)", said[1])
    assert said[-1] == "slow is done"
    assert command_in(results, "logs", jobs[0].key) == (0, out, "")


def test_logs_of_a_job_that_fails(
    orchestrator: Any, follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, killed = job("bug", fail="bug"), job("killed", fail="kill", sleep=0.5)
    child = job("child", bug)
    jobs, results = [bug, killed, child], tmp_path / "results"
    planned(results, jobs)
    reader = follow(results, "logs", "killed", "-f")
    until(lambda: reader.err)
    assert orchestrator.run(jobs)["failed"] == {"bug": "crash", "killed": "crash"}

    code, out, err = reader.wait()
    assert code == 4
    assert err.splitlines()[-1] == "killed failed (crash): worker died with exit status -9"
    starts = re.findall(r" start killed .* attempt (\d)", out)
    assert starts == ["1", "2"], "both attempts, and no end: nothing could write one"

    code, out, _ = command_in(results, "logs", "bug")
    assert code == 0
    assert out.count("RuntimeError: asked for by the job") == 4, "traceback and end of two attempts"
    assert out.splitlines()[-1].startswith("== ")
    code, out, _ = command_in(results, "logs", "bug", "--lines", "1")
    assert len(out.splitlines()) == 1
    monkeypatch.setattr(logs, "OVER_S", 0.2)  # another attempt is not waited for
    code, _, err = command_in(results, "logs", "bug", "-f")
    assert (code, err) == (4, "bug failed (crash): RuntimeError: asked for by the job\n")
    assert command_in(results, "logs", "child") == (0, "", "no log: child is to do\n")


def test_following_ends_when_the_orchestrator_is_killed(
    orchestrator: Any, follow: Follow, kill_all: Callable[..., list[int]], tmp_path: Path
) -> None:
    jobs, results = [job("endless", sleep=600)], tmp_path / "results"
    planned(results, jobs)
    running = orchestrator.start(jobs)
    reader = follow(results, "logs", "endless", "-f")
    until(lambda: any("is run by" in line for line in reader.err))
    assert kill_all(running) == []
    code, _, err = reader.wait()
    assert (code, err.splitlines()[-1]) == (3, "endless is to do")


def test_status_is_watched_to_the_end(orchestrator: Any, follow: Follow, tmp_path: Path) -> None:
    bad = job("bad", fail="data")
    jobs = [bad, job("child", bad), *(job(f"slow{i}", sleep=1.2) for i in range(4))]
    results = tmp_path / "results"
    planned(results, jobs)
    reader = follow(results, "status", "--watch", "0.3")
    until(lambda: any("nobody runs it" in line for line in reader.out))
    running = orchestrator.start(jobs, workers=1)
    code, out, err = reader.wait()
    running.communicate(timeout=90)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.match(r"\d\d:\d\d:\d\d small: 0 of 6 done, 6 to do, nobody runs it", lines[0])
    assert any(re.match(r"  slow\d: .*, local, process \d+", line) for line in lines), out
    assert any("1 failed" in line and "1 running" in line for line in lines), out
    assert not any("1 running" in line and "nobody runs it" in line for line in lines), out
    # What cannot come any more is not waited for; the counts stand at the end.
    assert re.search(r"noop +4 +0 +1 +1 +0$", out)


def test_status_on_a_terminal(orchestrator: Any, tmp_path: Path) -> None:
    jobs, results = [job("[red]only", sleep=1.5)], tmp_path / "results"
    planned(results, jobs)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "refers_bench", "--results", str(results), "status", "--watch", "0.3"]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    watching = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment)
    os.close(slave)
    printed = os.read(master, 4096)  # it watches
    running = orchestrator.start(jobs)
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        printed += part
    os.close(master)
    assert watching.wait(timeout=60) == 0
    running.communicate(timeout=60)
    text = printed.decode()
    assert "Ctrl-C ends this" in text
    assert "[red]only" in text, "names are text, not markup"
    assert "\x1b[" in text
    assert re.search(r"noop +1 +0 +0 +0 +0", text)


@pytest.mark.parametrize("arguments", [["logs", "x"], ["logs", "x", "-f"]])
def test_logs_of_nothing(tmp_path: Path, arguments: list[str]) -> None:
    code, _, err = command_in(tmp_path, *arguments)
    assert code == 2
    assert ": no planned job is called 'x'; allowed: a name, pattern or key that " in err
