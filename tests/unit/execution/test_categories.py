"""Is every way to die named rightly?"""

from __future__ import annotations

import pytest

from refers_bench.errors import DataError, Interrupted, NotFiniteLoss, UserError
from refers_bench.execution.categories import of_exception, of_exit, oom_kill_count


class OutOfMemoryError(RuntimeError):
    """Called like torch's own, which this room does not import."""


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (NotFiniteLoss("x"), "nan"),
        (Interrupted("x"), "preempted"),
        (DataError("x"), "data_error"),
        (UserError("x"), "data_error"),
        (OutOfMemoryError("CUDA"), "cuda_oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "cuda_oom"),
        (MemoryError(), "host_oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "host_oom"),
        (OSError("[Errno 12] Cannot allocate memory"), "host_oom"),
        (ValueError("x"), "crash"),
        (SystemExit(3), "crash"),
    ],
)
def test_exceptions(error: BaseException, category: str) -> None:
    assert of_exception(error) == category


@pytest.mark.parametrize(
    ("code", "kills", "category"),
    [
        (-9, 1, "host_oom"),
        (137, 1, "host_oom"),
        (-9, 0, "crash"),
        (-11, 1, "crash"),
        (1, 0, "crash"),
        (-15, 0, "preempted"),
        (143, 0, "preempted"),
        (15, 0, "preempted"),
        (-12, 1, "preempted"),
        (140, 0, "preempted"),
        (None, 0, "crash"),
    ],
)
def test_exits(code: int | None, kills: int, category: str) -> None:
    assert of_exit(code, oom_kills=kills) == category


def test_counts_kills() -> None:
    assert oom_kill_count() >= 0
