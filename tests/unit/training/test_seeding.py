"""Are the global generators set as torch sets them, without keeping calls for a GPU that is not in use?"""

from __future__ import annotations

import pytest
import torch

from refers_bench.training.seeding import seed_global_generators


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_draws_are_those_after_manual_seed(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.rand(5)
    torch.rand(3)
    seed_global_generators(seed)
    assert torch.equal(torch.rand(5), expected)


def test_nothing_is_kept_for_later() -> None:
    kept = len(torch.cuda._queued_calls)
    for step in range(20):
        seed_global_generators(step)
    assert torch.cuda.is_initialized() or len(torch.cuda._queued_calls) == kept
