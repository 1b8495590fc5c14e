"""What does the way from files to batches cost? Ratios in one run, one thread each.

1. a prepared batch, read and augmented, over decoding the PNGs and torchvision's random resized crop and flip;
2. preparation over a bare loop that decodes and resizes;
3. a training epoch from the store over the same epoch on one constant batch in memory;
4. a training epoch that compares each image with its SHA-256, as the first one of a job does, over one that does not.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource
from refers_bench.data.decode import decode
from refers_bench.data.prepare import PIXELS, PreparedImages, prepare, resized
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.losses import masked_bce
from refers_bench.nets.radiograph_transformer import RadiographTransformer

SIDE = 1024


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(a: Callable[[], object], b: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios a/b, run in turn after one warm-up."""
    times = [(seconds(a), seconds(b)) for _ in range(rounds + 1)][1:]
    return (
        statistics.median(x for x, _ in times), statistics.median(y for _, y in times),
        statistics.median(x / y for x, y in times),
    )  # fmt: skip


def radiographs(folder: Path, count: int) -> pd.DataFrame:
    """Smooth images with fine noise, as PNG of 1024 x 1024: like radiographs, they compress to about half."""
    rng, rows = np.random.default_rng(0), []
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).resize((SIDE, SIDE))
        pixels = np.clip(np.asarray(coarse, np.int16) + rng.integers(-6, 7, (SIDE, SIDE)), 0, 255).astype(np.uint8)
        path = f"images/{number:05d}.png"
        Image.fromarray(pixels).save(folder / path)
        rows.append({"image_id": str(number), "path": path})
    return pd.DataFrame(rows)


def source(images: PreparedImages, section: dict[str, object], count: int, size: int) -> RadiographSource:
    """Fine-tuning batches from the store, 112 pixels wide."""
    image = {**section, "size": size, "channels": 1, "mean": [0.5], "std": [0.25]}
    return RadiographSource(
        images.images_NHW, np.arange(count), np.zeros((count, 14), np.float32),
        augment=Augment.of(image, "finetune_augment"), device=torch.device("cpu"), key="bench",
    )  # fmt: skip


def per_image(paths: list[Path]) -> None:
    """The usual way: decode the full image, then crop, resize and flip it."""
    transform = v2.Compose(
        [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)]
    )
    for path in paths:
        transform(torch.from_numpy(np.array(Image.open(path)))[None])


def draw_next(batches: RadiographSource, steps: Iterator[int], batch_size: int) -> None:
    """Another augmented batch."""
    batches.draw(next(steps), batch_size=batch_size)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = radiographs(folder, options.images)
        paths = [folder / path for path in index["path"]]
        runs = iter(range(1000))

        def prepared(size: int) -> Path:
            place = folder / f"store{next(runs)}"
            prepare(index, root=folder, folder=place, work=folder / f"work{place.name}", size=size)
            return place

        a, b, ratio = paired(
            lambda: prepared(256), lambda: [resized(decode(path), 256) for path in paths], options.rounds
        )
        print(f"preparation of {len(paths)} images: {a:.2f} s, bare decode and resize {b:.2f} s, ratio {ratio:.3f}")

        for preset in ("paper", "official_code"):
            section = resolve_sections(preset)["image"]
            batches = source(PreparedImages.open(prepared(256)), section, len(paths), 224)
            ours = functools.partial(draw_next, batches, iter(range(10_000)), options.batch)
            a, b, ratio = paired(lambda: per_image(paths[: options.batch]), ours, options.rounds)
            print(
                f"{preset}: PNG and torchvision {1000 * a / options.batch:.1f} ms an image, prepared batch "
                f"{1000 * b / options.batch:.2f} ms, {ratio:.1f} times faster"
            )
        epoch(prepared(128), options.batch, options.rounds)


def epoch(folder: Path, batch_size: int, rounds: int) -> None:
    """The third and fourth ratio: radiograph transformer 192 wide, 6 deep, at 112 pixels."""
    images = PreparedImages.open(folder)
    torch.manual_seed(0)
    encoder = RadiographTransformer(
        image_size=112, patch_size=16, channels=1, width=192, depth=6, heads=3, mlp_width=768, dropout=0.0,
        activation="gelu", position="added", aggregation="added",
    )  # fmt: skip
    net = Classifier(encoder, 14)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    section = resolve_sections("paper")["image"]
    batches = source(images, section, len(images.index), 112)
    constant = batches.draw(0, batch_size=batch_size)
    steps = max(1, len(images.index) // batch_size)

    def train(draw: Callable[[int], object]) -> None:
        for step in range(steps):
            batch = draw(step)
            optimizer.zero_grad(set_to_none=True)
            masked_bce(net(batch.images_BCHW), batch.labels_BK).backward()  # type: ignore[attr-defined]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()

    a, b, ratio = paired(
        lambda: train(lambda step: batches.draw(step, batch_size=batch_size)), lambda: train(lambda _: constant), rounds
    )
    print(f"epoch of {steps} steps from the store {a:.2f} s, on a constant batch {b:.2f} s, ratio {ratio:.3f}")

    def opened(*, verified: bool) -> PreparedImages:
        found = PreparedImages.open(folder)
        plain = np.memmap(folder / PIXELS, np.uint8, "r", shape=found.images_NHW.shape)
        return found if verified else replace(found, images_NHW=plain)

    def trained(*, verified: bool) -> None:
        found = source(opened(verified=verified), section, len(images.index), 112)
        train(lambda step: found.draw(step, batch_size=batch_size))

    def read(*, verified: bool) -> None:
        found, order = opened(verified=verified).images_NHW, np.random.default_rng(0).permutation(len(images.index))
        for step in range(steps):
            found[order[step * batch_size : (step + 1) * batch_size]]

    a, b, ratio = paired(lambda: trained(verified=True), lambda: trained(verified=False), rounds)
    c, d, _ = paired(lambda: read(verified=True), lambda: read(verified=False), 10 * rounds)
    print(
        f"epoch whose images are verified {a:.2f} s, not verified {b:.2f} s, ratio {ratio:.4f}; opened and "
        f"read without training {1000 * c:.2f} and {1000 * d:.2f} ms: {100 * (c - d) / b:.3f} % of the epoch"
    )


if __name__ == "__main__":
    main()
