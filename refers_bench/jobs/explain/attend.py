"""Computes where a fine-tuned classifier looked on the annotated test radiographs.

The store keeps predictions, not classifiers: the cell is fine-tuned again from the same key, so from the same random
streams, and must give the stored predictions to the last bit before its attention is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from refers_bench import plugins
from refers_bench.analysis.localisation import pairs_of
from refers_bench.analysis.predictions import FILE
from refers_bench.data.augment import Augment
from refers_bench.data.index import digest, rows_of_task, with_task
from refers_bench.data.transfer import together
from refers_bench.errors import DataError
from refers_bench.jobs import finetune, setup
from refers_bench.jobs.prepare import phantom_root
from refers_bench.jobs.record import Record
from refers_bench.nets import attention_maps
from refers_bench.plugins import Dataset
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import reader_of
from refers_bench.store.results import ResultStore
from refers_bench.training import arithmetic
from refers_bench.training.checkpoints import publish_tensors
from refers_bench.training.progress import ProgressFile

#: Radiographs whose attention is held in memory at once.
BATCH = 16
SPLIT = "test"
TENSORS, BOXES = "maps.safetensors", "annotated.parquet"


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Fine-tune the cell again, check that it is the stored one, publish its maps and the annotated boxes.

    Raises:
        DataError: no annotated test image, boxes that changed since planning, or a classifier that does not give the
            stored predictions.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec, store = job["key"], job["spec"], ResultStore(context.results)
    record = Record(job, store, context)

    # 1. What is annotated; before anything is trained.
    images = setup.open_prepared(context, spec["spec"]["prepare"])
    cell = spec["spec"]
    rows = rows_of_task(with_task(images.index, reader_of(cell), cell["task"]), cell["task"])
    annotated, counts = annotated_boxes(rows, spec, context)

    # 2. The classifier, under the circumstances of the stored run.
    stored = store.record(spec["cell"])
    if stored is None:
        found = f"cell {spec['cell']} has no result"
        raise DataError(found, allowed="a finished cell", path=store.folder(spec["cell"]))
    fitted = finetune.fit(spec["cell"], spec["spec"], as_before(context, stored), work=store.work_folder(key))
    check_predictions(finetune.scored(fitted)[0], store.file(spec["cell"], FILE), stored)

    # 3. Its maps: one a radiograph for all classes, and one for each annotated class of a radiograph.
    pairs = pairs_of(annotated)
    place = rows.set_index("image_id")["place"]
    augment = Augment.of(spec["spec"]["image"], "finetune_augment")
    network = fitted.classifier.eval()

    def pixels(names: Any) -> Tensor:
        return augment.evaluation(*together(torch.device(context.device), images.images_NHW[place[names].to_numpy()]))

    def activation(part: pd.DataFrame) -> Tensor:
        classes = torch.tensor([fitted.classes.index(name) for name in part["class"]], device=context.device)
        return attention_maps.class_activation(network, pixels(part["image_id"]), classes)

    def rolled_out(part: pd.DataFrame) -> Tensor:
        return attention_maps.rollout(network, pixels(part["image_id"]))

    progress = ProgressFile(store.progress(key))
    maps, made = {"class": in_batches(pairs, activation, progress)}, {"class": attention_maps.GRAD_CAM}
    if attention_maps.has_attention(network):
        made = {"rollout": attention_maps.ROLLOUT, "class": attention_maps.GRADIENT_ATTENTION}
        distinct = pairs[["image_id"]].drop_duplicates(ignore_index=True)
        maps["rollout"] = in_batches(distinct, rolled_out, progress)

    # 4. Publish.
    facts = {
        **counts,
        "pairs": len(pairs),
        "grid": list(maps["class"].shape[1:]),
        "side": augment.size,
        "window": list(augment.window(images.meta["size"])),
        "maps": made,
        "predictions": "equal to the stored ones",
        "steps": fitted.outcome.counters.step,
    }
    with record.published(facts) as stage:
        publish_tensors(stage / TENSORS, maps)
        schemas.write(stage / BOXES, annotated, "annotated")


def annotated_boxes(
    rows: pd.DataFrame, spec: Mapping[str, Any], context: JobContext
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Boxes of the task's classes on its test radiographs, and how many there are elsewhere.

    Raises:
        DataError: none, or other boxes than planned.
    """
    data, task = spec["data"], spec["spec"]
    dataset: Dataset = plugins.load("dataset", reader_of(data))
    assert dataset.boxes is not None
    root = phantom_root(dataset, data, context) if data["phantom"] else context.data_root(data["dataset"])
    boxes = dataset.boxes(root, dataset.Params(**data["params"]))
    if not data["phantom"] and digest(boxes) != spec["boxes"]:
        raise DataError("annotated boxes changed since planning", allowed="the same files; explain again", path=root)
    boxes = boxes[boxes["class"].isin(task["classes"])]
    here = boxes.merge(rows[["image_id", "patient_id", "split"]], on="image_id", validate="many_to_one")
    found = here[here["split"] == SPLIT]
    by_split = here.groupby("split")["image_id"].nunique()
    if found.empty:
        seen = ", ".join(f"{count} in {split or 'none'}" for split, count in by_split.items()) or "none at all"
        missing = f"no test image of task '{task['task']}' has an annotated box of its classes"
        raise DataError(missing, allowed=f"annotated test images (annotated images by split: {seen})", path=root)
    order = ["image_id", "class", "reader", "left", "top", "width", "height"]
    annotated = found[[*schemas.SCHEMAS["annotated"].names]].sort_values(order, ignore_index=True)
    counts = {
        "annotated_images": {str(split): int(count) for split, count in by_split.items()},
        "images": int(annotated["image_id"].nunique()),
        "boxes": len(annotated),
    }
    return annotated, counts


def as_before(context: JobContext, stored: Mapping[str, Any]) -> JobContext:
    """The context with what can move the last bit of a training as the stored run had it.

    Raises:
        DataError: it ran on another kind of device, or in another arithmetic.
    """
    then = stored["provenance"]
    device = str(then.get("device", context.device)).partition(":")[0]
    if device != context.device.partition(":")[0]:
        raise DataError(f"the cell was trained on {device}, this job runs on {context.device}", allowed=device)
    computed = str(then.get("arithmetic", arithmetic.NATIVE))
    if computed != (now := arithmetic.chosen(context.device)):
        found = f"the cell was trained in {computed} arithmetic, this job computes in {now} arithmetic"
        raise DataError(found, allowed=f"'execution: {{arithmetic: {computed}}}' in the manifest")
    parts = stored["facts"].get("accumulation", {}).get("parts", 1)
    return replace(context, threads=int(then.get("threads", context.threads)), accumulate=int(parts))


def check_predictions(found: pd.DataFrame, path: Path, stored: Mapping[str, Any]) -> None:
    """Refuse a classifier that is not the stored one.

    Args:
        found: predictions of the classifier trained again.
        path: the stored ones.
        stored: record of the stored run, for the message.

    Raises:
        DataError: other images, labels or logits.
    """
    before = schemas.read(path, "predictions")
    names = ["image_id", "class", "split"]
    now = found.reset_index()
    same_rows = len(now) == len(before) and all((now[name] == before[name]).all() for name in names)
    if same_rows and np.array_equal(now["logit"].to_numpy(np.float32), before["logit"].to_numpy(np.float32)):
        return
    largest = float(np.abs(now["logit"].to_numpy() - before["logit"].to_numpy()).max()) if same_rows else None
    what = f"logits differ by up to {largest:.3g}" if same_rows else "it predicts other images or classes"
    then = stored["provenance"]
    cpu = then.get("hardware", {}).get("cpu", "unknown processor")
    torch_version = then.get("packages", {}).get("torch", "unknown")
    allowed = f"the machine and versions of the stored run ({cpu}, torch {torch_version}), "
    allowed += "or another results folder (--results) where it is run anew"
    raise DataError(
        f"fine-tuned again, the cell does not give its stored predictions: {what}", allowed=allowed, path=path
    )


def in_batches(
    rows: pd.DataFrame, compute: Callable[[pd.DataFrame], Tensor], progress: Callable[[Mapping[str, Any]], None]
) -> Tensor:
    """Maps of all rows, (rows, g, g) float32 on the CPU."""
    found = []
    for start in range(0, len(rows), BATCH):
        found.append(compute(rows.iloc[start : start + BATCH]).float().cpu())
        progress({"step": min(start + BATCH, len(rows)), "steps": len(rows), "losses": {}, "images_per_s": 0})
    return torch.cat(found)
