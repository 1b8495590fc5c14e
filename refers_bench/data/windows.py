"""Rectangles of batches of images: their masks, their pixels, and which of them covers each pixel last.

Rectangles are drawn on the CPU; masks and pixels are computed on the images' device, without waiting for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from refers_bench.data.transfer import together


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Rectangles of N images, K each: (N, K) int64 CPU tensors; height 0 stands for none."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def mask(self, height: int, width: int | None = None, *, device: torch.device | None = None) -> Tensor:
        """Pixels inside any of an image's rectangles (N, height, width).

        Args:
            height: of the images.
            width: of the images; as the height unless given.
            device: of the result; the CPU unless given.
        """
        device = device or torch.device("cpu")
        top, rows, left, columns = together(device, self.top, self.height, self.left, self.width)
        sides = []
        for start, length, side in ((top, rows, height), (left, columns, width or height)):
            place = torch.arange(side, device=device)
            sides.append(((place >= start[..., None]) & (place < (start + length)[..., None])).float())
        return torch.einsum("nkh,nkw->nhw", *sides) > 0

    def first(self, height: int, width: int) -> Tensor:
        """Places (N, K) of the upper left pixels in the flattened images."""
        image = torch.arange(len(self.top))[:, None]
        return (image * height + self.top) * width + self.left

    def before(self) -> Tensor:
        """How many pixels the rectangles before each one have (N, K), image after image."""
        areas = (self.height * self.width).flatten()
        return (areas.cumsum(0) - areas).view(self.top.shape)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """The pixels of rectangles, one after the other, row by row: M of them in R rows.

    Attributes:
        window: number of the rectangle, among all N x K, of each row (R,).
        run: number of the row of each pixel (M,).
        last: for each of the N * H * W pixels of the images the last of the M that covers it, -1 for none.
    """

    window: Tensor
    run: Tensor
    last: Tensor


def covered(windows: Windows, x_NHW: Tensor) -> Cover:
    """Which pixel of which rectangle covers each pixel of images: that of the last rectangle counts.

    Args:
        windows: of the images.
        x_NHW: images; only their shape and device matter.
    """
    (N, H, W), device = x_NHW.shape, x_NHW.device
    height, width = windows.height.flatten(), windows.width.flatten()
    rows, pixels = int(height.sum()), int((height * width).sum())
    drawn = (height.cumsum(0) - height, windows.first(H, W), windows.before(), width)
    high, above, *places = together(device, height, *(values.flatten() for values in drawn))
    window = torch.repeat_interleave(torch.arange(len(height), device=device), high, output_size=rows)
    first, before, wide = (values[window] for values in places)
    row = torch.arange(rows, device=device) - above[window]
    run = torch.repeat_interleave(torch.arange(rows, device=device), wide, output_size=pixels)
    numbers = torch.arange(pixels, device=device)
    target = (first + row * W - before - row * wide)[run] + numbers
    # The last one has the highest number: order-free, so equal on every device.
    last = torch.full((N * H * W,), -1, dtype=torch.long, device=device)
    return Cover(window=window, run=run, last=last.scatter_reduce_(0, target, numbers, "amax"))
