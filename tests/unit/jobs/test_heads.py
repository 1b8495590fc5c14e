"""Linear probes of many cells are fitted together as they would be one by one, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tiny_jobs
from refers_bench.data import features as cached
from refers_bench.jobs import entry, heads
from refers_bench.store.results import ResultStore

Job = Callable[..., dict[str, Any]]
#: Runs a job in a process of its own and prints the largest memory that it added to what its imports take, in MiB.
CHILD = """
import json, resource, sys
from pathlib import Path
from refers_bench.jobs import heads
from refers_bench.store.context import JobContext
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
heads.run(json.loads(sys.argv[1]), JobContext(results=Path(sys.argv[2]), cache=Path(sys.argv[3])))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_groups_fitted_together_are_those_fitted_alone(
    draw_images: Any, tmp_path: Path, featuring: Job, probing: Job
) -> None:
    context, features = draw_images({"train": 40, "val": 12, "test": 8}).context(tmp_path), featuring()
    cells = [
        {"label_ratio": ratio, "seed": seed, **fold}
        for ratio in (0.25, 1.0)
        for seed in (0, 1)
        for fold in ({}, {"fold": {"count": 3, "fold": 2}})
    ]
    together, alone = probing(features, cells), [probing(features, [cell]) for cell in cells]
    for job in (features, together, *alone):
        entry.run(job, context)
    store, different = ResultStore(context.results), set()
    for cell, job in zip(cells, alone, strict=True):
        spec = {**job["spec"]["groups"][0], **cell}
        one, other = (heads.read(store, {**spec, "heads": key}) for key in (together["key"], job["key"]))
        torch.testing.assert_close(one.weight_KD, other.weight_KD, rtol=1e-4, atol=1e-5)
        assert (one.about["c"], one.features) == (other.about["c"], features["key"])
        different.add(round(float(one.weight_KD.norm()), 5))
    # Of all training images there is one subset, whatever the seed.
    assert len(different) == 6
    content = json.loads((store.folder(together["key"]) / "heads.json").read_text())
    assert [group["seed"] for group in content["groups"]] == [0, 0, 1, 1] * 2
    assert set(content["groups"][0]["validation_auc"]) == {"0.001", "0.1", "10"}


@pytest.mark.slow
def test_a_hundred_thousand_images_take_less_than_a_gibibyte(tmp_path: Path, probing: Job) -> None:
    count, width, rng = 100_000, 768, np.random.default_rng(0)
    labels = rng.integers(0, 2, (count, 2))
    split = np.repeat(["train", "val", "test"], [70_000, 10_000, 20_000])
    names = [f"i{i:06d}" for i in range(count)]
    columns = {"image_id": names, "path": names, "patient_id": names, "study_id": names, "view": "PA", "split": split}
    index = pd.DataFrame({**columns, "report": None})
    for column, name in enumerate(("Effusion", "Nodule")):
        index[f"findings:{name}"] = pd.array(labels[:, column], dtype="Int8")
    prepared = tmp_path / "prepared" / "prepare"
    prepared.mkdir(parents=True)
    index.to_parquet(prepared / "index.parquet", index=False)
    (prepared / "images.u8").write_bytes(bytes(count))
    meta = {"version": 1, "count": count, "size": 1, "digest": "d", "unreadable": []}
    (prepared / "meta.json").write_text(json.dumps(meta))

    def computed(places: np.ndarray) -> np.ndarray:
        values = rng.normal(size=(len(places), width)).astype(np.float32)
        values[:, :2] += labels[places]
        return values

    features = tiny_jobs.sent_job(kind="features")
    folder = tmp_path / "features" / features["key"]
    cached.cache(computed, count=count, chunk=10_000, folder=folder, work=tmp_path / "work", about={"encoder": {}})
    job = probing(features)
    given = [json.dumps(job), str(tmp_path / "results"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", CHILD, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1024
    assert (
        heads.read(ResultStore(tmp_path / "results"), {**job["spec"]["groups"][0], "heads": job["key"]}).about["c"] > 0
    )
