"""Draws coloured scenes of textured shapes, labelled by shape, in place of natural photographs.

They have what radiographs have not (colour, hard edges, objects anywhere) and share with photographs a 1/f background.
They replace ImageNet where no weights are available. Results on them are marked as such and do not apply to ImageNet.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

#: Shapes: label 0, 1, ...
SHAPES = ("disc", "square", "triangle", "cross", "ring", "bar", "stripes", "checks")


def _root(x: Tensor) -> Tensor:
    """Square roots on the CPU, correctly rounded on every processor, unlike those of torch (from MKL)."""
    return torch.from_numpy(np.sqrt(x.numpy()))


def background(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Coloured noise whose amplitude falls with frequency as 1/f, (count, 3, size, size) in [0, 1]."""
    spectrum = torch.fft.rfft2(torch.randn(count, 3, size, size, generator=generator))
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = _root(rows**2 + columns**2).clamp(min=1 / size)
    noise = torch.fft.irfft2(spectrum / frequency, s=(size, size))
    # Channels are mixed, so that hues differ between images rather than between pixels alone.
    mixed = torch.einsum("ncd,ndhw->nchw", torch.randn(count, 3, 3, generator=generator), noise)
    low, high = mixed.amin((2, 3), keepdim=True), mixed.amax((2, 3), keepdim=True)
    return (mixed - low) / (high - low).clamp(min=1e-6)


def masks(labels_N: Tensor, u_NHW: Tensor, v_NHW: Tensor) -> Tensor:
    """Pixels of each shape in coordinates in which it fills about [-1, 1] x [-1, 1]; bool (N, H, W)."""
    u, v, radius = u_NHW.abs(), v_NHW.abs(), _root(u_NHW**2 + v_NHW**2)
    inside = (u < 1) & (v < 1)
    every = torch.stack(
        [
            radius < 1,
            inside & (u < 0.85) & (v < 0.85),
            inside & (u < (v_NHW + 1) / 2),
            inside & ((u < 0.3) | (v < 0.3)),
            (radius < 1) & (radius > 0.6),
            inside & (u < 0.3),
            inside & (torch.remainder(u_NHW * 2, 1) < 0.5),
            inside & ((torch.floor(u_NHW * 2) + torch.floor(v_NHW * 2)).remainder(2) < 0.5),
        ]
    )
    return every[labels_N, torch.arange(len(labels_N))]


def scenes(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Procedural photographs and their shapes.

    Args:
        count: N.
        size: side, in pixels.
        generator: on the CPU; every random number comes from it.

    Returns:
        Images (N, 3, size, size) in [0, 1] and labels (N,) of `SHAPES`.
    """
    labels = torch.randint(0, len(SHAPES), (count,), generator=generator)
    place = torch.rand(2, count, generator=generator) * 0.6 - 0.3
    extent = 0.35 + 0.4 * torch.rand(count, generator=generator)
    angle = (torch.rand(count, generator=generator) - 0.5) * math.pi / 3
    axis = torch.linspace(-1, 1, size)
    y, x = (axis[None, :, None] - place[0, :, None, None], axis[None, None, :] - place[1, :, None, None])
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v = (cos * x + sin * y) / extent[:, None, None], (cos * y - sin * x) / extent[:, None, None]
    shape = masks(labels, u, v)[:, None]
    colour = torch.rand(count, 3, 1, 1, generator=generator)
    texture = 0.2 * (background(count, size, generator) - 0.5)
    return torch.where(shape, (colour + texture).clamp(0, 1), background(count, size, generator)), labels
