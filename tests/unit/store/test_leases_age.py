"""A claim lives as long as it is renewed: by whom, for how long, and under which token another process takes it over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import StorageError
from refers_bench.store import leases as module
from refers_bench.store.leases import Claims, process_start

KEY, OTHER = "0123456789abcdef0123", "abcdef01234567890123"


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path)


@pytest.fixture
def alive() -> Iterator[int]:
    """Number of a live process that is not this one."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def gone() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def path_of(claims: Claims, key: str = KEY) -> Path:
    return claims.folder / f"{key}.json"


def written(claims: Claims, *, key: str = KEY, age: float = 0.0, **who: Any) -> Path:
    """A claim as another process would have written it."""
    path = path_of(claims, key)
    path.write_text(json.dumps({**claims.me, "token": "", "queued": False, "engine": "local", **who}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_claim_says_who_holds_it(tmp_path: Path) -> None:
    mine = Claims(tmp_path, engine="slurm", queued=True)
    assert mine.acquire(KEY, token="t")
    assert json.loads((tmp_path / "work" / "claims" / f"{KEY}.json").read_text()) == {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19],
        "token": "t",
        "queued": True,
        "engine": "slurm",
    }
    assert mine.held == {KEY: "t"}
    plain = Claims(tmp_path)
    assert plain.acquire(OTHER)
    said = json.loads(path_of(plain, OTHER).read_text())
    assert (said["token"], said["queued"], said["engine"]) == ("", False, "local")


@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (90.0, True), (150.0, False)])
def test_another_host_is_alive_as_long_as_it_renews(claims: Claims, age: float, alive: bool) -> None:
    """Two minutes without a renewal, whatever its process number means here; a few of 20 s each may be late."""
    written(claims, age=age, host="elsewhere", pid=gone(), start="1")
    assert (claims.owner(KEY) is not None) == alive
    assert claims.acquire(KEY) is not alive
    assert module.STALE_S >= 5 * module.RENEW_S


def test_of_this_host_the_age_says_nothing(claims: Claims, alive: int) -> None:
    written(claims, age=1e6, pid=alive, start=process_start(alive))
    assert not claims.acquire(KEY)
    written(claims, pid=gone(), start="1")
    assert claims.acquire(KEY)


def test_a_process_that_has_ended_and_that_nobody_has_waited_for_is_gone(claims: Claims) -> None:
    process = subprocess.Popen(["true"])
    try:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.005)
        assert process_start(process.pid) is None
        written(claims, pid=process.pid, start=start)
        assert claims.acquire(KEY)
    finally:
        process.wait()


@pytest.mark.parametrize("action", ["acquire", "release", "sweep"])
def test_whoever_changes_claims_waits_for_whoever_else_does(claims: Claims, action: str) -> None:
    """Between the look at a claim and the writing of it nobody else may write: one lock of the system for all."""
    assert claims.acquire(OTHER)
    ended: list[bool] = []

    def change() -> None:
        {"acquire": lambda: claims.acquire(KEY), "release": lambda: claims.release(OTHER), "sweep": claims.sweep}[
            action
        ]()
        ended.append(True)

    thread = threading.Thread(target=change)
    with (claims.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.1)
        assert ended == []
        assert not path_of(claims).exists() and path_of(claims, OTHER).exists()
    thread.join(10)
    assert ended == [True]


@pytest.mark.parametrize("start", ["1", None])
def test_a_process_that_has_taken_the_number_of_another_is_not_the_owner(
    claims: Claims, alive: int, start: str | None
) -> None:
    written(claims, pid=alive, start=start)
    assert claims.owner(KEY) is None
    # Nor where nobody could tell when the owner began, and it is gone.
    written(claims, pid=gone(), start=None)
    assert claims.owner(KEY) is None


def test_renewing_shows_other_hosts_that_this_process_lives(claims: Claims, tmp_path: Path) -> None:
    assert claims.acquire(KEY)
    assert claims.acquire(OTHER)
    foreign = written(claims, key="f" * 20, age=1000, host="elsewhere")
    for key in (KEY, OTHER):
        os.utime(path_of(claims, key), (1, 1))
    # Another host would take over: that is what it would see now.
    seen = Claims(tmp_path)
    seen.me = {**seen.me, "host": "elsewhere"}
    assert (seen.owner(KEY), seen.owner(OTHER)) == (None, None)
    claims.renew()
    for key in (KEY, OTHER):
        assert abs(time.time() - path_of(claims, key).stat().st_mtime) < 30
        assert (seen.owner(key) or {})["pid"] == os.getpid()
    assert time.time() - foreign.stat().st_mtime > 900, "of others nothing is renewed"
    assert not seen.acquire(KEY)


def test_what_was_given_back_is_not_renewed(claims: Claims) -> None:
    assert claims.acquire(KEY)
    claims.release(KEY)
    assert claims.held == {}
    claims.renew()
    assert not path_of(claims).exists()


def test_what_another_host_has_taken_over_is_its_own(claims: Claims) -> None:
    """This process was silent for too long: it neither renews nor removes what is somebody else's by now."""
    assert claims.acquire(KEY)
    path = written(claims, host="elsewhere", age=50)
    claims.renew()
    assert time.time() - path.stat().st_mtime > 40
    claims.release(KEY)
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_without_a_token_nobody_claims_again_what_is_lost(claims: Claims) -> None:
    assert claims.acquire(KEY)
    path_of(claims).unlink()
    claims.renew()
    assert not path_of(claims).exists()


def test_sweeping_leaves_the_living_alone(claims: Claims, alive: int) -> None:
    kept = [
        written(claims, key="a" * 20),
        written(claims, key="b" * 20, pid=alive, start=process_start(alive), age=1e6),
        written(claims, key="c" * 20, host="elsewhere", age=60),
    ]
    written(claims, key="d" * 20, pid=gone(), start="1")
    written(claims, key="e" * 20, host="elsewhere", age=200)
    claims.sweep()
    assert sorted(claims.folder.iterdir()) == sorted([*kept, claims.folder / ".lock"])


@pytest.mark.parametrize(
    ("queued", "token", "patient", "taken", "holder"),
    [
        (True, "t", False, True, "mine"),
        (True, "", False, False, "theirs"),
        (True, "u", False, False, "theirs"),
        (False, "t", False, False, "theirs"),
        # Whoever watches a job that runs elsewhere counts it as its own, and leaves the claim to its process.
        (False, "t", True, True, "theirs"),
        (False, "u", True, False, "theirs"),
        (False, "", True, False, "theirs"),
        (True, "t", True, True, "mine"),
    ],
)
def test_a_claim_is_taken_over_under_its_token(
    claims: Claims, alive: int, queued: bool, token: str, patient: bool, taken: bool, holder: str
) -> None:
    path = written(claims, pid=alive, start=process_start(alive), token="t", queued=queued)
    assert claims.acquire(KEY, token=token, patient=patient) is taken
    said = json.loads(path.read_text())
    assert said["pid"] == (os.getpid() if holder == "mine" else alive)
    assert claims.held == ({KEY: token} if taken else {})


def test_nobody_without_a_token_shares_a_claim_without_one(claims: Claims, alive: int) -> None:
    written(claims, pid=alive, start=process_start(alive), token="", queued=True)
    assert not claims.acquire(KEY)
    assert not claims.acquire(KEY, patient=True)
    claims.release(KEY)
    assert path_of(claims).exists()


@pytest.mark.parametrize("call", ["replace", "write_text"])
def test_a_claim_that_cannot_be_written_leaves_nothing_behind(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, full)
        with pytest.raises(StorageError, match="no space left on the device"):
            claims.acquire(KEY)
    assert [path.name for path in claims.folder.iterdir()] == [".lock"]
    assert claims.held == {}


def test_giving_back_removes_what_nobody_alive_holds_any_more(claims: Claims) -> None:
    assert claims.acquire(KEY)
    path = written(claims, host="elsewhere", age=1000)
    claims.release(KEY)
    assert not path.exists()
    assert claims.acquire(KEY)
    path.unlink()
    claims.release(KEY)
    assert claims.held == {}
