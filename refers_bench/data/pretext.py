"""Makes the image pairs of restoration methods: flips, and the whole recipes of Models Genesis and TransVW.

Drawing random numbers for a batch (on the CPU) and applying them (on the images' device) are separate functions.

Source: methods-and-datasets.md 1 B and C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from refers_bench.data import distortions
from refers_bench.data.distortions import Shuffles
from refers_bench.data.transfer import moved
from refers_bench.data.windows import Windows

#: Side of the crops, in pixels, for which TransVW states the strength of its warp.
WARP_AT = 64


def draw_flips(count: int, generator: Generator) -> Tensor:
    """Axes (count, 3) of up to three flips, each after the other with probability 0.4; -1 where there is none.

    Source: Models Genesis draws the axis among channel (0), rows (1) and columns (2).
    """
    goes_on = (torch.rand(count, 3, generator=generator) < 0.4).long().cumprod(1).bool()
    return torch.where(goes_on, torch.randint(0, 3, (count, 3), generator=generator), -1)


def apply_flips(x_NHW: Tensor, axes_NR: Tensor) -> Tensor:
    """Flip each image along its axes in turn; of its one channel a flip changes nothing."""
    for axis in (1, 2):
        odd = moved((axes_NR == axis).sum(1) % 2 == 1, x_NHW.device)
        x_NHW = torch.where(odd[:, None, None], x_NHW.flip(axis), x_NHW)
    return x_NHW


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Bezier curves for some images: their numbers (M,), control points (M, 2, 2) and which of them fall (M,)."""

    images: Tensor
    control: Tensor
    inverted: Tensor


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What is painted over.

    Attributes:
        inside: blocks that are painted over, of each image.
        outside: windows that are kept, of each image.
        kind: (N,) 0 for nothing, 1 for the blocks, 2 for all but the windows.
        noise: (N, H, W), 16-bit integers as `distortions.draw_noise` gives them, or floats in [0, 1).
    """

    inside: Windows
    outside: Windows
    kind: Tensor
    noise: Tensor


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """All that is drawn for a batch of N images, on the CPU; None for a step that is left out.

    Attributes:
        displacement: (N, 2, H, W) 16-bit noise, as `distortions.draw_noise` gives it, that shifts rows and columns.
        shuffled: numbers of the images that are shuffled (M,).
        shuffles: of those M.
        curves: of intensities.
        painting: of all N.
    """

    displacement: Tensor | None = None
    shuffled: Tensor
    shuffles: Shuffles | None
    curves: Curves | None
    painting: Painting | None


def _drawn(
    shuffle_N: Tensor, curve_N: Tensor, kind_N: Tensor, generator: Generator, *, size: int, windows: int, most: int
) -> Distortion:
    """Draw shuffling, painting and curves, in this order, for the images that are to have them.

    Args:
        shuffle_N: whether an image is shuffled.
        curve_N: whether its intensities are changed.
        kind_N: of its painting.
        generator: on the CPU.
        size: of the images.
        windows: shuffled windows an image.
        most: painted blocks, and windows that are kept, at most.
    """
    shuffled, curved = (torch.nonzero(chosen)[:, 0] for chosen in (shuffle_N, curve_N))
    N = len(kind_N)
    shuffles = curves = None
    if len(shuffled):
        shuffles = distortions.draw_shuffles(len(shuffled), size, windows=windows, generator=generator)
    inside = distortions.draw_inpainting(N, size, generator, most=most)
    outside = distortions.draw_outpainting(N, size, generator, most=most)
    noise = distortions.draw_noise((N, size, size), generator)
    painting = Painting(inside=inside, outside=outside, kind=kind_N, noise=noise)
    if len(curved):
        control, inverted = distortions.draw_curves(len(curved), generator)
        curves = Curves(images=curved, control=control, inverted=inverted)
    return Distortion(shuffled=shuffled, shuffles=shuffles, curves=curves, painting=painting)


def _on(x_NHW: Tensor, images_M: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The batch with some of its images changed."""
    N, M = len(x_NHW), len(images_M)
    changed = change(x_NHW if M == N else x_NHW[moved(images_M, x_NHW.device)])
    if M == N:
        return changed
    taken = torch.arange(N)
    taken[images_M] = torch.arange(N, N + M)
    return torch.cat([x_NHW, changed])[moved(taken, x_NHW.device)]


def apply_distortion(x_NHW: Tensor, drawn: Distortion, *, alpha: float = 0.0, sigma: float = 1.0) -> Tensor:
    """Warp, then local shuffling, then intensities, then painting; what was not drawn is left out.

    Args:
        x_NHW: in [0, 1].
        drawn: for these images.
        alpha: of the warp, in pixels of these images.
        sigma: of the warp, in pixels of these images.
    """
    device = x_NHW.device
    if drawn.displacement is not None and alpha:
        noise = moved(drawn.displacement, device) * (alpha / 32768)
        x_NHW = distortions.warped(x_NHW, distortions.smoothed(noise, sigma=sigma, axes=(2, 3)))
    if (shuffles := drawn.shuffles) is not None:
        x_NHW = _on(x_NHW, drawn.shuffled, lambda x: distortions.apply_shuffles(x, shuffles))
    if (curves := drawn.curves) is not None:
        x_NHW = _on(x_NHW, curves.images, lambda x: distortions.apply_curves(x, curves.control, curves.inverted))
    if (painting := drawn.painting) is not None:
        H, W = x_NHW.shape[1:]
        kind = moved(painting.kind, device)[:, None, None]
        inside = painting.inside.mask(H, W, device=device) & (kind == 1)
        outside = ~painting.outside.mask(H, W, device=device) & (kind == 2)
        x_NHW = distortions.painted(x_NHW, inside | outside, distortions.as_noise(painting.noise, device))
    return x_NHW


def draw_genesis(
    count: int,
    size: int,
    generator: Generator,
    *,
    windows: int,
    shuffle: float,
    intensity: float,
    paint: float,
    inpaint: float,
) -> Distortion:
    """What Models Genesis draws: shuffling, a curve and painting, each with its probability.

    Args:
        count: N.
        size: of the images.
        generator: on the CPU.
        windows: shuffled windows an image.
        shuffle: probability of local shuffling.
        intensity: probability of a curve.
        paint: probability of painting.
        inpaint: probability of in-painting where there is painting; out-painting otherwise.
    """
    chance = torch.rand(4, count, generator=generator)
    kind = torch.where(chance[3] < inpaint, 1, 2) * (chance[2] < paint)
    return _drawn(chance[0] < shuffle, chance[1] < intensity, kind, generator, size=size, windows=windows, most=5)


def flips(x_NHW: Tensor, generator: Generator) -> Tensor:
    """Models Genesis' flips: the target is flipped with the image."""
    return apply_flips(x_NHW, draw_flips(len(x_NHW), generator))


def genesis(x_NHW: Tensor, generator: Generator, **chances: Any) -> Tensor:
    """Models Genesis' distortions of flipped images in [0, 1]; for `chances` see `draw_genesis`."""
    return apply_distortion(x_NHW, draw_genesis(len(x_NHW), x_NHW.shape[-1], generator, **chances))


def branches(chance_N: Tensor) -> Tensor:
    """Which of TransVW's four distortions follows from a number in [0, 1): shuffling, curve, in- or out-painting.

    Source: TransVW, data_loader.py: up to and with a quarter, a half, three quarters, beyond.
    """
    return torch.bucketize(chance_N, torch.tensor([0.25, 0.5, 0.75], dtype=chance_N.dtype))


def draw_visual_words(count: int, size: int, generator: Generator, *, windows: int) -> Distortion:
    """What TransVW draws: a warp always, then exactly one of local shuffling, intensity, in- and out-painting.

    Args:
        count: N.
        size: of the crops.
        generator: on the CPU.
        windows: shuffled windows a crop.
    """
    which = branches(torch.rand(count, generator=generator, dtype=torch.float64))
    noise, kind = distortions.draw_noise((count, 2, size, size), generator), (which - 1).clamp(min=0)
    drawn = _drawn(which == 0, which == 1, kind, generator, size=size, windows=windows, most=1)
    return replace(drawn, displacement=noise)


def visual_words(x_NHW: Tensor, generator: Generator, *, windows: int, alpha: float, sigma: float) -> Tensor:
    """TransVW's distortions of crops in [0, 1]; see `draw_visual_words`.

    Args:
        x_NHW: crops.
        generator: on the CPU.
        windows: shuffled windows.
        alpha: of the warp, in pixels at 64 x 64; grows with the square of the side, so that the warp looks alike.
        sigma: of the warp, in pixels at 64 x 64.
    """
    N, size = len(x_NHW), x_NHW.shape[-1]
    factor = size / WARP_AT
    drawn = draw_visual_words(N, size, generator, windows=windows)
    return apply_distortion(x_NHW, drawn, alpha=alpha * factor**2, sigma=sigma * factor)
