"""No update of any method makes the host wait for the device; what is copied to it is copied beside other work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import step_operations
from refers_bench.contracts.methods import BUILT, PRETRAINED
from step_operations import META, Counting, Counts


def check(counts: Counts) -> None:
    """Copies that wait are named as such; what reads a value on the device has raised before."""
    assert sum(counts.operations.values()) > 50, "an update has many operations"
    assert counts.copies and not [copied for copied in counts.copies if "waits" in copied]


@pytest.mark.parametrize("name", PRETRAINED)
def test_pre_training(name: str, tmp_path: Path) -> None:
    check(step_operations.of_method(name, tmp_path))


@pytest.mark.parametrize("name", BUILT)
def test_fine_tuning(name: str, tmp_path: Path) -> None:
    counts = step_operations.of_fine_tuning(name, tmp_path)
    check(counts)
    assert sum(counts.copies.values()) == 1, "the batch"


@pytest.mark.parametrize("waits", [lambda x: x.sum().item(), lambda x: bool(x.any()), lambda x: x.cpu(), torch.nonzero])
def test_what_waits_is_found(waits: Callable[[torch.Tensor], object]) -> None:
    x = torch.ones(3, device=META)
    with pytest.raises((RuntimeError, NotImplementedError)), Counting():
        waits(x)


def test_a_copy_that_waits_is_told_apart() -> None:
    with Counting() as counting:
        torch.ones(3).to(META)
        torch.ones(4).to(META, non_blocking=True)
    assert dict(counting.copies) == {"_to_copy (3,), the host waits": 1, "_to_copy (4,)": 1}
