"""Stored results of the folds of one cell, with drawn scores, and the job that puts them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from refers_bench.data.folds import deal
from refers_bench.store import schemas
from tiny_jobs import sent_job

CLASSES = ["b", "a"]


def drawn(seed: int, *, patients: int = 40, folds: int = 4) -> pd.DataFrame:
    """Rows of an index with labels of a task "t" (some unknown), a fold and the scores of two models for each image."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    rows = pd.DataFrame({"image_id": [f"i{n:03d}" for n in rng.permutation(len(patient))]})
    rows["patient_id"] = [f"p{one}" for one in patient]
    for name in CLASSES:
        labels = pd.array((rng.random(len(rows)) < 0.3).astype(int), dtype="Int8")
        labels[rng.random(len(rows)) < 0.1] = pd.NA
        rows[f"t:{name}"] = labels
    rows["fold"] = deal(rows, dataset="d", task="t", classes=CLASSES, count=folds).number
    for split in ("test", "val"):
        for name in CLASSES:
            signal = rows[f"t:{name}"].fillna(0).to_numpy(float)
            # Few digits: some scores are equal, within folds and between them.
            scores = signal + rng.normal(size=len(rows)) + 0.3 * rows["fold"]
            rows[f"{split} {name}"] = scores.round(1).astype(np.float32)
    return rows


def store(results: Path, rows: pd.DataFrame) -> list[str]:
    """Write what the rounds of these rows leave; returns their keys."""
    count = int(rows["fold"].max()) + 1
    keys = [f"fold{number}" for number in range(count)]
    for number, key in enumerate(keys):
        parts = []
        for split, tested in (("test", number), ("val", (number + 1) % count)):
            some = rows[rows["fold"] == tested]
            for name in CLASSES:
                part = some[["image_id", "patient_id"]].assign(label=some[f"t:{name}"], logit=some[f"{split} {name}"])
                parts.append(part.assign(split=split, **{"class": name}))
        folder = results / "store" / key
        folder.mkdir(parents=True, exist_ok=True)
        schemas.write(folder / "predictions.parquet", pd.concat(parts), "predictions")
        (folder / "run.json").write_text(json.dumps({"version": 1, "key": key}))
    return keys


def together(keys: list[str], **more: Any) -> dict[str, Any]:
    """The job that puts them together."""
    own = {"kind": "out_of_fold", "recipe": 1, "folds": keys, "dataset": "d", "task": "t", "classes": CLASSES}
    return sent_job(**own, label_ratio=1.0, seed=0, **more)
