"""Every way to die has the right category."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize(
    ("groups", "file", "count"),
    [
        ("0::/slurm/job_7/task_0\n", "slurm/job_7/task_0/memory.events", 3),
        ("9:cpu,memory:/slurm/job_7\n0::/\n", "memory/slurm/job_7/memory.oom_control", 3),
        ("0::/not/mounted/here\n", "memory.events", 3),
        ("9:cpu:/\n", "memory/memory.oom_control", 3),
        ("", "elsewhere", 0),
    ],
)
def test_kills_for_memory_are_counted_in_the_control_group_of_this_process(
    tmp_path: Path, groups: str, file: str, count: int
) -> None:
    (tmp_path / "own").write_text(groups)
    path = tmp_path / "root" / file
    path.parent.mkdir(parents=True)
    path.write_text("oom 5\noom_kill 3\n")
    assert oom_kill_count(own=tmp_path / "own", root=tmp_path / "root") == count
