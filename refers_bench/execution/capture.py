"""How does everything that a job prints, from whatever library or child process, get into its own log?"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from refers_bench.files import storage_errors
from refers_bench.store import job_logs

#: Seconds between looks at the length of a log that is being written.
LOOK_S = 1.0
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def captured(path: Path) -> Iterator[TextIO]:
    """Append what this process and its children print to a log while the block lasts; gives the log to write to.

    The file descriptors of standard output and error are turned to it, so that C libraries and child processes write
    there, too; Python's warnings and log records end there by themselves.

    Args:
        path: of the log; made where it is not.

    Raises:
        StorageError: it cannot be written.
    """
    log = _opened(path)
    kept = [os.dup(1), os.dup(2)]
    before = (sys.stdout, sys.stderr)
    _flush(*before)
    # Not sys.stdout itself, which may be buffered, or no longer that of the descriptor.
    stream = open(log, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    try:
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        # `catch_warnings` also forgets which warnings earlier jobs of this worker have shown.
        with (
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
            warnings.catch_warnings(),
            _records(stream),
            _WATCH.at(path),
        ):
            yield stream
    finally:
        _flush(*before, stream)
        for descriptor, own in zip((1, 2), kept, strict=True):
            os.dup2(own, descriptor)
            os.close(own)
        os.close(log)


def _opened(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with storage_errors(path):
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o666)


def _flush(*streams: TextIO) -> None:
    """Python's streams, then those of C libraries: what is still in a buffer belongs to where it was printed."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _LIBC.fflush(None)


_LIBC = ctypes.CDLL(None)


@contextlib.contextmanager
def _records(stream: TextIO) -> Iterator[None]:
    """Log records that no library handles itself, with time and name."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Watch:
    """Keeps the log that is being written short, from a thread that is started with the first one."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.thread: threading.Thread | None = None
        self.one = threading.Lock()

    @contextlib.contextmanager
    def at(self, path: Path) -> Iterator[None]:
        """While the block lasts, and once more at its end."""
        if self.thread is None or not self.thread.is_alive():  # the child of a fork has no threads
            self.thread = threading.Thread(target=self._look, daemon=True, name="log watch")
            self.thread.start()
        self.path = path
        try:
            yield
        finally:
            self.path = None
            self._shorten(path)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            path = self.path
            if path is not None:
                self._shorten(path)

    def _shorten(self, path: Path) -> None:
        with self.one, contextlib.suppress(OSError):  # somebody may have deleted it
            job_logs.shorten(path)


_WATCH = _Watch()
