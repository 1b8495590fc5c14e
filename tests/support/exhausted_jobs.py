"""Jobs that have no memory left, each in another way; a limit of the address space stands for a small machine."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refers_bench.jobs import entry
from refers_bench.jobs.record import Record
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: What workers call.
ENTRY = "exhausted_jobs:run"
#: Bytes that a job may take beside what its process has.
SPARE = 32 << 20
KEPT: list[Any] = []

run = entry.run
entry.RECIPES = {**entry.RECIPES, "exhausted": "exhausted_jobs:exhausted"}


def exhausted(job: Mapping[str, Any], context: JobContext) -> None:
    """Fail for want of memory as ``spec["how"]`` says, or publish a record."""
    how = job["spec"]["how"]
    if how in ("numpy", "torch", "thread", "ending", "limit"):
        _limit(0 if how == "thread" else SPARE)
    if how == "numpy":
        import numpy as np

        np.ones(1 << 30)
    elif how == "torch":
        import torch

        torch.ones(1 << 30)
    elif how == "thread":
        threading.Thread(target=print).start()
    elif how == "library":  # operator new throws, nobody catches: the process is aborted
        ctypes.CDLL("libstdc++.so.6")._Znwm(ctypes.c_size_t(1 << 60))
    elif how == "ending":
        _fill()
    elif how == "hung":
        threading.Thread(target=threading.Event().wait).start()  # keeps a process that ends from ending
        _limit(SPARE)
        _fill()
    with Record(job, ResultStore(context.results), context).published({}):
        pass


def _limit(spare: int) -> None:
    """Allow this process so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + spare, resource.RLIM_INFINITY))


def _fill() -> None:
    """Take all the memory that there is, and keep it."""
    size = 1 << 20
    while size:
        try:
            KEPT.append(bytearray(size))
        except MemoryError:
            size //= 2
    while True:
        KEPT.append(object())
