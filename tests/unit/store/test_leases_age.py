"""A lease lives as long as it is renewed: by whom, for how long, and under which token another process takes it over."""

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
from refers_bench.store.leases import Leases, process_start

KEY, OTHER = "0123456789abcdef0123", "abcdef01234567890123"


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path)


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


def path_of(leases: Leases, key: str = KEY) -> Path:
    return leases.folder / f"{key}.json"


def written(leases: Leases, *, key: str = KEY, age: float = 0.0, **who: Any) -> Path:
    """A lease as another process would have written it."""
    path = path_of(leases, key)
    path.write_text(json.dumps({**leases.me, "token": "", "queued": False, "engine": "local", **who}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_lease_says_who_holds_it(tmp_path: Path) -> None:
    mine = Leases(tmp_path, engine="slurm", queued=True)
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
    plain = Leases(tmp_path)
    assert plain.acquire(OTHER)
    said = json.loads(path_of(plain, OTHER).read_text())
    assert (said["token"], said["queued"], said["engine"]) == ("", False, "local")


@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (90.0, True), (150.0, False)])
def test_another_host_is_alive_as_long_as_it_renews(leases: Leases, age: float, alive: bool) -> None:
    """Two minutes without a renewal, whatever its process number means here; a few of 20 s each may be late."""
    written(leases, age=age, host="elsewhere", pid=gone(), start="1")
    assert (leases.owner(KEY) is not None) == alive
    assert leases.acquire(KEY) is not alive
    assert module.STALE_S >= 5 * module.RENEW_S


def test_of_this_host_the_age_says_nothing(leases: Leases, alive: int) -> None:
    written(leases, age=1e6, pid=alive, start=process_start(alive))
    assert not leases.acquire(KEY)
    written(leases, pid=gone(), start="1")
    assert leases.acquire(KEY)


def test_a_process_that_has_ended_and_that_nobody_has_waited_for_is_gone(leases: Leases) -> None:
    process = subprocess.Popen(["true"])
    try:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.005)
        assert process_start(process.pid) is None
        written(leases, pid=process.pid, start=start)
        assert leases.acquire(KEY)
    finally:
        process.wait()


@pytest.mark.parametrize("action", ["acquire", "release", "sweep"])
def test_whoever_changes_leases_waits_for_whoever_else_does(leases: Leases, action: str) -> None:
    """Between the look at a lease and the writing of it nobody else may write: one lock of the system for all."""
    assert leases.acquire(OTHER)
    ended: list[bool] = []

    def change() -> None:
        {"acquire": lambda: leases.acquire(KEY), "release": lambda: leases.release(OTHER), "sweep": leases.sweep}[
            action
        ]()
        ended.append(True)

    thread = threading.Thread(target=change)
    with (leases.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.1)
        assert ended == []
        assert not path_of(leases).exists() and path_of(leases, OTHER).exists()
    thread.join(10)
    assert ended == [True]


@pytest.mark.parametrize("start", ["1", None])
def test_a_process_that_has_taken_the_number_of_another_is_not_the_owner(
    leases: Leases, alive: int, start: str | None
) -> None:
    written(leases, pid=alive, start=start)
    assert leases.owner(KEY) is None
    # Nor where nobody could tell when the owner began, and it is gone.
    written(leases, pid=gone(), start=None)
    assert leases.owner(KEY) is None


def test_renewing_shows_other_hosts_that_this_process_lives(leases: Leases, tmp_path: Path) -> None:
    assert leases.acquire(KEY)
    assert leases.acquire(OTHER)
    foreign = written(leases, key="f" * 20, age=1000, host="elsewhere")
    for key in (KEY, OTHER):
        os.utime(path_of(leases, key), (1, 1))
    # Another host would take over: that is what it would see now.
    seen = Leases(tmp_path)
    seen.me = {**seen.me, "host": "elsewhere"}
    assert (seen.owner(KEY), seen.owner(OTHER)) == (None, None)
    leases.renew()
    for key in (KEY, OTHER):
        assert abs(time.time() - path_of(leases, key).stat().st_mtime) < 30
        assert (seen.owner(key) or {})["pid"] == os.getpid()
    assert time.time() - foreign.stat().st_mtime > 900, "of others nothing is renewed"
    assert not seen.acquire(KEY)


def test_what_was_given_back_is_not_renewed(leases: Leases) -> None:
    assert leases.acquire(KEY)
    leases.release(KEY)
    assert leases.held == {}
    leases.renew()
    assert not path_of(leases).exists()


def test_what_another_host_has_taken_over_is_its_own(leases: Leases) -> None:
    """This process was silent for too long: it neither renews nor removes what is somebody else's by now."""
    assert leases.acquire(KEY)
    path = written(leases, host="elsewhere", age=50)
    leases.renew()
    assert time.time() - path.stat().st_mtime > 40
    leases.release(KEY)
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_without_a_token_nobody_leases_again_what_is_lost(leases: Leases) -> None:
    assert leases.acquire(KEY)
    path_of(leases).unlink()
    leases.renew()
    assert not path_of(leases).exists()


def test_sweeping_leaves_the_living_alone(leases: Leases, alive: int) -> None:
    kept = [
        written(leases, key="a" * 20),
        written(leases, key="b" * 20, pid=alive, start=process_start(alive), age=1e6),
        written(leases, key="c" * 20, host="elsewhere", age=60),
    ]
    written(leases, key="d" * 20, pid=gone(), start="1")
    written(leases, key="e" * 20, host="elsewhere", age=200)
    leases.sweep()
    assert sorted(leases.folder.iterdir()) == sorted([*kept, leases.folder / ".lock"])


@pytest.mark.parametrize(
    ("queued", "token", "patient", "taken", "holder"),
    [
        (True, "t", False, True, "mine"),
        (True, "", False, False, "theirs"),
        (True, "u", False, False, "theirs"),
        (False, "t", False, False, "theirs"),
        # Whoever watches a job that runs elsewhere counts it as its own, and leaves the lease to its process.
        (False, "t", True, True, "theirs"),
        (False, "u", True, False, "theirs"),
        (False, "", True, False, "theirs"),
        (True, "t", True, True, "mine"),
    ],
)
def test_a_lease_is_taken_over_under_its_token(
    leases: Leases, alive: int, queued: bool, token: str, patient: bool, taken: bool, holder: str
) -> None:
    path = written(leases, pid=alive, start=process_start(alive), token="t", queued=queued)
    assert leases.acquire(KEY, token=token, patient=patient) is taken
    said = json.loads(path.read_text())
    assert said["pid"] == (os.getpid() if holder == "mine" else alive)
    assert leases.held == ({KEY: token} if taken else {})


def test_nobody_without_a_token_shares_a_lease_without_one(leases: Leases, alive: int) -> None:
    written(leases, pid=alive, start=process_start(alive), token="", queued=True)
    assert not leases.acquire(KEY)
    assert not leases.acquire(KEY, patient=True)
    leases.release(KEY)
    assert path_of(leases).exists()


@pytest.mark.parametrize("call", ["replace", "write_text"])
def test_a_lease_that_cannot_be_written_leaves_nothing_behind(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, full)
        with pytest.raises(StorageError, match="no space left on the device"):
            leases.acquire(KEY)
    assert [path.name for path in leases.folder.iterdir()] == [".lock"]
    assert leases.held == {}


def test_giving_back_removes_what_nobody_alive_holds_any_more(leases: Leases) -> None:
    assert leases.acquire(KEY)
    path = written(leases, host="elsewhere", age=1000)
    leases.release(KEY)
    assert not path.exists()
    assert leases.acquire(KEY)
    path.unlink()
    leases.release(KEY)
    assert leases.held == {}
