"""Averages radiographs down to a few hundred grey values: an encoder without weights."""

from __future__ import annotations

from torch import Tensor, nn


class Thumbnail(nn.Module):
    """Grey values of a radiograph averaged down to side x side pixels.

    Args:
        side: pixels of a side.
    """

    def __init__(self, *, side: int) -> None:
        super().__init__()
        self.side = side

    @property
    def width(self) -> int:
        """Features of a radiograph."""
        return self.side**2

    @property
    def readout_width(self) -> int:
        """Width of `readout`."""
        return self.width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> one token each, (B, 1, side**2): its pixels, row by row."""
        grey_B1HW = x_BCHW.mean(1, keepdim=True)
        small_B1SS: Tensor = nn.functional.adaptive_avg_pool2d(grey_B1HW, self.side)
        return small_B1SS.flatten(2)

    def readout(self, tokens: Tensor) -> Tensor:
        """Features that are classified, (B, side**2)."""
        return tokens[:, 0]

    def features(self, x_BCHW: Tensor, readout: str = "auto") -> Tensor:
        """Features of normalised images, (B, side**2).

        Args:
            x_BCHW: as for `forward`.
            readout: "auto".

        Raises:
            ValueError: another readout.
        """
        if readout != "auto":
            raise ValueError(f"readout '{readout}' of {type(self).__name__}; it has auto")
        return self.readout(self(x_BCHW))
