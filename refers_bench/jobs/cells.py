"""Gives a cell its labelled images, and turns its logits into predictions and metrics, however it is evaluated."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from refers_bench import plugins
from refers_bench.analysis.class_metrics import class_metrics
from refers_bench.data.folds import splits
from refers_bench.data.index import rows_of_task, with_task
from refers_bench.data.subsets import Subset, published, subset
from refers_bench.errors import DataError
from refers_bench.files import publish_json
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import reader_of

_LOG = logging.getLogger(__name__)

#: Splits that are predicted, in the order of the stored rows.
SCORED = ("test", "val")

#: What a label subset depends on besides its images and classes.
DRAWN_BY = ("dataset", "task", "label_ratio", "seed")


def scored(
    logits: Mapping[str, NDArray[np.float32]],
    *,
    rows: Mapping[str, pd.DataFrame],
    labels: Mapping[str, NDArray[np.float32]],
    classes: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and metrics of all splits that are predicted.

    Args:
        logits: split -> (N, K).
        rows: split -> N index rows.
        labels: split -> (N, K), NaN where unknown.
        classes: K names.
    """
    predictions = [prediction_rows(rows[one], labels[one], logits[one], classes, split=one) for one in SCORED]
    metrics = [metric_rows(labels[one], logits[one], classes, split=one) for one in SCORED]
    return pd.concat(predictions), pd.concat(metrics)


def write(stage: Path, scores: tuple[pd.DataFrame, pd.DataFrame], *, spec: Mapping[str, Any], chosen: Subset) -> None:
    """Write predictions, metrics and label subset of a cell into the folder of its result."""
    predictions, metrics = scores
    schemas.write(stage / "predictions.parquet", predictions, "predictions")
    schemas.write(stage / "metrics.parquet", metrics, "metrics")
    about = {"version": 1, **{name: spec[name] for name in DRAWN_BY}}
    publish_json(stage / "subset.json", {**about, **asdict(chosen)})


def labelled_rows(
    index: pd.DataFrame, spec: Mapping[str, Any], context: JobContext
) -> tuple[dict[str, pd.DataFrame], Subset]:
    """Split -> index rows with labels of the task, those of the training split in the label subset; the label subset.

    Raises:
        DataError: no training or test image, or no published label subset of that name.
    """
    labelled = rows_of_task(with_task(index, reader_of(spec), spec["task"]), spec["task"])
    if fold := spec.get("fold"):
        about: dict[str, Any] = {name: spec[name] for name in ("dataset", "task", "classes")}
        labelled = labelled.assign(split=splits(labelled, **about, **fold))
    rows = {split: labelled[labelled["split"] == split] for split in ("train", "val", "test")}
    for split in ("train", "test"):
        if rows[split].empty:
            found = f"task '{spec['task']}' of '{spec['dataset']}' has no labelled image in its {split} split"
            raise DataError(found, allowed="images of every split", path=context.prepared(spec["prepare"]))
    by_patient = plugins.load("dataset", reader_of(spec)).tasks[spec["task"]].group_by_patient
    if name := spec.get("subset"):
        chosen = published(rows["train"], name, task=spec["task"], classes=tuple(spec["classes"]))
    else:
        names = {name: spec[name] for name in DRAWN_BY}
        chosen = subset(rows["train"], classes=tuple(spec["classes"]), by_patient=by_patient, **names)
    if chosen.empty:
        positives = ", ".join(chosen.empty)
        _LOG.warning("none of the %d training images is positive for %s", len(chosen.image_ids), positives)
    rows["train"] = labelled[labelled["image_id"].isin(chosen.image_ids)]
    return rows, chosen


def facts(rows: Mapping[str, pd.DataFrame], chosen: Subset) -> dict[str, Any]:
    """What a record says of a cell's images and labels."""
    return {
        "images": {split: len(part) for split, part in rows.items()},
        "subset": {"digest": chosen.digest, "positives": chosen.positives, "negatives": chosen.negatives},
        "classes_without_positives": list(chosen.empty),
    }


def prediction_rows(
    rows: pd.DataFrame,
    labels_NK: NDArray[np.float32],
    logits_NK: NDArray[np.float32],
    classes: Sequence[str],
    *,
    split: str,
) -> pd.DataFrame:
    """One row per image and class, in the order of image and class names."""
    frame = pd.DataFrame(
        {
            "image_id": np.repeat(rows["image_id"].to_numpy(str), len(classes)),
            "patient_id": np.repeat(rows["patient_id"].to_numpy(str), len(classes)),
            "class": np.tile(np.array(classes, dtype=str), len(rows)),
            "label": pd.array(labels_NK.ravel(), dtype="Float32").astype("Int8"),
            "logit": logits_NK.ravel().astype(np.float32),
            "split": split,
        }
    )
    return frame.sort_values(["image_id", "class"], ignore_index=True)


def metric_rows(
    labels_NK: NDArray[np.float32], logits_NK: NDArray[np.float32], classes: Sequence[str], *, split: str
) -> pd.DataFrame:
    """One row per class."""
    found = class_metrics(labels_NK, logits_NK, classes, split=split)
    return pd.DataFrame(
        {
            "class": list(found.names),
            "auc": np.array(found.aucs, np.float64),
            "n_pos": np.array(found.n_pos, np.int64),
            "n_neg": np.array(found.n_neg, np.int64),
            "undefined": list(found.undefined),
            "split": split,
        }
    )
