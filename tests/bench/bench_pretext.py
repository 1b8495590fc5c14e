"""Measures the pretext transforms of a batch of 96 at 224 pixels: against the loops they replace, and against a step.

For each transform, in one run on this processor:

1. the loop that it replaces (kept below) over the transform, both with the same draws and with the same results:
   exactly for swaps and shuffles;
2. what is left to the processor, on the thread that draws batches: the drawing;
3. what a GPU has to do: operations and bytes, counted on the "meta" device, so that nothing can wait for it. From these
   the least time on an H100 (3.35 TB/s, 60 TFLOP/s in float32) and its share of a step of 96 images at 40 % of the peak
   (989 TFLOP/s) and of a step of 70 ms. Counted, not measured: there is no GPU here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from refers_bench import plugins
from refers_bench.data import distortions, pretext
from refers_bench.data.distortions import Shuffles, Swaps

BYTES_PER_S, FLOP_PER_S = 3.35e12, 60e12
#: Seconds of a training step of 96 images: 105 GFLOP an image at 40 % of the peak, and as usual in practice.
BEST_STEP_S, USUAL_STEP_S = 96 * 105e9 / (0.4 * 989e12), 0.070
MOST_SHARE = 0.02


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def swapped(x_NHW: Tensor, swaps: Swaps) -> Tensor:
    """Every swap copies the source map of the whole batch, twice."""
    N, H, W = x_NHW.shape
    source = torch.arange(H * W + 1).repeat(N, 1)
    largest = int(swaps.side.max())
    dy, dx = torch.meshgrid(torch.arange(largest), torch.arange(largest), indexing="ij")
    dy, dx = dy.reshape(1, -1), dx.reshape(1, -1)
    for t in range(swaps.side.shape[1]):
        side = swaps.side[:, t, None]
        inside = (dy < side) & (dx < side)
        a = torch.where(inside, (swaps.top_a[:, t, None] + dy) * W + swaps.left_a[:, t, None] + dx, H * W)
        b = torch.where(inside, (swaps.top_b[:, t, None] + dy) * W + swaps.left_b[:, t, None] + dx, H * W)
        content_a, content_b = source.gather(1, a), source.gather(1, b)
        source = source.scatter(1, a, content_b).scatter(1, b, content_a)
    return x_NHW.reshape(N, -1).gather(1, source[:, : H * W]).view(N, H, W)


def shuffled(x_NHW: Tensor, shuffles: Shuffles) -> Tensor:
    """A loop over images and windows."""
    result, windows = x_NHW.clone(), shuffles.windows
    values = [each.tolist() for each in (windows.top, windows.left, windows.height, windows.width, shuffles.start)]
    for n in range(len(x_NHW)):
        for top, left, h, w, start in zip(*(each[n] for each in values), strict=True):
            content = x_NHW[n, top : top + h, left : left + w].reshape(-1)
            order = shuffles.pool[start : start + h * w].long()
            result[n, top : top + h, left : left + w] = content[order].view(h, w)
    return result


def warped(x_NHW: Tensor, noise_N2HW: Tensor, *, alpha: float, sigma: float) -> Tensor:
    """Smooths by two long convolutions, and makes the grid in many steps."""
    _, H, W = x_NHW.shape
    radius = int(4 * sigma + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    smooth = noise_N2HW.flatten(0, 1)[:, None]
    smooth = F.conv2d(smooth, taps[None, None, :, None], padding=(radius, 0))
    smooth = F.conv2d(smooth, taps[None, None, None, :], padding=(0, radius))
    shift = smooth.view(-1, 2, H, W) * alpha
    rows = torch.arange(H)[:, None] + shift[:, 0]
    columns = torch.arange(W)[None, :] + shift[:, 1]
    grid = torch.stack([(2 * columns + 1) / W - 1, (2 * rows + 1) / H - 1], -1)
    return F.grid_sample(x_NHW[:, None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]


class Counted(TorchDispatchMode):
    """Operations on the "meta" device, the bytes that they read and write, and the products' floating-point work."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes, self.flop = 0, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count."""
        result = func(*args, **(kwargs or {}))
        outer = [*args, *(kwargs or {}).values(), *(result if isinstance(result, tuple | list) else [result])]
        flat = [one for each in outer for one in (each if isinstance(each, tuple | list) else [each])]
        moved = [one for one in flat if isinstance(one, Tensor) and one.device.type == "meta" and all(one.stride())]
        if moved and not func.is_view:
            self.operations += 1
            self.bytes += sum(one.numel() * one.element_size() for one in moved)
            if func.overloadpacket.__name__ in ("mm", "bmm"):
                self.flop += 2 * result.numel() * args[0].shape[-1]
        return result


@dataclass(frozen=True, kw_only=True)
class Case:
    """A transform: its drawing, its application to images on any device, and the loop it replaces."""

    draw: Callable[[], Any]
    apply: Callable[[Tensor, Any], Tensor]
    slow: Callable[[Tensor, Any], Tensor] | None
    tolerance: float = 0.0


def cases(count: int, size: int) -> dict[str, Case]:
    """Transforms by name."""
    generator = torch.Generator().manual_seed(0)
    chances = plugins.load("method", "model_genesis").Params().chances()
    words = plugins.load("method", "transvw").Params()
    swapping = plugins.load("method", "context_restoration").Params()
    factor = size / pretext.WARP_AT
    warp = {"alpha": words.alpha * factor**2, "sigma": words.sigma * factor}
    sides = (swapping.smallest_side, swapping.largest_side)

    def slow_warp(x_NHW: Tensor, bits: Tensor) -> Tensor:
        return warped(x_NHW, bits.float() / 32768, **warp)

    def fast_warp(x_NHW: Tensor, bits: Tensor) -> Tensor:
        noise = distortions.moved(bits, x_NHW.device) * (warp["alpha"] / 32768)
        return distortions.warped(x_NHW, distortions.smoothed(noise, sigma=warp["sigma"], axes=(2, 3)))

    return {
        "swaps (Context Restoration)": Case(
            draw=lambda: distortions.draw_swaps(
                count, size, swaps=swapping.swaps, side=sides, generator=generator
            ),
            apply=distortions.apply_swaps, slow=swapped,
        ),
        "shuffles (Model Genesis)": Case(
            draw=lambda: distortions.draw_shuffles(
                count // 2, size, windows=chances["windows"], generator=generator
            ),
            apply=lambda x, drawn: distortions.apply_shuffles(x[: count // 2], drawn),
            slow=lambda x, drawn: shuffled(x[: count // 2], drawn),
        ),
        "warp (TransVW)": Case(
            draw=lambda: distortions.draw_noise((count, 2, size, size), generator),
            apply=fast_warp, slow=slow_warp, tolerance=1e-3,
        ),
        "all of Context Restoration": Case(
            draw=lambda: distortions.draw_swaps(
                count, size, swaps=swapping.swaps, side=sides, generator=generator
            ),
            apply=distortions.apply_swaps, slow=None,
        ),
        "all of Model Genesis": Case(
            draw=lambda: (
                pretext.draw_flips(count, generator), pretext.draw_genesis(count, size, generator, **chances),
            ),
            apply=lambda x, drawn: pretext.apply_distortion(pretext.apply_flips(x, drawn[0]), drawn[1]), slow=None,
        ),
        "all of TransVW": Case(
            draw=lambda: pretext.draw_visual_words(count, size, generator, windows=words.windows),
            apply=lambda x, drawn: pretext.apply_distortion(x, drawn, **warp), slow=None,
        ),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x_NHW = torch.rand(options.batch, options.size, options.size, generator=torch.Generator().manual_seed(1))
    print(f"pretext transforms of {options.batch} images at {options.size} px, one thread")
    for name, case in cases(options.batch, options.size).items():
        drawn = case.draw()
        line = f"  {name:<28}"
        if case.slow is not None:
            gap = float((case.apply(x_NHW, drawn) - case.slow(x_NHW, drawn)).abs().max())
            assert gap <= case.tolerance, (name, gap)
            ratios = []
            for _ in range(options.rounds):
                slow = seconds(lambda case=case, drawn=drawn: case.slow(x_NHW, drawn))
                ratios.append(slow / seconds(lambda case=case, drawn=drawn: case.apply(x_NHW, drawn)))
            line += f" slow loop / ours {statistics.median(ratios):6.1f}   largest difference {gap:.1g}"
        else:
            drawing = statistics.median(seconds(case.draw) for _ in range(options.rounds))
            with Counted() as counted:
                case.apply(torch.empty_like(x_NHW, device="meta"), drawn)
            least = counted.bytes / BYTES_PER_S + counted.flop / FLOP_PER_S
            scale = 96 / options.batch
            best, usual = (scale * least / whole for whole in (BEST_STEP_S, USUAL_STEP_S))
            line += (
                f" drawn in {1e3 * drawing:5.1f} ms   GPU: {counted.operations:3d} operations, "
                f"{counted.bytes / 1e9:4.2f} GB, at least {1e3 * least:5.2f} ms: {best:.1%} of the fastest step, "
                f"{usual:.1%} of a usual one   {'within' if usual <= MOST_SHARE else 'OVER'} {MOST_SHARE:.0%}"
            )
        print(line)


if __name__ == "__main__":
    main()
