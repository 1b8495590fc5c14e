"""Turns an encoder into a classifier of one task, and publishes what it predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, labels_of
from refers_bench.data.subsets import Subset
from refers_bench.jobs import cells, heads, setup, streams
from refers_bench.jobs.cells import SCORED, labelled_rows
from refers_bench.jobs.record import Record
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.losses import known, masked_bce
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.loop import Outcome

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
        rows: split -> index rows; of the training split those of the label subset.
        sources: split -> radiographs and labels as tensors.
        chosen: the label subset.
        outcome: of the training.
        facts: what a record says of all this.
    """

    classifier: Classifier
    rows: Mapping[str, pd.DataFrame]
    sources: Mapping[str, RadiographSource]
    chosen: Subset
    outcome: Outcome
    facts: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the classifier's outputs."""
        return tuple(self.chosen.positives)

    def labels(self, split: str) -> NDArray[np.float32]:
        """Labels (N, K) of a split, NaN where unknown."""
        return self.sources[split].labels


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Fine-tune one cell and publish its predictions, metrics, label subset, history and record.

    Raises:
        DataError: no training or test image of the task, no prepared images, or no fitting checkpoint.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec, store = job["key"], job["spec"], ResultStore(context.results)
    record = Record(job, store, context)
    fitted = fit(key, spec, context, work=store.work_folder(key))
    scores = scored(fitted)
    with setup.published(record, fitted.outcome, fitted.facts) as stage:
        cells.write(stage, scores, spec=spec, chosen=fitted.chosen)


def fit(key: str, spec: Mapping[str, Any], context: JobContext, *, work: Path) -> Fitted:
    """Train one cell's classifier: the same key gives the same weights, whoever asks.

    Args:
        key: of the cell; names every random stream, unless seeds are crossed (`refers_bench.jobs.streams`).
        spec: of the cell.
        context: folders and device.
        work: folder of the resumable state and the progress.

    Raises:
        DataError: no training or test image of the task, no prepared images, or no fitting checkpoint.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: the state cannot be written.
    """
    section, device = spec["finetune"], setup.start(context)
    classes, names = tuple(spec["classes"]), streams.of_cell(key, spec)

    # 1. The labelled images: of the training split a subset that is the same for every method.
    images = setup.open_prepared(context, spec["prepare"])
    rows, chosen = labelled_rows(images.index, spec, context)
    labels = {split: labels_of(part, spec["task"], classes) for split, part in rows.items()}

    # 2. Encoder, with the weights of its pre-training, and a new head; or the head that was fitted to this encoder.
    probe = heads.read(ResultStore(context.results), spec) if "heads" in spec else None
    encoder, weights = setup.start_encoder(probe.features if probe else names.init, spec, context)
    classifier = Classifier(encoder, len(classes)).to(device)
    if probe:
        heads.start(classifier.head, probe)

    # 3. Batches of step t; validation and test as they are.
    how: dict[str, Any] = {
        "augment": Augment.of(spec["image"], "finetune_augment"),
        "device": device,
        "key": names.order,
    }
    # What is read again and again is kept near; the test images are read once.
    near = setup.near(images.images_NHW, [rows["train"], rows["val"]], context)
    sources = {
        split: RadiographSource(
            images.images_NHW if split == "test" else near, part["place"].to_numpy(), labels[split], **how
        )
        for split, part in rows.items()
    }

    # 4. Train: binary cross-entropy per class in, the chosen weights out.
    outcome, selected = trained(classifier, section, key=names.order, work=work, context=context, sources=sources)
    facts = {
        **cells.facts(rows, chosen),
        "encoder": weights,
        **({"head": dict(probe.about)} if probe else {}),
        **selected,
        "data_digest": images.meta["digest"],
    }
    return Fitted(classifier=classifier, rows=rows, sources=sources, chosen=chosen, outcome=outcome, facts=facts)


def trained(
    network: nn.Module,
    section: Mapping[str, Any],
    *,
    key: str,
    work: Path,
    context: JobContext,
    sources: Mapping[str, RadiographSource],
) -> tuple[Outcome, dict[str, Any]]:
    """Train a network on labels by binary cross-entropy, and choose its weights on validation.

    Args:
        network: radiographs -> logits (B, K), on the device; ends with the chosen weights.
        section: `finetune` of a protocol.
        key: names the random streams of the training.
        work: folder of the resumable state and the progress.
        context: folders and device.
        sources: split -> radiographs with their labels.

    Returns:
        The outcome; what chose the weights, for the record.

    Raises:
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: the state cannot be written.
    """
    val = sources["val"]
    select, why = selection(section["select"], val.labels)
    metric, higher = SELECTIONS[select]
    outcome = setup.trained(
        network,
        section,
        key=key,
        work=work,
        context=context,
        source=sources["train"],
        losses=lambda batch: {"bce": masked_bce(network(batch.images_BCHW), batch.labels_BK)},
        validate=validator(network, val, val.labels) if len(val) else None,
        metric=metric,
        higher_is_better=higher,
        counts=lambda batch: {"bce": known(batch.labels_BK).sum()},
    )
    return outcome, {"selected": select, "selected_because": why}


def scored(fitted: Fitted) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and metrics of all splits that are predicted."""
    logits = {split: predict(fitted.classifier, fitted.sources[split]) for split in SCORED}
    labels = {split: fitted.labels(split) for split in SCORED}
    return cells.scored(logits, rows=fitted.rows, labels=labels, classes=fitted.classes)


def selection(wanted: str, labels_NK: NDArray[np.float32]) -> tuple[str, str]:
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


def predict(classifier: nn.Module, source: RadiographSource) -> NDArray[np.float32]:
    """Float32 logits (N, K) of unaugmented radiographs; never in reduced precision, which would make ties."""
    none = np.zeros((0, source.labels.shape[1]), np.float32)
    return np.concatenate([none, *setup.outputs(classifier, source)])


def validator(
    classifier: nn.Module, source: RadiographSource, labels_NK: NDArray[np.float32]
) -> Callable[[], dict[str, float]]:
    """Mean AUC over the classes that have one, and the loss, over the validation split."""

    def validate() -> dict[str, float]:
        logits_NK = predict(classifier, source)
        loss = masked_bce(torch.from_numpy(logits_NK), torch.from_numpy(labels_NK)).item()
        # Diverged weights have no order; the loop sees the training loss next.
        auc = class_aucs(labels_NK, logits_NK).mean if np.isfinite(logits_NK).all() else math.nan
        return {"val/loss": loss, "val/auc": auc}

    return validate
