"""The radiograph transformer and ResNets give the readouts that they have, and say which where they have none."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from refers_bench.nets.convnet import ConvNet
from refers_bench.nets.foreign_layouts import to_timm
from refers_bench.nets.radiograph_transformer import RadiographTransformer

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def transformer(depth: int = 5, **changes: Any) -> RadiographTransformer:
    torch.manual_seed(1)
    given = {
        "image_size": 32, "patch_size": 8, "channels": 3, "width": 32, "depth": depth, "heads": 4, "mlp_width": 64,
        "dropout": 0.0, "activation": "gelu", "position": "added", "aggregation": "none",
    }  # fmt: skip
    net = RadiographTransformer(**{**given, **changes}).eval()
    nn.init.normal_(net.aggregation_embedding)
    return net


@torch.no_grad()
def test_the_plain_transformers_readouts_are_timms() -> None:
    net = transformer()
    theirs = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=5, num_heads=4, mlp_ratio=2, num_classes=0
    ).eval()
    theirs.load_state_dict(to_timm(net.state_dict()))
    tokens = theirs.forward_features(X)
    layers = theirs.forward_intermediates(
        X, indices=4, return_prefix_tokens=True, norm=True, output_fmt="NLC", intermediates_only=True
    )
    expected = {
        "auto": tokens[:, 0], "cls": tokens[:, 0], "mean": tokens[:, 1:].mean(1), "tokens": tokens,
        "cls_mean": torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], -1),
        "last4_cls": torch.cat([first[:, 0] for _, first in layers], -1),
    }  # fmt: skip
    assert net.readouts == ("auto", "cls", "mean", "cls_mean", "last4_cls", "tokens")
    for name, value in expected.items():
        torch.testing.assert_close(net.features(X, name), value, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_mean_is_over_patches_that_have_met_the_aggregation_embedding() -> None:
    net = transformer(aggregation="concatenated", position="concatenated")
    tokens = net(X)
    expected = torch.cat([tokens[:, 1:].mean(1), tokens[:, 0]], -1)
    torch.testing.assert_close(net.features(X, "mean"), expected)
    torch.testing.assert_close(net.features(X), expected)


@torch.no_grad()
def test_a_resnet_has_a_mean_and_places() -> None:
    torch.manual_seed(2)
    net = ConvNet(depth=18, channels=3).eval()
    last = net.net.forward_features(X)
    torch.testing.assert_close(net.features(X, "mean"), last.mean((2, 3)))
    torch.testing.assert_close(net.features(X), last.mean((2, 3)))
    torch.testing.assert_close(net.features(X, "tokens"), last.flatten(2).transpose(1, 2))


def test_what_an_encoder_lacks_is_refused_with_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"readout 'cls' of ConvNet; it has auto, mean, tokens"):
        ConvNet(depth=18, channels=3).features(X, "cls")
    with pytest.raises(ValueError, match="it has auto, cls, mean, cls_mean, tokens"):
        transformer(depth=3).features(X, "last4_cls")
