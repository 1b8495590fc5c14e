"""How long does `results fsck` take for 10,000 results, and what does checking add to a report? In one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from refers_bench import identity
from refers_bench.analysis import results as read
from refers_bench.analysis.results import load
from refers_bench.jobs.cells import prediction_rows
from refers_bench.machine import cores
from refers_bench.store import records, schemas

#: Test images and classes of a result: those of a small dataset.
IMAGES, CLASSES = 200, ("a", "b", "c")
NAME = "many"


def fill(results: Path, count: int) -> int:
    """Write a plan and its results, which differ in their records alone; returns the bytes of the files."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"image_id": [f"i{n}" for n in range(IMAGES)], "patient_id": [f"p{n}" for n in range(IMAGES)]})
    labels = rng.integers(0, 2, (IMAGES, len(CLASSES))).astype(np.float32)
    logits = rng.normal(size=labels.shape).astype(np.float32)
    frames = {"predictions": prediction_rows(rows, labels, logits, list(CLASSES), split="test")}
    one = {"auc": 0.5, "n_pos": 100, "n_neg": 100, "undefined": "", "split": "test"}
    frames["metrics"] = pd.DataFrame([{"class": name, **one} for name in CLASSES])
    made = results / "made"
    made.mkdir(parents=True)
    for kind, frame in frames.items():
        schemas.write(made / f"{kind}.parquet", frame, kind)
    contents = {path.name: path.read_bytes() for path in made.iterdir()}
    files, jobs, cells = records.digests(made), [], []
    for number in range(count):
        spec = {"kind": "finetune", "classes": list(CLASSES), "seed": number}
        key = identity.key(spec)
        job = {"key": key, "kind": "finetune", "name": f"s{number}"}
        folder = results / "store" / key
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / records.RECORD).write_text(
            json.dumps({"version": 2, **job, "files": files, "spec": spec, "facts": {}})
        )
        jobs.append({**job, "needs": [], "spec": spec, "unavailable": ""})
        where = {"method": "m", "label": "m", "dataset": "d", "task": "t", "label_ratio": 1.0, "seed": number}
        cells.append({**where, "key": key})
    (results / NAME).mkdir()
    (results / NAME / "plan.lock.json").write_text(
        json.dumps({"version": 1, "name": NAME, "jobs": jobs, "cells": cells})
    )
    return count * sum(map(len, contents.values()))


def loaded(results: Path) -> float:
    """Processor seconds of reading all results of the plan in this process, as every report does first."""
    records._KNOWN.clear()
    start = time.process_time()
    found = load(results, NAME)
    assert not found.damaged and all(one.run.counts for one in found.planned)
    return time.process_time() - start


def without_checks(results: Path) -> float:
    """The same where no file is compared with its digest."""
    whole: Any = records.problem
    try:
        records.problem = lambda path, digest: None  # type: ignore[assignment]
        return loaded(results)
    finally:
        records.problem = whole


def main() -> None:
    """Write the results, check them by the command, read them with and without checks, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        size = fill(results, options.count)
        command = [sys.executable, "-m", "refers_bench", "--results", str(results), "results", "fsck"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
        seconds = time.perf_counter() - start
        rate = f"{options.count / seconds:.0f} results and {size / seconds / 2**20:.0f} MiB a second on {cores()} cores"
        print(f"fsck: {done.stdout.strip()}: {seconds:.1f} s, {rate}")
        read.WORTH_A_PROCESS = options.count + 1
        loaded(results)  # imports, and the file cache
        plain, checked = without_checks(results), loaded(results)
        print(f"read for a report: {plain:.1f} CPU s unchecked, {checked:.1f} checked, ratio {checked / plain:.2f}")


if __name__ == "__main__":
    main()
