"""A planned manifest whose jobs are all done, without anything having been computed: predictions are drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from refers_bench.analysis.predictions import FILE
from refers_bench.data.prepare import write_store
from refers_bench.jobs import cells
from refers_bench.jobs.record import Record
from refers_bench.plan import lock
from refers_bench.store import schemas
from refers_bench.store.context import prepared_folder
from refers_bench.store.plan import Job, Plan
from refers_bench.store.results import ResultStore

MANIFEST = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40}}}
source: {dataset: phantom}
methods: [scratch, model_genesis]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [100%]}]
seeds: [0, 1]
"""


CLASSES, SPLITS = ("Cardiomegaly", "Effusion"), ["train", "val", "test"]


def finish(results: Path, cache: Path, name: str) -> Plan:
    """Publish a result of every job of a plan; of prepared images, black ones of 4 x 4 pixels."""
    plan, store = lock.read(results / name / lock.LOCK), ResultStore(results)
    for job in plan.jobs:
        facts = {"pixels": {"count": 1}, "decoded": False} if job.kind == "prepare" else {"steps": 0}
        with Record(vars(job), store).published(facts) as stage:
            _write(job, stage)
        if job.kind == "prepare":
            folder = prepared_folder(cache, job.key)
            folder.mkdir(parents=True)
            index = pd.DataFrame({"image_id": SPLITS})
            write_store(folder, [np.zeros((len(index), 4, 4), np.uint8)], index, size=4)
        log = store.log(job.key)
        log.parent.mkdir(exist_ok=True)
        log.write_text(f"printed by {job.name}\n")
    return plan


def _write(job: Job, stage: Path) -> None:
    """The files that every result of the kind has."""
    rng = np.random.default_rng(int(job.key[:8], 16))
    if job.kind == "prepare":
        columns = ["image_id", "patient_id", "study_id", "report", *(f"findings:{name}" for name in CLASSES)]
        index = pd.DataFrame({name: [f"{split} {name}" for split in SPLITS] for name in columns})
        labels = dict.fromkeys([f"findings:{name}" for name in CLASSES], 1.0)
        index.assign(split=SPLITS, **labels).to_parquet(stage / "index.parquet")
    elif job.kind == "pretrain":
        (stage / "checkpoint.safetensors").write_bytes(rng.bytes(100))
    else:
        classes, images = list(job.spec["classes"]), 12
        rows = pd.DataFrame(
            {"image_id": [f"i{n}" for n in range(images)], "patient_id": [f"p{n}" for n in range(images)]}
        )
        labels = np.arange(images * len(classes)).reshape(images, -1) % 3 == 0
        logits = rng.normal(size=labels.shape).astype(np.float32)
        split = {split: labels.astype(np.float32) for split in cells.SCORED}
        predictions, metrics = cells.scored(
            dict.fromkeys(cells.SCORED, logits), rows=dict.fromkeys(cells.SCORED, rows), labels=split, classes=classes
        )
        schemas.write(stage / FILE, predictions, "predictions")
        schemas.write(stage / "metrics.parquet", metrics, "metrics")
