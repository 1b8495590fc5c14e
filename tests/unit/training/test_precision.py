"""Are the global generators set as torch sets them, those of GPUs only when these are in use?"""

from __future__ import annotations

import pytest
import torch

from refers_bench.training.precision import seed_global_generators


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_draws_are_those_after_manual_seed(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.rand(5)
    torch.rand(3)
    seed_global_generators(seed)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize("in_use", [False, True])
def test_gpus_are_seeded_once_they_are_in_use(monkeypatch: pytest.MonkeyPatch, in_use: bool) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", told.append)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    seed_global_generators(7)
    assert told == ([7] if in_use else [])
