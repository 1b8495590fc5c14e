"""Puts the predictions of the folds of one cell together, so that every image of the task is scored once.

An image is tested in one fold and validates in the one before, so both splits of the result hold every image once.
AUCs are computed over all images together (pooled), from scores of as many models as there are folds; the mean over
folds, which compares scores of one model only, is recorded beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from refers_bench.analysis.predictions import FILE, UNKNOWN, Predictions, read
from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.analysis.statistics.seeds import mean_sd
from refers_bench.errors import DataError, Problem
from refers_bench.jobs import cells
from refers_bench.jobs.cells import SCORED
from refers_bench.jobs.record import Record
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Split -> predictions of each fold, in the order of the folds.
Rounds = Mapping[str, Sequence[Predictions]]


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Publish the predictions of all folds as those of one result, with pooled AUCs and what each fold has.

    Raises:
        DataError: a fold has no result or a damaged one, or the folds do not score every image once.
        UserError: stored predictions cannot be read.
        StorageError: results cannot be written.
    """
    spec, store = job["spec"], ResultStore(context.results)
    record = Record(job, store, context)
    classes = tuple(spec["classes"])
    paths = [store.file(key, FILE) for key in spec["folds"]]
    rounds = {split: [read(path, split=split, classes=classes) for path in paths] for split in SCORED}
    if problems := _problems(rounds):
        raise DataError([Problem(found=f"{spec['dataset']}/{spec['task']}: {found}") for found in problems])
    logits, labels, rows = {}, {}, {}
    for split, found in rounds.items():
        logits[split] = np.concatenate([one.scores_NK for one in found])
        labels[split] = np.concatenate([_with_nan(one) for one in found])
        rows[split] = pd.concat([pd.DataFrame({"image_id": o.image_ids, "patient_id": o.patient_ids}) for o in found])
    predictions, metrics = cells.scored(logits, rows=rows, labels=labels, classes=classes)
    facts = {
        "images": {split: len(part) for split, part in rows.items()},
        "folds": by_class(rounds["test"], metrics[metrics["split"] == "test"]),
    }
    with record.published(facts) as stage:
        schemas.write(stage / FILE, predictions, "predictions")
        schemas.write(stage / "metrics.parquet", metrics, "metrics")


def by_class(rounds: Sequence[Predictions], pooled: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Class -> AUC of each fold's test images (None where undefined), their mean and SD, and the pooled AUC beside.

    Args:
        rounds: test predictions of each fold.
        pooled: metrics of all of them together.
    """
    aucs_FK = [class_aucs(_with_nan(one), one.scores_NK).auc_K.tolist() for one in rounds]
    found = {}
    for name, auc, aucs_F in zip(pooled["class"], pooled["auc"], zip(*aucs_FK, strict=True), strict=True):
        defined = [one for one in aucs_F if one == one]
        mean, sd = mean_sd(defined) if defined else (None, None)
        found[name] = {
            "auc": [one if one == one else None for one in aucs_F],
            "mean": mean,
            "sd": sd if len(defined) > 1 else None,
            "undefined": [fold for fold, one in enumerate(aucs_F) if one != one],
            "pooled": None if auc != auc else float(auc),
        }
    return found


def _with_nan(found: Predictions) -> Any:
    """Labels (N, K) as float32, NaN where unknown."""
    return np.where(found.labels_NK == UNKNOWN, np.nan, found.labels_NK).astype(np.float32)


def _problems(rounds: Rounds) -> list[str]:
    """What is wrong with folds that do not score every image once, or divide a patient."""
    found = []
    for what in ("image", "patient"):
        seen: dict[str, int] = {}
        for fold, one in enumerate(rounds["test"]):
            ids = set(one.image_ids if what == "image" else one.patient_ids) - {""}
            twice = sorted(ids & seen.keys())
            found += [f"{what} '{name}' is tested in folds {seen[name]} and {fold}" for name in twice[:5]]
            seen |= dict.fromkeys(ids, fold)
    # Each fold validates the one before it: a fold that lacks images, or is another one's, is seen here.
    for fold, one in enumerate(rounds["val"]):
        after = (fold + 1) % len(rounds["test"])
        if one.image_ids != rounds["test"][after].image_ids:
            found.append(f"the images that fold {fold} validates on are not those that fold {after} is tested on")
    return found
