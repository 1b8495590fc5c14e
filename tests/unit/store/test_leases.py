"""Is a job held by one live process at a time, and is a dead one's claim taken over?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from refers_bench.files import publish_json
from refers_bench.store.leases import Claims, process_start

KEY = "0123456789abcdef0123"


def other_claim(results: Path, **who: object) -> None:
    claims = Claims(results)
    publish_json(claims.folder / f"{KEY}.json", {**claims.me, **who})


def test_one_owner(tmp_path: Path) -> None:
    mine, same_process = Claims(tmp_path), Claims(tmp_path)
    assert mine.acquire(KEY)
    assert {**(mine.owner(KEY) or {}), **mine.me} == mine.owner(KEY)
    assert same_process.acquire(KEY)  # a process does not block itself
    mine.release(KEY)
    assert mine.owner(KEY) is None


def test_a_live_process_keeps_its_claim(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        other_claim(tmp_path, pid=other.pid, start=process_start(other.pid))
        assert not Claims(tmp_path).acquire(KEY)
    finally:
        other.communicate(b"\n")
    assert Claims(tmp_path).acquire(KEY)


def test_a_recycled_process_number_is_not_the_owner(tmp_path: Path) -> None:
    other_claim(tmp_path, pid=os.getpid(), start="1")
    assert Claims(tmp_path).acquire(KEY)


@pytest.mark.parametrize(("age", "taken"), [(10, False), (200, True)])
def test_another_hosts_claim_is_taken_over_once_stale(tmp_path: Path, age: float, taken: bool) -> None:
    other_claim(tmp_path, host="elsewhere")
    path = tmp_path / "work" / "claims" / f"{KEY}.json"
    os.utime(path, (time.time() - age, time.time() - age))
    assert Claims(tmp_path, stale_s=120).acquire(KEY) is taken


def test_renewing_keeps_a_claim_fresh(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.acquire(KEY)
    path = claims.folder / f"{KEY}.json"
    os.utime(path, (0, 0))
    claims.renew()
    assert time.time() - path.stat().st_mtime < 60


def test_sweeping_removes_what_the_dead_left(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.acquire("a" * 20)
    other_claim(tmp_path, pid=os.getpid(), start="1")
    (claims.folder / ".x.json.1.part").write_text("{")
    claims.sweep()
    assert sorted(path.name for path in claims.folder.iterdir()) == [".lock", f"{'a' * 20}.json"]


def test_a_half_written_claim_is_none(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    (claims.folder / f"{KEY}.json").write_text('{"host"')
    assert claims.owner(KEY) is None


def test_of_many_who_ask_one_gets_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\nfrom refers_bench.store.leases import Claims\n"
        "input()\nprint(Claims(pathlib.Path(sys.argv[1])).acquire(sys.argv[2]), flush=True)\ninput()"
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
