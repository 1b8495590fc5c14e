"""The queue of keys is a ring: the oldest are overwritten, and of a batch that is longer the last ones stay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from refers_bench.nets.momentum_contrast import MomentumContrast


@pytest.mark.parametrize(
    ("place", "count", "queue", "next_place"),
    [
        (0, 2, [10, 11, 2, 3], 2),
        (3, 2, [11, 1, 2, 10], 1),
        (1, 4, [13, 10, 11, 12], 1),
        # Of six keys from place 1 the last four: 12 at 3, 13 at 0, 14 at 1, 15 at 2.
        (1, 6, [13, 14, 15, 12], 3),
    ],
)
def test_keys_of_a_batch(place: int, count: int, queue: list[int], next_place: int) -> None:
    held: Any = SimpleNamespace(queue=torch.arange(4.0)[:, None].repeat(1, 3), place=torch.tensor(place))
    MomentumContrast.enqueue(held, torch.arange(10.0, 10 + count)[:, None].repeat(1, 3))
    assert held.queue[:, 1].tolist() == queue and int(held.place) == next_place
