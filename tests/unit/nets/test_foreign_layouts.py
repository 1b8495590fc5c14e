"""Names of tensors of other projects become ours by the first rule that fits."""

from __future__ import annotations

import torch

from official_checkpoints import head_weights, unwrapped
from refers_bench.nets.foreign_layouts import _renamed


def test_one_rule_a_name() -> None:
    weights = {name: torch.tensor(float(n)) for n, name in enumerate(("a.weight", "b.weight", "a.weight.more", "c"))}
    found = _renamed(weights, {"a.": "b.", "b.": "c.", "c.": "d"})
    assert {name: float(value) for name, value in found.items()} == {
        "b.weight": 0,
        "c.weight": 1,
        "a.weight.more": 2,
        "c": 3,
    }


def test_a_checkpoint_of_a_pre_training_and_a_plain_one() -> None:
    tensors = {"head.weight": torch.ones(2), "head.bias": torch.zeros(2), "transformer.a": torch.ones(1)}
    assert unwrapped({**tensors, "epoch": 3}) == tensors
    assert unwrapped({"model": {**tensors, "steps": 7}, "optimizer": {"state": {}}, "step": torch.ones(1)}) == tensors
    assert head_weights(tensors) == {"head.weight": tensors["head.weight"], "head.bias": tensors["head.bias"]}
