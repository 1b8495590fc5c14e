"""Measures how a worker opens a store of MIMIC-CXR's size and its studies; a sparse file stands in for the pixels.

Prints seconds beside those of a store of a hundredth of the size, and the worker's peak memory; then the seconds that
the slow loop of `tests/support/slow_studies.py` takes to open a small source, over those of the source itself.
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
from refers_bench.data.batches import RadiographSource, StudySource, epoch_order
from refers_bench.data.cache_meta import META
from refers_bench.data.prepare import INDEX, PIXELS, PreparedImages
from refers_bench.data.text import ReportTokenizer
from refers_bench.manifest.protocols import resolve_sections

sys.path.append(str(Path(__file__).parents[1] / "support"))
from slow_studies import SlowStudySource

COUNT, STUDIES, SIZE = 377_110, 222_000, 256
#: Studies that the slow loop opens as well: at full size it takes minutes.
FEW = 2_000


def sparse_store(folder: Path, count: int) -> None:
    """A store whose pixels are all zero and take no room on the disk."""
    folder.mkdir()
    with (folder / PIXELS).open("wb") as file:
        file.truncate(count * SIZE * SIZE)
    numbers = pd.Series(range(count)).astype(str)
    studies = pd.Series(np.arange(count) * STUDIES // COUNT).astype(str)
    index = pd.DataFrame(
        {
            "image_id": "i" + numbers, "path": "files/" + numbers + ".jpg", "patient_id": "p" + (numbers.str[:-1]),
            "study_id": "s" + studies, "view": "PA", "split": "train",
            "report": ("No acute finding in study " + studies) + "; the left lung is clear." * 10,
        }
    )  # fmt: skip
    index.to_parquet(folder / INDEX, index=False)
    (folder / META).write_text(json.dumps({"version": 1, "count": count, "size": SIZE, "digest": "", "unreadable": []}))


def source(images: PreparedImages, kind: type[StudySource]) -> StudySource:
    """Studies with reports, as REFERS reads them."""
    return kind(
        images.images_NHW, images.index.assign(place=np.arange(len(images.index))), group="study_id",
        tokenizer=ReportTokenizer.train(images.index["report"].head(500), vocabulary=1_000), max_tokens=100, task="",
        classes=(), views=3, view_sampling="paper", report_flip="paper", shuffled=False, device=torch.device("cpu"),
        augment=Augment.of(resolve_sections("paper")["image"], "pretrain_augment"), key="bench",
    )  # fmt: skip


def work(folder: Path) -> None:
    """What a worker does first: open, shuffle, draw 50 batches; prints seconds and peak memory."""
    torch.set_num_threads(1)
    begun = time.perf_counter()
    images = PreparedImages.open(folder)
    opened = time.perf_counter()
    order = epoch_order("bench", 0, len(images.index))
    shuffled = time.perf_counter()
    section = resolve_sections("paper")["image"]
    radiographs = RadiographSource(
        images.images_NHW, np.arange(len(order)), np.zeros((len(order), 14), np.float32),
        augment=Augment.of(section, "finetune_augment"), device=torch.device("cpu"), key="bench",
    )  # fmt: skip
    for step in range(50):
        radiographs.draw(step, batch_size=32)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    found = source(images, StudySource)
    studies = time.perf_counter() - start
    found.draw(0, batch_size=32)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - peak
    print(
        json.dumps(
            {"open": opened - begun, "shuffle": shuffled - opened, "GiB": peak, "studies": studies, "more": more}
        )
    )


def ratio(folder: Path) -> tuple[float, float]:
    """Seconds to open a few studies: as before, and now."""
    sparse_store(folder, FEW * COUNT // STUDIES)
    images, seconds = PreparedImages.open(folder), []
    for kind in (SlowStudySource, StudySource):
        start = time.perf_counter()
        source(images, kind)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


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
                f"worker at {found['GiB']:.2f} GiB; its studies in {found['studies']:.2f} s and {found['more']:.2f} GiB more"
            )
        slow, fast = ratio(Path(name) / "few")
        print(f"{FEW} studies: one frame each {slow:.2f} s, opened {fast:.3f} s, ratio {slow / fast:.0f}")


if __name__ == "__main__":
    main()
