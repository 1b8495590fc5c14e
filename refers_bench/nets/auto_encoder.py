"""A convolutional auto-encoder without skip connections, whose pooled code says which radiographs look alike."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets.restoration import stage

#: Channels of the first stage; each further one doubles them, up to the code's.
FIRST_WIDTH = 32


class AutoEncoder(nn.Module):
    """Grey images to a small map of `width` channels and back; its mean over places is the image's feature.

    Without skip connections everything must pass through the map (the official U-Net has them, and its code need not
    hold much of the image).

    Args:
        size: side of the images, in pixels; a multiple of 16.
        width: of the feature.

    Raises:
        ValueError: sizes that do not fit.

    Source: methods-and-datasets.md 1 C (features: 512 numbers, mean over the bottleneck).
    """

    def __init__(self, *, size: int, width: int) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"size {size} is no multiple of 16")
        widths = [min(width, FIRST_WIDTH << number) for number in range(3)] + [width]
        down, up = [1, *widths], [*reversed(widths), FIRST_WIDTH]
        self.encoder = nn.Sequential(*(stage(a, b, stride=2) for a, b in itertools.pairwise(down)))
        self.decoder = nn.ModuleList(stage(a, b) for a, b in itertools.pairwise(up))
        self.last = nn.Conv2d(FIRST_WIDTH, 1, 1)

    def features(self, x_BCHW: Tensor) -> Tensor:
        """(B, 1, size, size) -> (B, width)."""
        return self.encoder(x_BCHW).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 1, size, size) -> the same, restored; no activation at the end."""
        x = self.encoder(x_BCHW)
        for up in self.decoder:
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        restored: Tensor = self.last(x)
        return restored

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """A batch with images (B, 1, H, W) -> {"restoration": scalar}."""
        return {"restoration": F.mse_loss(self(batch.images_BCHW).float(), batch.images_BCHW)}
