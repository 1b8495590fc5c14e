"""What do statistics and reports cost, beside the plain ways? Ratios in one run; a report's own time and memory.

1. AUC of 14 classes x 22,433 images over a loop of scikit-learn's `roc_auc_score`.
2. DeLong of six methods x 14 classes over a loop that computes the placements of every pair anew.
3. A whole report over 10,000 cells, and per-class metrics of 100,000 cells read and put into a frame.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.analysis.statistics.delong import contrast, delong
from refers_bench.store import schemas

IMAGES, CLASSES, METHODS = 22_433, 14, 6


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both and the median of slow/fast, run in turn after one warm-up."""
    times = [(seconds(slow), seconds(fast)) for _ in range(rounds + 1)][1:]
    return (
        statistics.median(a for a, _ in times), statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )  # fmt: skip


def predictions() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Labels (N, K) and scores (M, N, K) as three-decimal probabilities, as the released files have them."""
    rng = np.random.default_rng(0)
    labels = (rng.random((IMAGES, CLASSES)) < np.linspace(0.003, 0.2, CLASSES)).astype(np.int8)
    scores = rng.random((METHODS, IMAGES, CLASSES)) * 0.7 + labels * 0.3
    return labels, np.round(scores, 3).astype(np.float32)


def pairwise(labels_N: npt.NDArray[np.int8], scores_MN: npt.NDArray[np.float32]) -> list[object]:
    """Every pair of methods, its variance computed from the pair alone."""
    return [
        contrast(delong(labels_N, scores_MN[[a, b]]), (1, -1))
        for a in range(len(scores_MN))
        for b in range(a + 1, len(scores_MN))
    ]


def direct(labels_N: npt.NDArray[np.int8], scores_MN: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
    """Every pair by the definition: each positive beside all negatives."""
    found = []
    for a in range(len(scores_MN)):
        for b in range(a + 1, len(scores_MN)):
            over, under = [], []
            for scores in scores_MN[[a, b]]:
                positive, negative = scores[labels_N == 1], scores[labels_N == 0]
                v10, v01 = np.empty(len(positive)), np.zeros(len(negative))
                for row, score in enumerate(positive):
                    kernel = (score > negative) + 0.5 * (score == negative)
                    v10[row] = kernel.mean()
                    v01 += kernel
                over.append(v10)
                under.append(v01 / len(positive))
            d10, d01 = over[0] - over[1], under[0] - under[1]
            found.append((float(d10.mean()), float(d10.var(ddof=1) / len(d10) + d01.var(ddof=1) / len(d01))))
    return found


def store(folder: Path, cells: int) -> None:
    """A plan of that many cells with 14 classes each; every cell has its record and metrics."""
    lock: dict[str, object] = {"version": 1, "name": "big", "title": "", "manifest": {}, "tables": []}
    jobs, planned = [], []
    names = [f"class {k}" for k in range(CLASSES)]
    frame = pd.DataFrame({
        "class": names * 2, "auc": np.linspace(0.6, 0.9, 2 * CLASSES), "n_pos": 100, "n_neg": 900, "undefined": "",
        "split": ["test"] * CLASSES + ["val"] * CLASSES,
    })  # fmt: skip
    schemas.write(folder / "metrics.parquet", frame, "metrics")
    metrics = (folder / "metrics.parquet").read_bytes()
    for number in range(cells):
        key = f"{number:020d}"
        method, target, seed = number % 20, number // 20 // 5, number // 20 % 5
        spec = {"kind": "finetune", "classes": names}
        jobs.append({"key": key, "kind": "finetune", "name": key, "needs": [], "spec": spec, "unavailable": ""})
        planned.append({
            "method": f"method{method}", "label": f"Method {method}", "dataset": f"dataset{target}", "task": "findings",
            "label_ratio": 1.0, "seed": seed, "key": key, "synthetic": False, "footnotes": [], "best_of": "",
        })  # fmt: skip
        at = folder / "store" / key
        at.mkdir(parents=True)
        (at / "metrics.parquet").write_bytes(metrics)
        record = {"version": 1, "key": key, "kind": "finetune", "name": key, "category": "ok", "wall_s": 1.0}
        (at / "run.json").write_text(json.dumps(record))
    (folder / "big").mkdir()
    (folder / "big" / "plan.lock.json").write_text(json.dumps({**lock, "jobs": jobs, "cells": planned}))


def child(code: str) -> str:
    """Time and peak memory of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    spent = time.perf_counter() - start
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 2**20
    return f"{spent:.1f} s, at most {peak:.2f} GiB"


def main() -> None:
    """Measure and print."""
    labels, scores = predictions()
    one = scores[0]
    slow, fast, times = ratio(
        lambda: [roc_auc_score(labels[:, k], one[:, k]) for k in range(CLASSES)], lambda: class_aucs(labels, one), 7
    )
    print(f"AUC, {CLASSES} classes x {IMAGES:,} images: scikit-learn {slow:.3f} s, ours {fast:.3f} s, x{times:.1f}")
    whole = ratio(
        lambda: [pairwise(labels[:, k], scores[:, :, k]) for k in range(CLASSES)],
        lambda: [delong(labels[:, k], scores[:, :, k]) for k in range(CLASSES)], 2,
    )  # fmt: skip
    print(f"DeLong, {METHODS} methods x {CLASSES} classes: our placements pair by pair {whole[0]:.2f} s, all at once "
          f"{whole[1]:.3f} s, x{whole[2]:.1f}")  # fmt: skip
    few = [0, 1]  # the two rarest classes: the plain loop takes minutes for all
    loop = ratio(
        lambda: [direct(labels[:, k], scores[:, :, k]) for k in few],
        lambda: [delong(labels[:, k], scores[:, :, k]) for k in few], 1,
    )  # fmt: skip
    print(f"DeLong, {METHODS} methods, two rarest classes: per-pair loop {loop[0]:.2f} s, ours {loop[1]:.3f} s, "
          f"x{loop[2]:.0f}")  # fmt: skip
    for cells, code in (
        (10_000, "from refers_bench.cli import main; main(['--results', {0!r}, 'report', 'big'])"),
        (100_000, "from pathlib import Path; from refers_bench.analysis.results import load; "
                  "print(len(load(Path({0!r}), 'big').metrics_frame()))"),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            store(Path(folder), cells)
            what = "whole report" if cells == 10_000 else "per-class metrics as a frame"
            print(f"{cells:,} cells: {what}: {child(code.format(folder))}")


if __name__ == "__main__":
    main()
