"""Sends everything that a job prints, from whatever library or child process, to the job's own log."""

import contextlib
import ctypes
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from refers_bench.execution.background import repeat
from refers_bench.files import storage_errors
from refers_bench.store import job_logs

#: Seconds between two checks of the length of a log that is being written.
LOOK_S = 1.0
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LIBC = ctypes.CDLL(None)


@contextlib.contextmanager
def captured(path: Path) -> Iterator[TextIO]:
    """Append what this process and its children print to a log while the block lasts; yields the log to write to.

    The file descriptors of standard output and error are redirected, so that C libraries and child processes write
    there, too; so do Python's warnings and the log records that no library handles itself. A log that gets too long
    loses its middle.

    Args:
        path: of the log; made where it does not exist.

    Raises:
        StorageError: it cannot be written.
    """
    log = _opened(path)
    kept = [os.dup(1), os.dup(2)]
    before = (sys.stdout, sys.stderr)
    _flush(*before)
    # Not sys.stdout itself, which may be buffered, or no longer that of the descriptor.
    stream = open(log, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    records = logging.StreamHandler(stream)
    records.setFormatter(logging.Formatter(_FORMAT))
    end_checks = repeat(lambda: _shorten(path), LOOK_S)
    try:
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        logging.getLogger().addHandler(records)
        # `catch_warnings` also forgets which warnings earlier jobs of this worker have shown.
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), warnings.catch_warnings():
            yield stream
    finally:
        logging.getLogger().removeHandler(records)
        _flush(*before, stream)
        for descriptor, own in zip((1, 2), kept, strict=True):
            os.dup2(own, descriptor)
            os.close(own)
        os.close(log)
        end_checks()
        _shorten(path)


def _opened(path: Path) -> int:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def _flush(*streams: TextIO) -> None:
    """Python's streams, then those of C libraries: what is still in a buffer belongs to where it was printed."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _LIBC.fflush(None)


def _shorten(path: Path) -> None:
    with contextlib.suppress(OSError):  # a user may have deleted it
        job_logs.shorten(path)
