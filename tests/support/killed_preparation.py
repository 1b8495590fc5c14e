"""A preparation of images in a process of its own, which dies at a stated call or waits before each image for leave.

The process is forked from a server that has imported all it needs, so that its start takes no time.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench import files
from refers_bench.data import prepare as room

CONTEXT = multiprocessing.get_context("forkserver")
#: Where a function may be replaced by one that kills.
PLACES: dict[str, Any] = {"room": room, "files": files, "shutil": shutil, "Path": Path}


def start(
    root: Path, name: str, *, dies_at: tuple[str, int] | None = None, leave: Semaphore | None = None
) -> BaseProcess:
    """Prepare the images of ``<root>/index.parquet`` to ``<root>/<name>``.

    Args:
        root: folder of the images.
        name: of the store.
        dies_at: function, as "place.name", and the number of the call that kills the process.
        leave: released once for each image that may be read.
    """
    CONTEXT.set_forkserver_preload([room.__name__, "pyarrow.parquet"])  # of no effect where a server runs already
    process = CONTEXT.Process(target=_prepare, args=(root, name, dies_at, leave))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Exit status."""
    process.join(60)
    return process.exitcode


def _prepare(root: Path, name: str, dies_at: tuple[str, int] | None, leave: Semaphore | None) -> None:
    if dies_at:
        _arm(*dies_at)
    decode = room.decode

    def decode_with_leave(path: Path, **options: Any) -> Any:
        if leave is not None:
            leave.acquire()
        return decode(path, **options)

    room.decode = decode_with_leave
    index = pd.read_parquet(root / "index.parquet")
    room.prepare(index, root=root, folder=root / name, work=root / f"work-{name}", size=24, workers=0)


def _arm(function: str, fatal: int) -> None:
    place, _, name = function.partition(".")
    real, calls = getattr(PLACES[place], name), []

    def dying(*given: Any, **how: Any) -> Any:
        calls.append(1)
        if len(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **how)

    setattr(PLACES[place], name, dying)
