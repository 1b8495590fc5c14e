"""Does a job that waits in a queue stay leased, and does only the process that was sent for it take it over?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refers_bench.store.leases import Leases, process_start

KEY = "0123456789abcdef0123"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A live process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


def held_by(process: subprocess.Popen[bytes], leases: Leases, **more: object) -> Path:
    path = leases.folder / f"{KEY}.json"
    owner = {**leases.me, "pid": process.pid, "start": process_start(process.pid)}
    path.write_text(json.dumps({**owner, "token": "t", "queued": False, "engine": "slurm", **more}))
    return path


def test_a_queued_lease_is_taken_over_with_its_token_only(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    leases = Leases(tmp_path)
    held_by(other, leases, queued=True)
    assert not leases.acquire(KEY)
    assert not leases.acquire(KEY, token="another")
    assert leases.acquire(KEY, token="t")
    owner = leases.owner(KEY) or {}
    assert (owner["pid"], owner["token"], owner["queued"]) == (os.getpid(), "t", False)


def test_a_running_job_is_never_taken_over_even_with_its_token(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    leases = Leases(tmp_path)
    path = held_by(other, leases)
    assert not leases.acquire(KEY, token="t")
    # A coordinator that comes back counts it as its own to watch, and leaves it alone.
    assert leases.acquire(KEY, token="t", patient=True)
    assert json.loads(path.read_text())["pid"] == other.pid


def test_renewing_takes_nothing_from_a_live_process(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    """Whoever waits in the queue under the same token keeps the lease that it has taken over."""
    leases = Leases(tmp_path)
    assert leases.acquire(KEY, token="t")
    path = held_by(other, leases, queued=True)
    leases.renew()
    assert json.loads(path.read_text())["pid"] == other.pid


def test_only_the_owner_renews(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    leases = Leases(tmp_path)
    path = held_by(other, leases)
    assert leases.acquire(KEY, token="t", patient=True)
    os.utime(path, (0, 0))
    leases.renew()
    assert path.stat().st_mtime == 0, "a watcher keeps a lease alive whose process may be gone"
    mine = Leases(tmp_path, queued=True)
    other_key = KEY[::-1]
    assert mine.acquire(other_key, token="t")
    os.utime(mine.folder / f"{other_key}.json", (0, 0))
    mine.renew()
    assert time.time() - (mine.folder / f"{other_key}.json").stat().st_mtime < 60


def test_a_watcher_leases_again_what_nobody_runs_any_more(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    leases = Leases(tmp_path, queued=True)
    assert leases.acquire(KEY, token="t")
    path = held_by(other, leases)
    leases.renew()
    assert json.loads(path.read_text())["pid"] == other.pid
    path.unlink()
    leases.renew()
    owner = leases.owner(KEY) or {}
    assert (owner["pid"], owner["token"], owner["queued"]) == (os.getpid(), "t", True)


def test_a_watcher_gives_back_what_its_token_holds_and_nothing_else(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    leases = Leases(tmp_path)
    path = held_by(other, leases)
    assert leases.acquire(KEY, token="t", patient=True)
    held_by(other, leases, token="somebody else's")
    leases.release(KEY)
    assert path.is_file()
    assert leases.acquire(KEY, token="somebody else's", patient=True)
    leases.release(KEY)
    assert not path.is_file()
