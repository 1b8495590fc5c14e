"""A convolutional network in place of the radiograph transformer: its feature map gives the patch tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets import readouts
from refers_bench.plugins import LENGTHS_AT

#: Depths of the paper (Table 2, LSP; Table 3 row 1).
DEPTHS = (18, 50, 101)


class ConvNet(nn.Module):
    """A ResNet whose last feature map gives patch tokens, and their mean the token that fine-tuning classifies.

    There is no aggregation embedding, so no recurrent concatenation: the first token is the global average pool.

    Args:
        depth: one of `DEPTHS`.
        channels: input channels.
        upsampled: side to which images are enlarged first, in pixels, bilinear with aligned corners; 0 for as they are.

    Raises:
        ValueError: unknown depth.

    Source: paper, Table 3 row 1 (ResNet-101 in place of the transformer) and Table 2; layers as in timm.
    """

    def __init__(self, *, depth: int, channels: int, upsampled: int = 0) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"unknown depth {depth!r}; allowed: {', '.join(map(str, DEPTHS))}")
        import timm  # with torchvision it costs a second, which planning would pay

        self.net = timm.create_model(
            f"resnet{depth}", pretrained=False, in_chans=channels, num_classes=0, global_pool=""
        )
        self.width, self.upsampled = int(self.net.num_features), upsampled

    @property
    def patch_width(self) -> int:
        """Width of `patches`."""
        return self.width

    @property
    def readout_width(self) -> int:
        """Width of `readout`."""
        return self.width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> tokens (B, 1+N, D); token 0 is the mean of the others."""
        map_BDhw: Tensor = self.net(self.enlarged(x_BCHW))
        patches_BND = map_BDhw.flatten(2).transpose(1, 2)
        return torch.cat([patches_BND.mean(1, keepdim=True), patches_BND], dim=1)

    def enlarged(self, x_BCHW: Tensor) -> Tensor:
        """Images as the network sees them.

        Source: gloria/models/vision_model.py:60; case 23 of the recorded functions.
        """
        if not self.upsampled:
            return x_BCHW
        return F.interpolate(x_BCHW, size=self.upsampled, mode="bilinear", align_corners=True)

    @property
    def third_width(self) -> int:
        """Width of the third stage's map."""
        return int(self.net.feature_info[3]["num_chs"])

    def with_third(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images -> tokens, and the map of the third stage, (B, C, h, w)."""
        found: list[Tensor] = []
        handle = self.net.layer3.register_forward_hook(lambda layer, inputs, output: found.append(output))
        try:
            return self(x_BCHW), found[0]
        finally:
            handle.remove()

    def patches(self, tokens: Tensor) -> Tensor:
        """(B, 1+N, D) -> (B, N, D)."""
        return tokens[:, 1:]

    def readout(self, tokens: Tensor) -> Tensor:
        """Global average pool, (B, D)."""
        return tokens[:, 0]

    @property
    def depth(self) -> int:
        """Stages."""
        return 4

    @property
    def readouts(self) -> tuple[str, ...]:
        """What `features` can read: there is no first token of its own."""
        return readouts.available(cls=False, depth=self.depth)

    def parts(self, tokens: Tensor) -> dict[str, Tensor]:
        """See `refers_bench.nets.readouts`; tokens are the places of the last feature map."""
        return {"auto": tokens[:, 0], "mean": tokens[:, 0], "tokens": self.patches(tokens)}

    def features(self, x_BCHW: Tensor, readout: str = "auto") -> Tensor:
        """See `refers_bench.nets.readouts.features`."""
        return readouts.features(self, x_BCHW, readout)


def build(depth: int, image: Mapping[str, Any], *, upsampled: int = 0) -> ConvNet:
    """A ResNet of this depth for a protocol's `image` section.

    `upsampled` is stated for images of `refers_bench.plugins.LENGTHS_AT` pixels, and scales with theirs.
    """
    return ConvNet(depth=depth, channels=image["channels"], upsampled=round(upsampled * image["size"] / LENGTHS_AT))
