"""How does an encoder become a classifier of one task, and what does it predict?"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from refers_bench import identity, plugins
from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, labels_of
from refers_bench.data.prepare import PreparedImages
from refers_bench.data.subsets import Subset, subset
from refers_bench.errors import DataError
from refers_bench.files import publish_json
from refers_bench.jobs.record import Record
from refers_bench.jobs.roots import data_root, prepared_folder
from refers_bench.jobs.setup import (
    build_encoder,
    load_method,
    open_prepared,
    outcome_facts,
    rows_of_task,
    start,
    trained,
    write_history,
)
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.losses import known, masked_bce
from refers_bench.plugins import Method
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training import weight_files
from refers_bench.training.checkpoints import load_weights, read_tensors
from refers_bench.training.loop import Outcome

_LOG = logging.getLogger(__name__)

#: Radiographs per forward pass of an evaluation: bounds memory, and is part of the numerics.
EVALUATION_BATCH = 64

#: Splits that are predicted, in the order of the stored rows.
SCORED = ("test", "val")

#: `select` of a protocol -> validation metric and whether more is better.
SELECTIONS: Mapping[str, tuple[str, bool]] = {
    "best_auc": ("val/auc", True),
    "best_loss": ("val/loss", False),
    "last": ("", False),
}


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A classifier with its chosen weights, and the radiographs it was trained on and is scored on.

    Attributes:
        classifier: on the device, trained.
        classes: K names, in the order of its outputs.
        images: the prepared radiographs.
        parts: split -> index rows; of the training split those of the label subset.
        labels: split -> float32 (N, K).
        sources: split -> radiographs as tensors.
        chosen: the label subset.
        outcome: of the training.
        facts: what a record says of all this.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    images: PreparedImages
    parts: Mapping[str, pd.DataFrame]
    labels: Mapping[str, npt.NDArray[np.float32]]
    sources: Mapping[str, RadiographSource]
    chosen: Subset
    outcome: Outcome
    facts: Mapping[str, Any]


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Fine-tune one cell and publish its predictions, metrics, label subset, history and record.

    Raises:
        DataError: no training or test image of the task, no prepared images, or no fitting checkpoint.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec = job["key"], job["spec"]
    record, store = Record.start(job, context), ResultStore(context.results)
    fitted = fit(key, spec, context, work=store.work_folder(key))
    predictions, metrics = scored(fitted)
    with store.publish(key) as stage:
        schemas.write(stage / "predictions.parquet", predictions, "predictions")
        schemas.write(stage / "metrics.parquet", metrics, "metrics")
        write_history(stage / "history.parquet", fitted.outcome)
        publish_json(stage / "subset.json", subset_record(fitted.chosen, spec))
        record.write(stage, facts=fitted.facts)


def fit(key: str, spec: Mapping[str, Any], context: JobContext, *, work: Path) -> Fitted:
    """Train one cell's classifier: the same key gives the same weights, whoever asks.

    Args:
        key: of the cell; names every random stream.
        spec: of the cell.
        context: folders and device.
        work: folder of the resumable state and the progress.

    Raises:
        DataError: no training or test image of the task, no prepared images, or no fitting checkpoint.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: the state cannot be written.
    """
    section, store, device = spec["finetune"], ResultStore(context.results), start(context)
    method, params = load_method(spec)
    classes = tuple(spec["classes"])

    # 1. The labelled images: of the training split a subset that is the same for every method.
    images = open_prepared(context, spec["prepare"])
    rows = rows_of_task(images.index, spec["task"])
    _check_splits(rows, spec=spec, context=context)
    chosen = label_subset(rows, spec)
    if chosen.empty:
        _LOG.warning(
            "none of the %d training images is positive for %s", len(chosen.image_ids), ", ".join(chosen.empty)
        )
    parts = {split: rows[rows["split"] == split] for split in ("train", "val", "test")}
    parts["train"] = rows[rows["image_id"].isin(chosen.image_ids)]
    labels = {split: labels_of(part, spec["task"], classes) for split, part in parts.items()}

    # 2. Encoder, with the weights of its pre-training, and a new head.
    encoder = build_encoder(method, spec, seed=identity.seed(key, "init"))
    brings = bool(spec.get("weights"))
    weights = load_brought(encoder, method, params, context) if brings else load_pretrained(encoder, store, spec)
    classifier = Classifier(encoder, len(classes)).to(device)

    # 3. Batches of step t; validation and test as they are.
    augment = Augment.of(spec["image"], "finetune_augment")
    sources = {
        split: RadiographSource(
            images.images_NHW, part["place"].to_numpy(), labels[split], augment=augment, device=device, key=key
        )
        for split, part in parts.items()
    }
    select, why = selection(section["select"], labels["val"])

    # 4. Train: binary cross-entropy per class in, the chosen weights out.
    metric, higher = SELECTIONS[select]
    outcome = trained(
        classifier,
        section,
        key=key,
        work=work,
        context=context,
        source=sources["train"],
        losses=lambda batch: {"bce": masked_bce(classifier(batch.images_BCHW), batch.labels_BK)},
        validate=validator(classifier, sources["val"], labels["val"]) if len(parts["val"]) else None,
        metric=metric,
        higher_is_better=higher,
        counts=lambda batch: {"bce": known(batch.labels_BK).sum()},
    )
    facts = {
        "images": {split: len(part) for split, part in parts.items()},
        "subset": {"digest": chosen.digest, "positives": chosen.positives, "negatives": chosen.negatives},
        "classes_without_positives": list(chosen.empty),
        "encoder": weights,
        "selected": select,
        "selected_because": why,
        "data_digest": images.meta["digest"],
        **outcome_facts(outcome),
    }
    return Fitted(
        classifier=classifier,
        classes=classes,
        images=images,
        parts=parts,
        labels=labels,
        sources=sources,
        chosen=chosen,
        outcome=outcome,
        facts=facts,
    )


def _check_splits(rows: pd.DataFrame, *, spec: Mapping[str, Any], context: JobContext) -> None:
    for split in ("train", "test"):
        if not (rows["split"] == split).any():
            raise DataError(
                f"task '{spec['task']}' of '{spec['dataset']}' has no labelled image in its {split} split",
                allowed="images of every split",
                path=prepared_folder(context, spec["prepare"]),
            )


def scored(fitted: Fitted) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and metrics of all splits that are predicted."""
    parts, labels, classes = fitted.parts, fitted.labels, fitted.classes
    logits = {split: predict(fitted.classifier, fitted.sources[split]) for split in SCORED}
    predictions = [prediction_rows(parts[s], labels[s], logits[s], classes=classes, split=s) for s in SCORED]
    metrics = [metric_rows(labels[s], logits[s], classes=classes, split=s) for s in SCORED]
    return pd.concat(predictions), pd.concat(metrics)


def label_subset(rows: pd.DataFrame, spec: Mapping[str, Any]) -> Subset:
    """The training images whose labels this cell may use."""
    task = plugins.load("dataset", spec["dataset"]).tasks[spec["task"]]
    return subset(
        rows[rows["split"] == "train"],
        dataset=spec["dataset"],
        task=spec["task"],
        classes=tuple(spec["classes"]),
        label_ratio=spec["label_ratio"],
        seed=spec["seed"],
        by_patient=task.group_by_patient,
    )


def subset_record(chosen: Subset, spec: Mapping[str, Any]) -> dict[str, Any]:
    """``subset.json``: which labels were used."""
    names = ("dataset", "task", "label_ratio", "seed")
    return {"version": 1, **{name: spec[name] for name in names}, **asdict(chosen)}


def load_pretrained(encoder: nn.Module, store: ResultStore, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the encoder from its pre-training, and prove it.

    Returns:
        What was loaded: names filled, and how many of them differ from the random initialisation.

    Raises:
        DataError: no checkpoint, or one that does not fit or changes nothing.
    """
    key = spec["pretrain"]
    if key is None:
        return {"from": None, "loaded": 0, "differ_from_random": 0}
    path = store.folder(key) / "checkpoint.safetensors"
    if not path.is_file():
        raise DataError("the pre-training has left no checkpoint", allowed="run it first", path=path)
    weights, _ = read_tensors(path)
    coverage = load_weights(encoder, weights, path=path)
    if not coverage.changed:
        raise DataError("the checkpoint equals the random initialisation", path=path)
    return {"from": key, "loaded": len(coverage.loaded), "differ_from_random": coverage.changed}


def load_brought(encoder: nn.Module, method: Method, params: Any, context: JobContext) -> dict[str, Any]:
    """Fill the encoder from the weights that the method brings, and prove it.

    Returns:
        As `load_pretrained`, with the tensors that neither side has a place for.

    Raises:
        UserError: the data root is not set.
        DataError: weights that do not fit, are not finite, or change nothing.
    """
    name = method.weights(params)
    path = data_root(context, name, folder=False)
    coverage, layout = weight_files.load(encoder, path, minimum=method.coverage(params))
    if not coverage.changed:
        raise DataError("the weights equal the random initialisation", path=path)
    return {
        "from": name,
        "layout": layout.name,
        "remark": layout.remark,
        "loaded": len(coverage.loaded),
        "differ_from_random": coverage.changed,
        "derived": list(coverage.derived),
        "missing": list(coverage.missing),
        "unexpected": list(coverage.unexpected),
    }


def selection(wanted: str, labels_NK: npt.NDArray[np.float32]) -> tuple[str, str]:
    """What really chooses the weights, and why it is not what the protocol wants; '' when it is.

    Args:
        wanted: "best_auc", "best_loss" or "last".
        labels_NK: of the validation split.
    """
    if wanted != "last" and not len(labels_NK):
        return "last", "there is no validation image"
    if wanted == "best_auc" and not ((labels_NK == 1).any(axis=0) & (labels_NK == 0).any(axis=0)).any():
        return "best_loss", "no class has positive and negative validation images"
    return wanted, ""


def predict(classifier: nn.Module, source: RadiographSource) -> npt.NDArray[np.float32]:
    """Float32 logits (N, K) of unaugmented radiographs; never in reduced precision, which would make ties."""
    classifier.eval()
    with torch.no_grad():
        parts = [
            classifier(batch.images_BCHW).float().cpu().numpy() for batch in source.fixed(batch_size=EVALUATION_BATCH)
        ]
    if not parts:
        return np.zeros((0, source.labels.shape[1]), np.float32)
    return np.concatenate(parts)


def validator(
    classifier: nn.Module, source: RadiographSource, labels_NK: npt.NDArray[np.float32]
) -> Callable[[], dict[str, float]]:
    """Mean AUC over the classes that have one, and the loss, over the validation split."""

    def validate() -> dict[str, float]:
        logits_NK = predict(classifier, source)
        loss = masked_bce(torch.from_numpy(logits_NK), torch.from_numpy(labels_NK)).item()
        # Diverged weights have no order; the loop sees the training loss next.
        auc = class_aucs(labels_NK, logits_NK).mean if np.isfinite(logits_NK).all() else math.nan
        return {"val/loss": loss, "val/auc": auc}

    return validate


def prediction_rows(
    rows: pd.DataFrame,
    labels_NK: npt.NDArray[np.float32],
    logits_NK: npt.NDArray[np.float32],
    *,
    classes: tuple[str, ...],
    split: str,
) -> pd.DataFrame:
    """One row per image and class, in the order of image and class names."""
    count = len(classes)
    frame = pd.DataFrame(
        {
            "image_id": np.repeat(rows["image_id"].to_numpy(str), count),
            "patient_id": np.repeat(rows["patient_id"].to_numpy(str), count),
            "class": np.tile(np.array(classes, dtype=str), len(rows)),
            "label": pd.array(labels_NK.ravel(), dtype="Float32").astype("Int8"),
            "logit": logits_NK.ravel().astype(np.float32),
            "split": split,
        }
    )
    return frame.sort_values(["image_id", "class"], ignore_index=True)


def metric_rows(
    labels_NK: npt.NDArray[np.float32], logits_NK: npt.NDArray[np.float32], *, classes: tuple[str, ...], split: str
) -> pd.DataFrame:
    """One row per class."""
    scored = class_aucs(labels_NK, logits_NK)
    return pd.DataFrame(
        {
            "class": list(classes),
            "auc": scored.auc_K,
            "n_pos": scored.n_pos_K,
            "n_neg": scored.n_neg_K,
            "undefined": list(scored.undefined),
            "split": split,
        }
    )
