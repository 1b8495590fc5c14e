"""Builds the encoder that a method's parameter `backbone` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.nets import convnet, radiograph_transformer
from refers_bench.nets.convnet import ConvNet
from refers_bench.nets.radiograph_transformer import RadiographTransformer


def build(
    backbone: str, network: Mapping[str, Any], image: Mapping[str, Any], *, upsampled: int = 0
) -> RadiographTransformer | ConvNet:
    """The protocol's radiograph transformer, or a ResNet, for which the `network` section is not used.

    Args:
        backbone: "radiograph_transformer", or "resnet" and a depth of `convnet.DEPTHS`.
        network: section of a protocol.
        image: section of a protocol.
        upsampled: of a ResNet's images, see `convnet.build`.
    """
    if backbone.startswith("resnet"):
        return convnet.build(int(backbone.removeprefix("resnet")), image, upsampled=upsampled)
    return radiograph_transformer.build(network, image)
