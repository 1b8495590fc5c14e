"""Does a job that waits in a queue stay claimed, and does only the process that was sent for it take it over?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refers_bench.store.leases import Claims, process_start

KEY = "0123456789abcdef0123"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A live process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


def held_by(process: subprocess.Popen[bytes], claims: Claims, **more: object) -> Path:
    path = claims.folder / f"{KEY}.json"
    owner = {**claims.me, "pid": process.pid, "start": process_start(process.pid)}
    path.write_text(json.dumps({**owner, "token": "t", "queued": False, "engine": "slurm", **more}))
    return path


def test_a_queued_claim_is_taken_over_with_its_token_only(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    claims = Claims(tmp_path)
    held_by(other, claims, queued=True)
    assert not claims.acquire(KEY)
    assert not claims.acquire(KEY, token="another")
    assert claims.acquire(KEY, token="t")
    owner = claims.owner(KEY) or {}
    assert (owner["pid"], owner["token"], owner["queued"]) == (os.getpid(), "t", False)


def test_a_running_job_is_never_taken_over_even_with_its_token(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    claims = Claims(tmp_path)
    path = held_by(other, claims)
    assert not claims.acquire(KEY, token="t")
    # A coordinator that comes back counts it as its own to watch, and leaves it alone.
    assert claims.acquire(KEY, token="t", patient=True)
    assert json.loads(path.read_text())["pid"] == other.pid


def test_renewing_takes_nothing_from_a_live_process(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    """Whoever waits in the queue under the same token keeps the claim that it has taken over."""
    claims = Claims(tmp_path)
    assert claims.acquire(KEY, token="t")
    path = held_by(other, claims, queued=True)
    claims.renew()
    assert json.loads(path.read_text())["pid"] == other.pid


def test_only_the_owner_renews(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    claims = Claims(tmp_path)
    path = held_by(other, claims)
    assert claims.acquire(KEY, token="t", patient=True)
    os.utime(path, (0, 0))
    claims.renew()
    assert path.stat().st_mtime == 0, "a watcher keeps a claim alive whose process may be gone"
    mine = Claims(tmp_path, queued=True)
    other_key = KEY[::-1]
    assert mine.acquire(other_key, token="t")
    os.utime(mine.folder / f"{other_key}.json", (0, 0))
    mine.renew()
    assert time.time() - (mine.folder / f"{other_key}.json").stat().st_mtime < 60


def test_a_watcher_claims_again_what_nobody_runs_any_more(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    claims = Claims(tmp_path, queued=True)
    assert claims.acquire(KEY, token="t")
    path = held_by(other, claims)
    claims.renew()
    assert json.loads(path.read_text())["pid"] == other.pid
    path.unlink()
    claims.renew()
    owner = claims.owner(KEY) or {}
    assert (owner["pid"], owner["token"], owner["queued"]) == (os.getpid(), "t", True)


def test_a_watcher_gives_back_what_its_token_holds_and_nothing_else(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    claims = Claims(tmp_path)
    path = held_by(other, claims)
    assert claims.acquire(KEY, token="t", patient=True)
    held_by(other, claims, token="somebody else's")
    claims.release(KEY)
    assert path.is_file()
    assert claims.acquire(KEY, token="somebody else's", patient=True)
    claims.release(KEY)
    assert not path.is_file()
