"""Draws the images whose labels a label ratio allows, the same for every method and nested, or takes published ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from refers_bench import identity
from refers_bench.errors import DataError
from refers_bench.plugins import SUBSETS


@dataclass(frozen=True, kw_only=True)
class Subset:
    """A label subset of a training split.

    Attributes:
        image_ids: sorted.
        digest: SHA-256 over the ids, one a line.
        positives: class -> positive labels.
        negatives: class -> negative labels.
        empty: classes without a positive label.
    """

    image_ids: tuple[str, ...]
    digest: str
    positives: dict[str, int]
    negatives: dict[str, int]
    empty: tuple[str, ...]


def subset(
    train: pd.DataFrame,
    *,
    dataset: str,
    task: str,
    classes: tuple[str, ...],
    label_ratio: float,
    seed: int,
    by_patient: bool,
) -> Subset:
    """Draw the images whose labels may be used.

    Units (patients, or images) are put in one random order that depends on dataset, task and seed only; a ratio takes
    whole units from its front until ``max(1, round(ratio * N))`` images are reached. Smaller ratios are therefore
    subsets of larger ones, and a patient is never divided. The method plays no part.

    Args:
        train: index rows of the training split that belong to the task.
        dataset: id.
        task: id.
        classes: label columns are ``"<task>:<class>"``.
        label_ratio: in (0, 1].
        seed: of the fine-tuning run.
        by_patient: whether a patient's images stay together.

    Raises:
        ValueError: the ratio is outside (0, 1], or there is no row.
    """
    if not 0 < label_ratio <= 1:
        raise ValueError(f"label ratio must be in (0, 1], got {label_ratio}")
    if train.empty:
        raise ValueError(f"{dataset}/{task}: the training split is empty")
    units = train["patient_id" if by_patient else "image_id"].to_numpy(str)
    # Each unit's place in the order is a hash of its own name: adding images does not reshuffle the others.
    place = {unit: identity.seed("label subset", dataset, task, seed, str(unit)) for unit in np.unique(units)}
    order = np.array([place[unit] for unit in units], dtype=np.uint64)
    wanted = max(1, round(label_ratio * len(train)))
    last = np.sort(order)[wanted - 1]
    return _subset(train[order <= last], task=task, classes=classes)


def published(train: pd.DataFrame, name: str, *, task: str, classes: tuple[str, ...]) -> Subset:
    """The images of a published label subset, which is drawn by nobody and need not be nested in another.

    Args:
        train: index rows of the training split that belong to the task.
        name: of the subset, such as "train_1".
        task: id.
        classes: label columns are ``"<task>:<class>"``.

    Raises:
        DataError: the index knows no subset of that name.
    """
    known = train[SUBSETS].str.split() if SUBSETS in train.columns else pd.Series([[]] * len(train), index=train.index)
    chosen = train[known.map(lambda names: name in names).astype(bool)]
    if chosen.empty:
        there = sorted({one for names in known for one in names})
        allowed = ", ".join(there) or "lists that have one, such as 'lists: {pack: nih-mrm}'"
        raise DataError(f"no training image is in a published label subset '{name}'", allowed=allowed)
    return _subset(chosen, task=task, classes=classes)


def _subset(chosen: pd.DataFrame, *, task: str, classes: tuple[str, ...]) -> Subset:
    """The record of the chosen rows."""
    ids = tuple(sorted(chosen["image_id"]))
    counts = [{name: int((chosen[f"{task}:{name}"] == label).sum()) for name in classes} for label in (0, 1)]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    empty = tuple(name for name, count in counts[1].items() if not count)
    return Subset(image_ids=ids, digest=digest, positives=counts[1], negatives=counts[0], empty=empty)
