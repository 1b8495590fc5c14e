"""Does a store of MIMIC-CXR's size open at once, shuffle at once, and leave a worker small? A sparse file stands in.

Prints seconds beside those of a store of a hundredth of the size, and the worker's peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, epoch_order
from refers_bench.data.prepare import INDEX, META, PIXELS, PreparedImages
from refers_bench.manifest.protocols import resolve_sections

COUNT, SIZE = 377_110, 256


def sparse_store(folder: Path, count: int) -> None:
    """A store whose pixels are all zero and take no room on the disk."""
    folder.mkdir()
    with (folder / PIXELS).open("wb") as file:
        file.truncate(count * SIZE * SIZE)
    numbers = pd.Series(range(count)).astype(str)
    index = pd.DataFrame(
        {
            "image_id": "i" + numbers, "path": "files/" + numbers + ".jpg", "patient_id": "p" + (numbers.str[:-1]),
            "study_id": "s" + numbers, "view": "PA", "split": "train", "report": "No acute finding in study " + numbers,
        }
    )  # fmt: skip
    index.to_parquet(folder / INDEX, index=False)
    (folder / META).write_text(json.dumps({"version": 1, "count": count, "size": SIZE, "digest": "", "unreadable": []}))


def work(folder: Path) -> None:
    """What a worker does first: open, shuffle, draw 50 batches; prints seconds and peak memory."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    images = PreparedImages.open(folder)
    opened = time.perf_counter()
    order = epoch_order("bench", 0, len(images.index))
    shuffled = time.perf_counter()
    section = resolve_sections("paper")["image"]
    source = RadiographSource(
        images.images_NHW, np.arange(len(order)), np.zeros((len(order), 14), np.float32),
        augment=Augment.of(section, "finetune_augment"), device=torch.device("cpu"), key="bench",
    )  # fmt: skip
    for step in range(50):
        source.draw(step, batch_size=32)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"open": opened - start, "shuffle": shuffled - opened, "GiB": peak}))


def main() -> None:
    """Measure both sizes in processes of their own and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    with tempfile.TemporaryDirectory() as name:
        for count in (COUNT // 100, COUNT):
            folder = Path(name) / str(count)
            sparse_store(folder, count)
            done = subprocess.run(
                [sys.executable, __file__, "--work", str(folder)], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout)
            print(
                f"{count} images: opened in {found['open']:.3f} s, an epoch's order in {found['shuffle']:.3f} s, "
                f"worker at {found['GiB']:.2f} GiB"
            )


if __name__ == "__main__":
    main()
