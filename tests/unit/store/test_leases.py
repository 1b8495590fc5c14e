"""Is a job held by one live process at a time, and is a dead one's lease taken over?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from refers_bench.files import publish_json
from refers_bench.store import leases
from refers_bench.store.leases import Leases, process_start

KEY = "0123456789abcdef0123"


def other_lease(results: Path, **who: object) -> None:
    leases = Leases(results)
    publish_json(leases.folder / f"{KEY}.json", {**leases.me, **who})


def test_one_owner(tmp_path: Path) -> None:
    mine, same_process = Leases(tmp_path), Leases(tmp_path)
    assert mine.acquire(KEY)
    assert {**(mine.owner(KEY) or {}), **mine.me} == mine.owner(KEY)
    assert same_process.acquire(KEY)  # a process does not block itself
    mine.release(KEY)
    assert mine.owner(KEY) is None


def test_a_live_process_keeps_its_lease(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        other_lease(tmp_path, pid=other.pid, start=process_start(other.pid))
        assert not Leases(tmp_path).acquire(KEY)
    finally:
        other.communicate(b"\n")
    assert Leases(tmp_path).acquire(KEY)


def test_a_recycled_process_number_is_not_the_owner(tmp_path: Path) -> None:
    other_lease(tmp_path, pid=os.getpid(), start="1")
    assert Leases(tmp_path).acquire(KEY)


@pytest.mark.parametrize(("age", "taken"), [(10, False), (200, True)])
def test_another_hosts_lease_is_taken_over_once_stale(tmp_path: Path, age: float, taken: bool) -> None:
    other_lease(tmp_path, host="elsewhere")
    path = tmp_path / "work" / "claims" / f"{KEY}.json"
    os.utime(path, (time.time() - age, time.time() - age))
    assert Leases(tmp_path, stale_s=120).acquire(KEY) is taken


def test_renewing_keeps_a_lease_fresh(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.acquire(KEY)
    path = leases.folder / f"{KEY}.json"
    os.utime(path, (0, 0))
    leases.renew()
    assert time.time() - path.stat().st_mtime < 60


def test_sweeping_removes_what_the_dead_left(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.acquire("a" * 20)
    other_lease(tmp_path, pid=os.getpid(), start="1")
    (leases.folder / ".x.json.1.part").write_text("{")
    leases.sweep()
    assert sorted(path.name for path in leases.folder.iterdir()) == [".lock", f"{'a' * 20}.json"]


def test_a_half_written_lease_is_none(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    (leases.folder / f"{KEY}.json").write_text('{"host"')
    assert leases.owner(KEY) is None


def test_of_many_who_ask_one_gets_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\nfrom refers_bench.store.leases import Leases\n"
        "input()\nprint(Leases(pathlib.Path(sys.argv[1])).acquire(sys.argv[2]), flush=True)\ninput()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), KEY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    answers: list[str] = []

    def ask(process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        answers.append(process.stdout.readline().strip())

    threads = [threading.Thread(target=ask, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.communicate("\n")
    assert sorted(answers) == ["False", "False", "False", "True"]


def test_a_dead_process_has_no_start() -> None:
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    assert process_start(done.pid) is None
    assert json.loads(process_start(os.getpid()) or "0") > 0


def test_without_proc_a_process_is_known_by_what_ps_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.setattr(leases, "PROC", tmp_path / "absent")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        start = process_start(other.pid)
        assert start and re.search(r"\d\d:\d\d:\d\d", start)
        assert process_start(other.pid) == start
        other.kill()
        deadline = time.monotonic() + 10
        while process_start(other.pid) is not None:  # dead, and not yet waited for
            assert time.monotonic() < deadline
    assert process_start(other.pid) is None
    mine = Leases(tmp_path)
    assert mine.acquire(KEY) and (mine.owner(KEY) or {})["start"] == process_start(os.getpid())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert process_start(os.getpid()) is None, "nothing is known where there is no ps either"


def test_a_lease_is_written_though_somebody_deletes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leases, deleted, written = Leases(tmp_path), [], Path.write_text

    def after_a_deletion(path: Path, *content: Any, **how: Any) -> int:
        if len(deleted) < 3:
            shutil.rmtree(tmp_path / "work")
            deleted.append(path)
        return written(path, *content, **how)

    monkeypatch.setattr(Path, "write_text", after_a_deletion)
    assert leases.acquire("a") and len(deleted) == 3
    owner = leases.owner("a")
    assert owner is not None and owner["pid"] == os.getpid()
