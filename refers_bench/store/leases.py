"""Who is running this job right now, so that two coordinators on one results folder never run it twice?

A claim is a small file that names a process. On this process's host it counts while that process lives; a claim of
another host counts while it is renewed. A job that waits in a cluster's queue is claimed by the coordinator that queued
it, under a token; the process that at last runs it shows the token and takes the claim over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refers_bench.files import storage_errors

#: A claim of another host that was not renewed for so long is taken over.
STALE_S = 120.0
#: Seconds between renewals: a few may be late before anybody takes over.
RENEW_S = 20.0


def process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot, or None when it is gone: tells a recycled number apart."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


class Claims:
    """Claims of one process below ``<results>/work/claims``.

    Args:
        results: results folder.
        stale_s: seconds after which an unrenewed claim of another host is taken over.
        engine: what runs the jobs, for whoever looks.
        queued: whether these claims are for jobs that wait in an engine's queue until another process runs them.
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
        with storage_errors(self.folder), (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def owner(self, key: str) -> dict[str, Any] | None:
        """The live owner of a key's claim, or None."""
        path = self._path(key)
        try:
            claim: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            age = time.time() - path.stat().st_mtime
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if claim["host"] == self.me["host"]:
            alive = claim["start"] is not None and process_start(claim["pid"]) == claim["start"]
        else:
            alive = age < self.stale_s
        return claim if alive else None

    def acquire(self, key: str, *, token: str = "", patient: bool = False) -> bool:
        """Claim a key; False when somebody alive holds it.

        Args:
            key: of a job.
            token: a claim that waits in a queue under the same token is taken over.
            patient: leave a claim under that token, of whoever runs the job, where it is, and count it as held.
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

    def _write(self, key: str, claim: dict[str, Any]) -> None:
        """Whole or not at all for whoever reads; not forced to disk, since a claim means nothing after a crash."""
        part = self.folder / f".{key}.{uuid.uuid4().hex}.part"
        try:
            part.write_text(json.dumps(claim), encoding="utf-8")
            part.replace(self._path(key))
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def release(self, key: str) -> None:
        """Give a key back, unless somebody else has taken it over meanwhile."""
        token = self.held.pop(key, "")
        with self._locked():
            owner = self.owner(key)
            if owner is None or self._same(owner) or (token and owner.get("token") == token):
                self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove claims whose owner is gone, and what a process killed while claiming left half-written."""
        with self._locked():
            for path in self.folder.iterdir():
                if path.suffix == ".part" or (path.suffix == ".json" and self.owner(path.stem) is None):
                    path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show other hosts that this process lives.

        A claim that another process has taken over with its token is its own to renew, and this one's again once that
        process is gone.
        """
        for key, token in list(self.held.items()):
            owner = self.owner(key)
            if owner is None and token:
                self.acquire(key, token=token)
            elif owner is not None and self._same(owner):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._path(key))
