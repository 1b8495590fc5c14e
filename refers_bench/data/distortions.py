"""How do self-supervised methods distort a radiograph: swaps, shuffled pixels, bent intensities, painting, warps?

Every function takes images in [0, 1] before normalisation and a generator on the CPU, draws its numbers first, and
applies them in a few tensor operations on the images' device. What is drawn and how it is applied are functions of
their own, so that the latter can be compared with an obvious loop.

Source: methods-and-datasets.md 1 A-C. Sizes in pixels are the official ones at 224 x 224 and scale with the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.plugins import LENGTHS_AT

#: Points of a Bezier curve; the official code takes 100,000, which moves no value by 1e-4.
CURVE_POINTS = 1000
#: Pixels between a painted block and the border.
MARGIN = 3


def scaled(pixels: float, size: int) -> int:
    """Pixels at 224 x 224 as pixels of a size x size image, at least 1.

    Example:
        >>> scaled(20, 224), scaled(20, 32)
        (20, 3)
    """
    return max(1, round(pixels * size / LENGTHS_AT))


def _integers(low: Tensor | int, high: Tensor | int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform integers in [low, high], both included; the bounds may be tensors of the shape."""
    span = torch.as_tensor(high) - torch.as_tensor(low) + 1
    return torch.as_tensor(low) + (torch.rand(shape, generator=generator, dtype=torch.float64) * span).long()


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Rectangles of N images, K each: (N, K) int64 CPU tensors; height 0 stands for none."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def mask(self, size: int) -> Tensor:
        """Pixels inside any of an image's rectangles (N, size, size)."""
        place = torch.arange(size)
        rows = (place >= self.top[..., None]) & (place < (self.top + self.height)[..., None])
        columns = (place >= self.left[..., None]) & (place < (self.left + self.width)[..., None])
        return torch.einsum("nkh,nkw->nhw", rows.float(), columns.float()) > 0


# Context Restoration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Swaps:
    """Pairs of equal squares that change places, one after the other: (N, T) tensors; side 0 stands for none."""

    top_a: Tensor
    left_a: Tensor
    top_b: Tensor
    left_b: Tensor
    side: Tensor


def draw_swaps(
    count: int, size: int, *, swaps: int, side: tuple[float, float], generator: torch.Generator, tries: int = 32
) -> Swaps:
    """Squares at uniform places, not aligned to any grid, that do not overlap.

    Args:
        count: N.
        size: of the images.
        swaps: T of each image.
        side: smallest and largest side at 224 x 224, uniform.
        generator: on the CPU.
        tries: pairs drawn for each swap; the first that does not overlap is taken, and none where all do.
    """
    sides = _integers(scaled(side[0], size), scaled(side[1], size), (count, swaps), generator)
    limit = (size - sides)[..., None]
    top_a, left_a, top_b, left_b = (_integers(0, limit, (count, swaps, tries), generator) for _ in range(4))
    apart = ((top_a - top_b).abs() >= sides[..., None]) | ((left_a - left_b).abs() >= sides[..., None])
    first = apart.long().argmax(-1, keepdim=True)
    chosen = [place.gather(-1, first)[..., 0] for place in (top_a, left_a, top_b, left_b)]
    top_a, left_a, top_b, left_b = chosen
    sides = torch.where(apart.any(-1), sides, 0)
    return Swaps(top_a=top_a, left_a=left_a, top_b=top_b, left_b=left_b, side=sides)


def apply_swaps(x_NHW: Tensor, swaps: Swaps) -> Tensor:
    """Swap on the running image, so that later swaps move what earlier ones brought."""
    N, H, W = x_NHW.shape
    # Where each pixel comes from, with one place more for what lies outside a smaller square.
    source = torch.arange(H * W + 1).repeat(N, 1)
    largest = int(swaps.side.max()) if swaps.side.numel() else 0
    dy, dx = torch.meshgrid(torch.arange(largest), torch.arange(largest), indexing="ij")
    dy, dx = dy.reshape(1, -1), dx.reshape(1, -1)
    for t in range(swaps.side.shape[1]):
        side = swaps.side[:, t, None]
        inside = (dy < side) & (dx < side)
        a = torch.where(inside, (swaps.top_a[:, t, None] + dy) * W + swaps.left_a[:, t, None] + dx, H * W)
        b = torch.where(inside, (swaps.top_b[:, t, None] + dy) * W + swaps.left_b[:, t, None] + dx, H * W)
        content_a, content_b = source.gather(1, a), source.gather(1, b)
        source = source.scatter(1, a, content_b).scatter(1, b, content_a)
    places = source[:, : H * W].to(x_NHW.device)
    return x_NHW.reshape(N, -1).gather(1, places).view(N, H, W)


# Local pixel shuffling -------------------------------------------------------------------------------------------


def draw_shuffles(count: int, size: int, *, windows: int, generator: torch.Generator) -> tuple[Windows, Tensor]:
    """Windows of sides uniform in 1..size // 10, and a random number for each of their pixels, window after window."""
    largest = max(1, size // 10)
    height, width = (_integers(1, largest, (count, windows), generator) for _ in range(2))
    top, left = (_integers(0, size - side, (count, windows), generator) for side in (height, width))
    noise = torch.rand(int((height * width).sum()), generator=generator, dtype=torch.float64)
    return Windows(top=top, left=left, height=height, width=width), noise


def apply_shuffles(x_NHW: Tensor, windows: Windows, noise: Tensor) -> Tensor:
    """Permute the pixels of each window: read from the image as it was, the last window that covers a pixel counts.

    Args:
        x_NHW: images.
        windows: K of each image.
        noise: in [0, 1), one number for each pixel of each window in order; its ranks within a window permute.
    """
    N, H, W = x_NHW.shape
    device = x_NHW.device
    areas = (windows.height * windows.width).flatten()
    if not len(noise):
        return x_NHW.clone()
    window = torch.repeat_interleave(torch.arange(len(areas)), areas).to(device)
    starts = (areas.cumsum(0) - areas).to(device)
    inside = torch.arange(len(window), device=device) - starts[window]
    # Windows lie one after the other, so one sort permutes within all of them.
    order = torch.argsort(window + noise.to(device)) - starts[window]
    wide, top, left = (values.flatten().to(device)[window] for values in (windows.width, windows.top, windows.left))
    image = window // windows.height.shape[1]
    base = image * H * W
    target = base + (top + inside // wide) * W + left + inside % wide
    source = base + (top + order // wide) * W + left + order % wide
    # Of several windows over one pixel the last one has the highest number: order-free, so equal on every device.
    last = torch.full((N * H * W,), -1, dtype=torch.long, device=device)
    last = last.scatter_reduce(0, target, torch.arange(len(window), device=device), "amax")
    flat = x_NHW.reshape(-1)
    return torch.where(last >= 0, flat[source[last.clamp(min=0)]], flat).view(N, H, W)


# Intensities -----------------------------------------------------------------------------------------------------


def draw_curves(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inner control points (N, 2, 2) of cubic Bezier curves from (0, 0) to (1, 1), and which are turned upside down."""
    return torch.rand(count, 2, 2, generator=generator), torch.rand(count, generator=generator) < 0.5


def curve_points(control_N22: Tensor, inverted_N: Tensor, *, points: int = CURVE_POINTS) -> tuple[Tensor, Tensor]:
    """Both coordinates (N, points) of the curves: x ascends; y ascends, or descends from 1 to 0 where inverted.

    Such curves are monotone: with inner points in [0, 1] neither coordinate ever turns back.
    """
    t = torch.linspace(0, 1, points)
    first, second, last = 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    x, y = (control_N22[:, :1, axis] * first + control_N22[:, 1:, axis] * second + last for axis in range(2))
    return x, torch.where(inverted_N[:, None], y.flip(1), y)


def apply_curves(x_NHW: Tensor, control_N22: Tensor, inverted_N: Tensor) -> Tensor:
    """Map each image's intensities by its curve, linearly between the curve's points."""
    N, H, W = x_NHW.shape
    xs, ys = (values.to(x_NHW.device) for values in curve_points(control_N22, inverted_N))
    values = x_NHW.reshape(N, -1)
    right = torch.searchsorted(xs, values.contiguous()).clamp(1, xs.shape[1] - 1)
    x0, x1, y0, y1 = xs.gather(1, right - 1), xs.gather(1, right), ys.gather(1, right - 1), ys.gather(1, right)
    share = ((values - x0) / (x1 - x0).clamp(min=1e-12)).clamp(0, 1)
    return (y0 + share * (y1 - y0)).view(N, H, W)


# Painting --------------------------------------------------------------------------------------------------------


def _blocks(
    count: int, size: int, *, low: int, high: int, most: int, always: int, generator: torch.Generator
) -> Windows:
    """Up to `most` rectangles of sides in [low, high], `always` of them for sure, each further one with 0.95.

    The first one that does not come ends the row.
    """
    height, width = (_integers(low, high, (count, most), generator) for _ in range(2))
    top, left = (_integers(MARGIN, size - side - MARGIN, (count, most), generator) for side in (height, width))
    come = torch.rand(count, most, generator=generator) < 0.95
    come[:, :always] = True
    come = come.long().cumprod(1).bool()
    return Windows(top=top, left=left, height=torch.where(come, height, 0), width=torch.where(come, width, 0))


def draw_inpainting(count: int, size: int, generator: torch.Generator, *, most: int = 5) -> Windows:
    """Blocks that are painted over: sides size // 6 to size // 3; at most five, each with probability 0.95."""
    return _blocks(
        count, size, low=size // 6, high=size // 3, most=most, always=most if most == 1 else 0, generator=generator
    )


def draw_outpainting(count: int, size: int, generator: torch.Generator, *, most: int = 5) -> Windows:
    """Windows that are kept: sides size - (3/7 to 4/7 of size); one for sure, up to four more with 0.95 each."""
    low, high = size - 4 * size // 7, size - 3 * size // 7
    return _blocks(count, size, low=low, high=high, most=most, always=1, generator=generator)


def painted(x_NHW: Tensor, mask_NHW: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise in [0, 1) in place of the masked pixels."""
    noise = torch.rand(x_NHW.shape, generator=generator).to(x_NHW.device)
    return torch.where(mask_NHW.to(x_NHW.device), noise, x_NHW)


# Whole recipes ---------------------------------------------------------------------------------------------------


def flips(x_NHW: Tensor, generator: torch.Generator) -> Tensor:
    """Up to three rounds, each after the other with probability 0.4, along one of (none, rows, columns).

    Source: Models Genesis draws the axis among channel, rows and columns; flipping one channel changes nothing.
    """
    N = len(x_NHW)
    goes_on = (torch.rand(N, 3, generator=generator) < 0.4).long().cumprod(1).bool()
    axis = torch.randint(0, 3, (N, 3), generator=generator)
    for dimension in (1, 2):
        odd = ((goes_on & (axis == dimension)).sum(1) % 2 == 1).to(x_NHW.device)
        x_NHW = torch.where(odd[:, None, None], x_NHW.flip(dimension), x_NHW)
    return x_NHW


def _where(chosen_N: Tensor, changed: Tensor, x_NHW: Tensor) -> Tensor:
    return torch.where(chosen_N.to(x_NHW.device)[:, None, None], changed, x_NHW)


def genesis(
    x_NHW: Tensor, generator: torch.Generator, *, windows: int, shuffle: float, intensity: float, paint: float,
    inpaint: float,
) -> Tensor:  # fmt: skip
    """Local shuffling, then intensities, then in- or out-painting, each with its probability.

    Args:
        x_NHW: in [0, 1], flipped already: it is the target, too.
        generator: on the CPU.
        windows: shuffled windows an image.
        shuffle: probability of local shuffling.
        intensity: probability of a curve.
        paint: probability of painting.
        inpaint: probability of in-painting where there is painting; out-painting otherwise.
    """
    N, size = len(x_NHW), x_NHW.shape[-1]
    chance = torch.rand(4, N, generator=generator)
    shuffled = torch.nonzero(chance[0] < shuffle)[:, 0]
    if len(shuffled):
        drawn = draw_shuffles(len(shuffled), size, windows=windows, generator=generator)
        x_NHW = x_NHW.index_copy(0, shuffled.to(x_NHW.device), apply_shuffles(x_NHW[shuffled.to(x_NHW.device)], *drawn))
    x_NHW = _where(chance[1] < intensity, apply_curves(x_NHW, *draw_curves(N, generator)), x_NHW)
    inside = draw_inpainting(N, size, generator).mask(size)
    outside = ~draw_outpainting(N, size, generator).mask(size)
    mask = torch.where((chance[3] < inpaint)[:, None, None], inside, outside) & (chance[2] < paint)[:, None, None]
    return painted(x_NHW, mask, generator)


def displaced(x_NHW: Tensor, noise_N2HW: Tensor, *, alpha: float, sigma: float) -> Tensor:
    """Elastic deformation: noise smoothed by a Gaussian and multiplied by alpha displaces every pixel, reflecting.

    Args:
        x_NHW: images.
        noise_N2HW: in [-1, 1]; rows, then columns.
        alpha: factor on the smoothed noise, in pixels.
        sigma: of the Gaussian, in pixels; cut off at four of them, or at the image's side.
    """
    _, H, W = x_NHW.shape
    radius = min(math.ceil(4 * sigma), H - 1, W - 1)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=x_NHW.device) / sigma) ** 2)
    taps = taps / taps.sum()
    smooth = noise_N2HW.to(x_NHW.device).flatten(0, 1)[:, None]
    smooth = F.conv2d(F.pad(smooth, (0, 0, radius, radius), mode="reflect"), taps[None, None, :, None])
    smooth = F.conv2d(F.pad(smooth, (radius, radius, 0, 0), mode="reflect"), taps[None, None, None, :])
    shift = smooth.view(-1, 2, H, W) * alpha
    rows = torch.arange(H, device=x_NHW.device)[:, None] + shift[:, 0]
    columns = torch.arange(W, device=x_NHW.device)[None, :] + shift[:, 1]
    grid = torch.stack([(2 * columns + 1) / W - 1, (2 * rows + 1) / H - 1], -1)
    return F.grid_sample(x_NHW[:, None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]


def visual_words(x_NHW: Tensor, generator: torch.Generator, *, windows: int, alpha: float, sigma: float) -> Tensor:
    """TransVW's: an elastic warp always, then exactly one of local shuffling, intensity, in- and out-painting.

    Args:
        x_NHW: crops in [0, 1].
        generator: on the CPU.
        windows: shuffled windows.
        alpha: of the warp, in pixels at 64 x 64; grows with the square of the side, so that the warp looks alike.
        sigma: of the warp, in pixels at 64 x 64.
    """
    N, size = len(x_NHW), x_NHW.shape[-1]
    which = torch.randint(0, 4, (N,), generator=generator)
    noise = torch.rand(N, 2, size, size, generator=generator) * 2 - 1
    factor = size / 64
    x_NHW = displaced(x_NHW, noise, alpha=alpha * factor**2, sigma=sigma * factor)
    shuffled = apply_shuffles(x_NHW, *draw_shuffles(N, size, windows=windows, generator=generator))
    bent = apply_curves(x_NHW, *draw_curves(N, generator))
    inside = draw_inpainting(N, size, generator, most=1).mask(size)
    outside = ~draw_outpainting(N, size, generator, most=1).mask(size)
    result = _where(which == 0, shuffled, _where(which == 1, bent, x_NHW))
    mask = (inside & (which == 2)[:, None, None]) | (outside & (which == 3)[:, None, None])
    return painted(result, mask, generator)


def cutout(x_NCHW: Tensor, generator: torch.Generator, *, holes: int, side: float) -> Tensor:
    """Squares set to 0 (of normalised images), centred anywhere and clipped at the borders.

    Args:
        x_NCHW: normalised.
        generator: on the CPU.
        holes: of each image.
        side: at 224 x 224.
    """
    N, size = len(x_NCHW), x_NCHW.shape[-1]
    centres_NH2 = torch.randint(0, size, (2, N, holes), generator=generator).movedim(0, -1)
    return cut_at(x_NCHW, centres_NH2, length=scaled(side, size))


def cut_at(x_NCHW: Tensor, centres_NH2: Tensor, *, length: int) -> Tensor:
    """Squares set to 0, half of `length`, rounded down, to either side of their centres (row, column).

    Args:
        x_NCHW: normalised.
        centres_NH2: on the CPU, in pixels.
        length: in pixels.

    Source: github.com/funnyzhou/C2L_MICCAI2020, utils/cutout.py.
    """
    size, half = x_NCHW.shape[-1], length // 2
    top, left = (centres_NH2 - half).clamp(min=0).unbind(-1)
    bottom, right = (centres_NH2 + half).clamp(max=size).unbind(-1)
    mask = Windows(top=top, left=left, height=bottom - top, width=right - left).mask(size)
    return x_NCHW.masked_fill(mask.to(x_NCHW.device)[:, None], 0.0)
