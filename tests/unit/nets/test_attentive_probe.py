"""An attentive probe attends as torch's own multi-head attention does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refers_bench.nets.attentive_probe import AttentiveProbe


def test_it_attends_as_the_module_of_torch() -> None:
    torch.manual_seed(0)
    probe, tokens = AttentiveProbe(width=12, classes=3, heads=4), torch.randn(5, 7, 12)
    theirs = nn.MultiheadAttention(12, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([probe.q.weight, probe.kv.weight]))
        theirs.in_proj_bias.copy_(torch.cat([probe.q.bias, probe.kv.bias]))
    theirs.out_proj = probe.out
    normed = probe.norm_tokens(tokens)
    found, _ = theirs(probe.query.expand(5, -1, -1), normed, normed)
    torch.testing.assert_close(probe(tokens[:, None]), probe.head(probe.norm(found[:, 0])))


def test_the_order_of_tokens_plays_no_part_and_heads_must_divide_the_width() -> None:
    torch.manual_seed(0)
    probe, tokens = AttentiveProbe(width=12, classes=3, heads=4).double(), torch.randn(5, 1, 7, 12).double()
    torch.testing.assert_close(probe(tokens), probe(tokens[:, :, torch.randperm(7)]))
    with pytest.raises(ValueError, match="5 heads do not divide the width 12"):
        AttentiveProbe(width=12, classes=3, heads=5)
