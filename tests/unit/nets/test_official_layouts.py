"""Checkpoints of the released code: the tensors of the network, without the optimiser's and the counters."""

from __future__ import annotations

import torch

from refers_bench.nets.official_layouts import head_weights, unwrapped


def test_a_checkpoint_of_a_pre_training_and_a_plain_one() -> None:
    tensors = {"head.weight": torch.ones(2), "head.bias": torch.zeros(2), "transformer.a": torch.ones(1)}
    assert unwrapped({**tensors, "epoch": 3}) == tensors
    assert unwrapped({"model": {**tensors, "steps": 7}, "optimizer": {"state": {}}, "step": torch.ones(1)}) == tensors
    assert head_weights(tensors) == {"head.weight": tensors["head.weight"], "head.bias": tensors["head.bias"]}
