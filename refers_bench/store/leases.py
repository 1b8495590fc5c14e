"""Leases jobs to processes, so that two coordinators on one results folder never run one job twice.

A lease is a small file that names a process. On this process's host it holds while that process lives; a lease of
another host holds while it is renewed. A job that waits in a cluster's queue is leased by the coordinator that queued
it, under a token; the process that finally runs the job shows the token and takes the lease over.
"""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from refers_bench.errors import UserError
from refers_bench.files import storage_errors
from refers_bench.store.reading import read_json

#: A lease of another host that was not renewed for this many seconds is taken over.
STALE_S = 120.0
#: How often a file is written again whose folder somebody deletes.
TRIES = 10
_T = TypeVar("_T")
#: Where Linux tells of processes, and letters of the states of one that has ended.
PROC, ENDED = Path("/proc"), ("Z", "X")
#: Seconds between renewals: a few may be late before anybody takes over.
RENEW_S = 20.0


def process_start(pid: int) -> str | None:
    """Start time of a process, or None when it is gone: tells a recycled number apart.

    In clock ticks since boot; on systems without ``/proc``, such as macOS, as ``ps`` prints it.
    """
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None if PROC.is_dir() else _start_by_ps(pid)
    return None if fields[0] in ENDED else fields[19]


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    state, _, start = found.stdout.strip().partition(" ")
    return None if not state or state[0] in ENDED else start.strip()


class Leases:
    """The leases of one process: files below ``<results>/work/claims``, as they have always been called on disk.

    Args:
        results: results folder.
        stale_s: seconds after which an unrenewed lease of another host is taken over.
        engine: name of what runs the jobs, shown by `status`.
        queued: whether these leases are for jobs that wait in an engine's queue until another process runs them.
    """

    def __init__(self, results: Path, *, stale_s: float = STALE_S, engine: str = "local", queued: bool = False) -> None:
        self.folder = results / "work" / "claims"
        self.stale_s = stale_s
        #: Key -> token under which it is held.
        self.held: dict[str, str] = {}
        self.me = {"host": socket.gethostname(), "pid": os.getpid(), "start": process_start(os.getpid())}
        self.engine, self.queued = engine, queued
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with storage_errors(self.folder), self._kept(lambda: (self.folder / ".lock").open("w")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _kept(self, write: Callable[[], _T]) -> _T:
        """What `write` gives, called again where somebody deletes the folder meanwhile, which is then made anew."""
        tries = 0
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return write()
            except FileNotFoundError:
                tries += 1
                if tries == TRIES:
                    raise

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def owner(self, key: str) -> dict[str, Any] | None:
        """The live owner of a job's lease, or None."""
        path = self._path(key)
        try:
            lease = read_json(path)
            age = time.time() - path.stat().st_mtime
        except (UserError, FileNotFoundError):
            return None
        if not isinstance(lease.get("host"), str) or not isinstance(lease.get("pid"), int):
            return None
        if lease["host"] == self.me["host"]:
            alive = lease.get("start") is not None and process_start(lease["pid"]) == lease["start"]
        else:
            alive = abs(age) < self.stale_s  # nor does one hold that is dated far in the future
        return lease if alive else None

    def acquire(self, key: str, *, token: str = "", patient: bool = False) -> bool:
        """Lease a job; False when a live process holds its lease.

        Args:
            key: of the job.
            token: a queued lease under the same token is taken over.
            patient: leave a lease under that token with the process that runs the job, and count it as held here.
        """
        with self._locked():
            owner = self.owner(key)
            if owner is not None and not self._same(owner):
                if not token or owner.get("token") != token or not (patient or owner.get("queued")):
                    return False
                if patient and not owner.get("queued"):
                    self.held[key] = token
                    return True
            self._write(key, {**self.me, "token": token, "queued": self.queued, "engine": self.engine})
        self.held[key] = token
        return True

    def _same(self, owner: dict[str, Any]) -> bool:
        return all(owner.get(name) == value for name, value in self.me.items())

    def _write(self, key: str, lease: dict[str, Any]) -> None:
        """Readers see a whole file or none; it is not forced to disk, since a lease means nothing after a crash."""
        part = self.folder / f".{key}.{uuid.uuid4().hex}.part"

        def write() -> None:
            part.write_text(json.dumps(lease), encoding="utf-8")
            part.replace(self._path(key))

        try:
            self._kept(write)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def release(self, key: str) -> None:
        """Give a lease back, unless another process has taken it over meanwhile."""
        token = self.held.pop(key, "")
        with self._locked():
            owner = self.owner(key)
            if owner is None or self._same(owner) or (token and owner.get("token") == token):
                self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove leases whose owner is gone, and files that killed processes have left half-written."""
        with self._locked():
            for path in self.folder.iterdir():
                if path.is_dir():  # not made by us, so not removed
                    path.rename(path.with_name(f"{path.name}.{uuid.uuid4().hex}.aside"))
                elif path.suffix == ".part" or (path.suffix == ".json" and self.owner(path.stem) is None):
                    path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show other hosts that this process lives.

        A lease that another process has taken over with its token is renewed by that process, and becomes this one's
        again once that process is gone.
        """
        for key, token in list(self.held.items()):
            owner = self.owner(key)
            if owner is None and token:
                self.acquire(key, token=token)
            elif owner is not None and self._same(owner):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._path(key))
