"""Gives what image-report methods compare of a radiograph: its feature, its regions, and how much each is attended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.nets.attention_maps import attention_weights
from refers_bench.nets.convnet import ConvNet


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Of B radiographs.

    Attributes:
        feature_BF: what fine-tuning classifies.
        regions_BPD: patches of a transformer, places of a ResNet's third stage.
        attention_BP: of the aggregation embedding in the last block, mean over heads, without gradient; equal shares in
            a ResNet, or where it was not asked for.
    """

    feature_BF: Tensor
    regions_BPD: Tensor
    attention_BP: Tensor


def region_width(encoder: nn.Module) -> int:
    """Width of a region."""
    width: Any = encoder.third_width if isinstance(encoder, ConvNet) else encoder.patch_width
    return int(width)


def regions(encoder: Any, x_BCHW: Tensor, *, attention: bool = False) -> Regions:
    """Normalised images through an encoder.

    Args:
        encoder: radiograph transformer or ResNet.
        x_BCHW: images.
        attention: whether the regions' attention is wanted.

    Source: gloria/models/vision_model.py:9-77; mgca/models/backbones/encoder.py:56-142.
    """
    if isinstance(encoder, ConvNet):
        tokens, third = encoder.with_third(x_BCHW)
        places = third.flatten(2).transpose(1, 2)
        return Regions(feature_BF=encoder.readout(tokens), regions_BPD=places, attention_BP=_equal(places))
    if not attention:
        tokens = encoder(x_BCHW)
        places = encoder.patches(tokens)
        return Regions(feature_BF=encoder.readout(tokens), regions_BPD=places, attention_BP=_equal(places))
    with attention_weights(encoder.blocks[-1]) as found:
        tokens = encoder(x_BCHW)
    (weights,) = found
    seen = weights.float().mean(1)[:, 0, 1:]
    return Regions(feature_BF=encoder.readout(tokens), regions_BPD=encoder.patches(tokens), attention_BP=seen)


def _equal(places_BPD: Tensor) -> Tensor:
    shape = places_BPD.shape[:2]
    return torch.full(shape, 1 / shape[1], device=places_BPD.device)
