"""A training uses the number of micro-batches that is asked for or saved, and refuses what its losses forbid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from refers_bench.errors import UserError
from refers_bench.jobs.setup import micro_batches_of
from refers_bench.store.context import JobContext
from refers_bench.training.state import State


def context(tmp_path: Path, accumulate: int = 1, after: str = "") -> JobContext:
    return JobContext(results=tmp_path, cache=tmp_path, accumulate=accumulate, after=after)


def state(tmp_path: Path, parts: int, after: str) -> Path:
    model = nn.Linear(2, 2)
    kept = State(
        model=model, optimizer=torch.optim.SGD(model.parameters()), scaler=torch.amp.GradScaler("cpu", enabled=False),
        micro_batches=parts, after=after,
    )  # fmt: skip
    kept.save(tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


@pytest.mark.parametrize(
    ("asked", "batch", "parts"),
    [(1, 128, 1), (2, 128, 2), (4, 6, 3), (5, 6, 3), (6, 6, 6), (1000, 8, 8), (64, 96, 48), (4, 1, 1)],
)
def test_micro_batches_are_equal_and_no_smaller_than_an_example(
    tmp_path: Path, asked: int, batch: int, parts: int
) -> None:
    assert micro_batches_of(context(tmp_path, asked), tmp_path / "none", batch=batch, parts="examples") == (parts, "")


@pytest.mark.parametrize(
    ("begun", "asked", "found"),
    [
        ((2, "cuda_oom"), (1, ""), (2, "cuda_oom")),
        ((2, "cuda_oom"), (2, ""), (2, "cuda_oom")),
        ((2, ""), (2, "host_oom"), (2, "host_oom")),
        ((2, "cuda_oom"), (4, "cuda_oom"), (4, "cuda_oom")),
        ((2, "cuda_oom"), (4, ""), (4, "")),
        ((1, ""), (1, ""), (1, "")),
    ],
)
def test_a_saved_number_of_micro_batches_is_kept_unless_more_are_asked_for(
    tmp_path: Path, begun: tuple[int, str], asked: tuple[int, str], found: tuple[int, str]
) -> None:
    path = state(tmp_path, *begun)
    assert micro_batches_of(context(tmp_path, *asked), path, batch=8, parts="features") == found


def test_a_damaged_state_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"damaged")
    assert micro_batches_of(context(tmp_path), path, batch=8, parts="examples") == (1, "")


def test_a_batch_that_must_be_whole_is_refused_in_micro_batches(tmp_path: Path) -> None:
    assert micro_batches_of(context(tmp_path), tmp_path / "none", batch=8, parts="") == (1, "")
    with pytest.raises(
        UserError, match="2 micro-batches asked for by a method whose losses mix the examples of a batch; allowed"
    ):
        micro_batches_of(context(tmp_path, 2), tmp_path / "none", batch=8, parts="")
