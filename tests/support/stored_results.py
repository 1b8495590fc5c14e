"""Results of jobs, published by hand: with predictions, and the metrics and records that the package writes of such."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from refers_bench.files import publish_json
from refers_bench.jobs import cells
from refers_bench.plan.lock import Job
from refers_bench.store import schemas
from refers_bench.store.results import ResultStore

#: Split -> images.
IMAGES = {"test": 30, "val": 20}


def scored(store: ResultStore, job: Job, *, strength: float) -> None:
    """Publish predictions of some images whose labels are drawn.

    Args:
        store: results.
        job: with "classes" and "seed" in its specification.
        strength: difference of the mean scores of positive and negative images, in standard deviations.
    """
    classes: Sequence[str] = job.spec["classes"]
    rng = np.random.default_rng(int(strength * 10) + int(job.spec["seed"]))
    rows, labels, logits = {}, {}, {}
    for split, count in IMAGES.items():
        rows[split] = pd.DataFrame({"image_id": [f"{split}{n}" for n in range(count)], "patient_id": ""})
        labels[split] = rng.integers(0, 2, (count, len(classes))).astype(np.float32)
        logits[split] = (rng.normal(size=labels[split].shape) + strength * labels[split]).astype(np.float32)
    predictions, metrics = cells.scored(logits, rows=rows, labels=labels, classes=classes)
    recorded(store, job, {"predictions": (predictions, "predictions.parquet"), "metrics": (metrics, "metrics.parquet")})


def recorded(
    store: ResultStore, job: Job, tables: dict[str, tuple[pd.DataFrame, str]], files: dict[str, bytes] | None = None
) -> None:
    """Publish a result with these tables (kind -> frame and name) and files, and a record."""
    with store.publish(job.key) as stage:
        for kind, (frame, name) in tables.items():
            schemas.write(stage / name, frame, kind)
        for name, content in (files or {}).items():
            (stage / name).write_bytes(content)
        about = {"version": 1, "key": job.key, "kind": job.kind, "name": job.name, "category": "ok", "wall_s": 1.0}
        publish_json(stage / "run.json", {**about, "spec": dict(job.spec), "facts": {}, "provenance": {}})
