"""Who is running this job right now, so that two orchestrators on one results folder never run it twice?"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refers_bench.files import publish_json, storage_errors

#: A claim of another host that was not renewed for so long is taken over.
STALE_S = 120.0


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
    """

    def __init__(self, results: Path, *, stale_s: float = STALE_S) -> None:
        self.folder = results / "work" / "claims"
        self.stale_s = stale_s
        self.held: set[str] = set()
        self.me = {"host": socket.gethostname(), "pid": os.getpid(), "start": process_start(os.getpid())}
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

    def acquire(self, key: str) -> bool:
        """Claim a key; False when somebody alive holds it."""
        with self._locked():
            owner = self.owner(key)
            if owner is not None and owner != self.me:
                return False
            publish_json(self._path(key), self.me)
        self.held.add(key)
        return True

    def release(self, key: str) -> None:
        """Give a key back."""
        self.held.discard(key)
        with self._locked():
            self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove claims whose owner is gone, and what a process killed while claiming left half-written."""
        with self._locked():
            for path in self.folder.iterdir():
                if path.suffix == ".part" or (path.suffix == ".json" and self.owner(path.stem) is None):
                    path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show other hosts that this process lives."""
        for key in self.held:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path(key))
