"""Distorts batches of radiographs: swapped squares, shuffled pixels, bent intensities, painting, elastic warps, holes.

Images are in [0, 1] before normalisation, except for holes. Random numbers are drawn on the CPU, from a generator, and
applied on the images' device, batched, without waiting for it. Drawing and applying are separate functions, so that the
latter can be compared with a plain loop and with recorded draws of the authors' code.

Source: methods-and-datasets.md 1 A-C. Sizes in pixels are the official ones at 224 x 224 and scale with the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.data.transfer import moved, together
from refers_bench.data.windows import Windows, covered
from refers_bench.plugins import LENGTHS_AT

#: Points of a Bezier curve; the official code takes 100,000, which moves no value by 1e-4.
CURVE_POINTS = 1000
#: Permutations of each length that the windows of a batch choose from.
POOL = 16
#: Pairs of squares that are drawn for each swap.
TRIES = 32
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


def draw_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform noise as 16-bit integers (int16, -32768 to 32767): a quarter of the time and half the copy of floats."""
    count = int(np.prod(shape))
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return bits.view(torch.int16)[:count].view(*shape)


def as_noise(bits: Tensor, device: torch.device) -> Tensor:
    """Drawn bits as float32 in [0, 1), on the device; floats are there already."""
    if bits.is_floating_point():
        return moved(bits, device)
    return moved(bits, device) / 65536 + 0.5


# Context Restoration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Swaps:
    """Pairs of equal squares that change places, one after the other: (N, T) tensors; side 0 stands for none."""

    top_a: Tensor
    left_a: Tensor
    top_b: Tensor
    left_b: Tensor
    side: Tensor


def draw_swaps(count: int, size: int, *, swaps: int, side: tuple[float, float], generator: torch.Generator) -> Swaps:
    """Squares at uniform places, not aligned to any grid, that do not overlap.

    Args:
        count: N.
        size: of the images.
        swaps: T of each image.
        side: smallest and largest side at 224 x 224, uniform.
        generator: on the CPU.

    Returns:
        Of `TRIES` pairs drawn for each swap the first that does not overlap, and none where all do.
    """
    sides = _integers(scaled(side[0], size), scaled(side[1], size), (count, swaps), generator)
    limit = (size - sides)[..., None]
    top_a, left_a, top_b, left_b = (_integers(0, limit, (count, swaps, TRIES), generator) for _ in range(4))
    apart = ((top_a - top_b).abs() >= sides[..., None]) | ((left_a - left_b).abs() >= sides[..., None])
    first = apart.long().argmax(-1, keepdim=True)
    chosen = [place.gather(-1, first)[..., 0] for place in (top_a, left_a, top_b, left_b)]
    top_a, left_a, top_b, left_b = chosen
    sides = torch.where(apart.any(-1), sides, 0)
    return Swaps(top_a=top_a, left_a=left_a, top_b=top_b, left_b=left_b, side=sides)


def apply_swaps(x_NHW: Tensor, swaps: Swaps) -> Tensor:
    """Apply the swaps one after the other: later ones move what earlier ones have moved."""
    N, H, W = x_NHW.shape
    source = moved(swap_sources(swaps, H, W), x_NHW.device)[:, :-1]
    return x_NHW.reshape(N, -1).gather(1, source.long()).view(N, H, W)


def swap_sources(swaps: Swaps, height: int, width: int) -> Tensor:
    """Where each pixel of swapped images comes from: int32 (N, height * width + 1), on the CPU.

    Only the squares are touched, in place: a few milliseconds for a batch, on the thread that draws it. The last place
    stands for all that lies outside a smaller square.
    """
    N, T = swaps.side.shape
    outside = height * width
    source = torch.arange(outside + 1, dtype=torch.int32).repeat(N, 1)
    largest = int(swaps.side.max()) if swaps.side.numel() else 0
    dy, dx = (axis.reshape(1, -1) for axis in torch.meshgrid(*[torch.arange(largest)] * 2, indexing="ij"))
    inner = dy * width + dx
    for t in range(T):
        side = swaps.side[:, t, None]
        inside = (dy < side) & (dx < side)
        a, b = (
            torch.where(inside, (top[:, t, None] * width + left[:, t, None]) + inner, outside)
            for top, left in ((swaps.top_a, swaps.left_a), (swaps.top_b, swaps.left_b))
        )
        content_a, content_b = source.gather(1, a), source.gather(1, b)
        source.scatter_(1, a, content_b).scatter_(1, b, content_a)
    return source


# Local pixel shuffling -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shuffles:
    """Windows and how the pixels of each are permuted: new pixel i is old pixel ``pool[start + i]`` of the window.

    Attributes:
        windows: K of each image.
        pool: permutations, one after the other, integers.
        start: where in it a window's permutation begins (N, K) int64.
    """

    windows: Windows
    pool: Tensor
    start: Tensor


def draw_shuffles(count: int, size: int, *, windows: int, generator: torch.Generator) -> Shuffles:
    """Windows of sides uniform in 1..size // 10 at uniform places, and permutations of their pixels.

    A window takes one of `POOL` permutations of its number of pixels, which are drawn anew for every batch: each is
    uniform, and windows of one size in one batch may share theirs. One for each of a batch's 70,000 windows would cost
    more than the rest of its distortions together.
    """
    largest = max(1, size // 10)
    height, width = (_integers(1, largest, (count, windows), generator) for _ in range(2))
    top, left = (_integers(0, size - side, (count, windows), generator) for side in (height, width))
    area = height * width
    pool = permutations(largest**2, POOL, generator)
    start = _integers(0, POOL - 1, (count, windows), generator) * pool.shape[1] + area * (area - 1) // 2
    return Shuffles(windows=Windows(top=top, left=left, height=height, width=width), pool=pool.flatten(), start=start)


def permutations(longest: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` uniform permutations of each length a = 1 .. longest: int16 (count, longest * (longest + 1) / 2).

    Those of length a begin at a * (a - 1) / 2. Each grows out of the one before it by the inside-out Fisher-Yates
    shuffle, so those of one row depend on each other, and each by itself is uniform.
    """
    chosen = torch.rand(longest, count, generator=generator, dtype=torch.float64).numpy()
    chosen = (chosen * np.arange(1, longest + 1)[:, None]).astype(np.int64)
    row, rows = np.zeros((count, longest), np.int16), np.arange(count)
    found = np.empty((count, longest * (longest + 1) // 2), np.int16)
    for a, other in enumerate(chosen):
        row[:, a] = row[rows, other]
        row[rows, other] = a
        found[:, a * (a + 1) // 2 : (a + 1) * (a + 2) // 2] = row[:, : a + 1]
    return torch.from_numpy(found)


def apply_shuffles(x_NHW: Tensor, shuffles: Shuffles) -> Tensor:
    """Permute the pixels of each window: read from the image as it was, the last window that covers a pixel counts."""
    (N, H, W), device, windows = x_NHW.shape, x_NHW.device, shuffles.windows
    cover = covered(windows, x_NHW)
    if not len(cover.run):
        return x_NHW.clone()
    # Only what is seen at the end is looked up.
    seen = cover.last.clamp(min=0)
    run = cover.run[seen]
    drawn = (windows.first(H, W), windows.width, shuffles.start - windows.before())
    pool, *places = together(device, shuffles.pool, *(values.flatten() for values in drawn))
    first, wide, shift = (values[cover.window][run] for values in places)
    order = pool[shift + seen].long()
    row = order.div(wide, rounding_mode="floor")
    flat = x_NHW.reshape(-1)
    return torch.where(cover.last >= 0, flat[first + row * (W - wide) + order], flat).view(N, H, W)


# Intensities -----------------------------------------------------------------------------------------------------


def draw_curves(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inner control points (N, 2, 2) of cubic Bezier curves from (0, 0) to (1, 1), and which are turned upside down."""
    return torch.rand(count, 2, 2, generator=generator), torch.rand(count, generator=generator) < 0.5


def curve_points(control_N22: Tensor, inverted_N: Tensor) -> tuple[Tensor, Tensor]:
    """Both coordinates (N, `CURVE_POINTS`) of the curves: x ascends; y ascends, or descends from 1 to 0 where inverted.

    Such curves are monotone: with inner points in [0, 1] neither coordinate ever turns back.
    """
    t = torch.linspace(0, 1, CURVE_POINTS)
    first, second, last = 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    x, y = (control_N22[:, :1, axis] * first + control_N22[:, 1:, axis] * second + last for axis in range(2))
    return x, torch.where(inverted_N[:, None], y.flip(1), y)


def apply_curves(x_NHW: Tensor, control_N22: Tensor, inverted_N: Tensor) -> Tensor:
    """Map each image's intensities by its curve, linearly between the curve's points."""
    N, H, W = x_NHW.shape
    xs, ys = curve_points(control_N22, inverted_N)
    # Of points with one abscissa in float32, where a curve is steep, the last one: 1 becomes the curve's end.
    run = xs.diff(dim=1)
    slopes = F.pad(torch.where(run > 0, ys.diff(dim=1) / run, 0.0), (0, 1))
    right, xs, ys, slopes = together(x_NHW.device, xs[:, 1:].contiguous(), xs, ys, slopes)
    values = x_NHW.reshape(N, -1).contiguous()
    left = torch.searchsorted(right, values, right=True)
    return torch.addcmul(ys.gather(1, left), values - xs.gather(1, left), slopes.gather(1, left)).view(N, H, W)


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
    return _blocks(count, size, low=size // 6, high=size // 3, most=most, always=int(most == 1), generator=generator)


def draw_outpainting(count: int, size: int, generator: torch.Generator, *, most: int = 5) -> Windows:
    """Windows that are kept: sides size - (3/7 to 4/7 of size); one for sure, up to four more with 0.95 each."""
    low, high = size - 4 * size // 7, size - 3 * size // 7
    return _blocks(count, size, low=low, high=high, most=most, always=1, generator=generator)


def painted(x_NHW: Tensor, mask_NHW: Tensor, noise_NHW: Tensor) -> Tensor:
    """Noise in place of the masked pixels, all on the images' device."""
    return torch.where(mask_NHW, noise_NHW, x_NHW)


# Warps --------------------------------------------------------------------------------------------------------------


def smoothed(x: Tensor, *, sigma: float, axes: Sequence[int]) -> Tensor:
    """A Gaussian filter along some axes, outside of which there are zeros.

    Args:
        x: float.
        sigma: in pixels; the filter is cut off at the whole pixel next to four of them.
        axes: of x.

    Source: scipy.ndimage.gaussian_filter(mode="constant", truncate=4), as TransVW calls it.
    """
    radius = int(4 * sigma + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    taps = F.pad(taps / taps.sum(), (1, 1))
    for axis in axes:
        # A product with a band matrix: cuts off what lies outside, and costs less than a convolution so long.
        place = torch.arange(x.shape[axis])
        apart = (place[:, None] - place).clamp(-radius - 1, radius + 1)
        band = moved(taps[apart + radius + 1].to(x.dtype), x.device)
        last = axis % x.ndim == x.ndim - 1
        x = x @ band if last else (band @ x.movedim(axis, -2)).movedim(-2, axis)
    return x


def warped(x_NHW: Tensor, shift_N2HW: Tensor) -> Tensor:
    """Read every pixel from a shifted place, bilinear; beyond the border the image is reflected, its edge repeated.

    Args:
        x_NHW: images.
        shift_N2HW: in pixels; rows, then columns.
    """
    H, W = x_NHW.shape[1:]
    columns, rows = ((2 * torch.arange(side, device=x_NHW.device) + 1) / side - 1 for side in (W, H))
    place = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    # In units of half an image.
    scale = moved(torch.tensor([2 / W, 2 / H]), x_NHW.device)
    grid = torch.addcmul(place, shift_N2HW.flip(1).permute(0, 2, 3, 1), scale)
    return F.grid_sample(x_NHW[:, None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]


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
    holes = Windows(top=top, left=left, height=bottom - top, width=right - left)
    return x_NCHW.masked_fill(holes.mask(size, device=x_NCHW.device)[:, None], 0.0)
