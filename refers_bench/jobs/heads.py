"""Fits the linear probes of one encoder: of all tasks, label ratios, seeds and folds of a dataset together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.data.batches import labels_of
from refers_bench.data.features import CachedFeatures
from refers_bench.errors import DataError
from refers_bench.files import publish_json, read_json
from refers_bench.jobs import cells, setup
from refers_bench.jobs.features import opened
from refers_bench.jobs.record import Record
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training import heads as solver
from refers_bench.training.checkpoints import publish_tensors, read_tensors
from refers_bench.training.heads import Choice, Group, Heads
from refers_bench.training.logistic import TOLERANCE

HEADS, ABOUT = "heads.safetensors", "heads.json"
#: What tells the groups of a job apart; "fold" and "subset" are absent where there are none.
GROUP = ("task", "classes", "label_ratio", "subset", "seed", "fold")


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Fit the probes of all groups, choose C of each by its mean validation AUC, and publish them.

    Raises:
        DataError: no training or test image of a task, no features or changed ones, or a feature that is not finite.
        StorageError: results cannot be written.
    """
    spec, store = job["spec"], ResultStore(context.results)
    record, device = Record(job, store, context), setup.start(context)
    images = setup.open_prepared(context, spec["prepare"])
    cached, section = opened(spec["features"], images, context), spec["frozen"]

    # 1. The labelled images of each group; of the training split the subset that fine-tuning has, too.
    where = {name: spec[name] for name in ("dataset", "reader", "prepare") if name in spec}
    parts = [parts_of({**where, **group}, images.index, context) for group in spec["groups"]]

    # 2. One fit of them all, and the choice of C for each.
    rule: dict[str, Any] = {"c_C": section["grid"], "components": section["components"], "device": device}
    fitted = solver.fit_logistic(cached.features, groups=[part["train"] for part in parts], **rule)
    tensors, about = {}, []
    for number, (group, part, heads) in enumerate(zip(spec["groups"], parts, fitted, strict=True)):
        choice = chosen(cached, part["val"], heads, section["grid"])
        for name, values in (("weight", heads.weight_CKD), ("bias", heads.bias_CK)):
            # A class that could not be fitted is scored alike for all images: its AUC is one half.
            tensors[f"{number}.{name}"] = torch.from_numpy(np.nan_to_num(values[choice.index]).astype(np.float32))
        said = described(choice, section["grid"], heads.undefined, group["classes"])
        about.append({**group, "c": choice.value, **said})

    # 3. Publish the chosen ones.
    facts = {
        "groups": len(about),
        "values_of_c": len(section["grid"]),
        "tolerance": TOLERANCE,
        "features_digest": cached.meta["digest"],
        "data_digest": images.meta["digest"],
    }
    with record.published(facts) as stage:
        publish_tensors(stage / HEADS, tensors)
        publish_json(stage / ABOUT, {"version": 1, "features": spec["features"], "groups": about})


def parts_of(spec: Mapping[str, Any], index: pd.DataFrame, context: JobContext) -> dict[str, Group]:
    """Split -> rows and labels of a cell.

    Raises:
        DataError: no training or test image.
    """
    rows, _ = cells.labelled_rows(index, spec, context)
    return {
        split: Group(rows_n=part["place"].to_numpy(np.int64), labels_nK=labels_of(part, spec["task"], spec["classes"]))
        for split, part in rows.items()
    }


def chosen(cached: CachedFeatures, val: Group, heads: Heads, grid: Sequence[float]) -> Choice:
    """The value of C that ranks a group's validation images best."""
    weight_KD = heads.weight_CKD.reshape(-1, heads.weight_CKD.shape[-1])  # of all values of C
    scores = solver.scores(cached.features, rows_n=val.rows_n, weight_KD=weight_KD, bias_K=heads.bias_CK.ravel())
    scores_CnK = scores.reshape(len(scores), *heads.bias_CK.shape).transpose(1, 0, 2)
    return solver.choose(scores_CnK, val.labels_nK, candidates=grid, mean_auc=mean_auc)


def mean_auc(labels_nK: NDArray[Any], scores_nK: NDArray[Any]) -> float:
    """Mean AUC over the classes that have one."""
    return class_aucs(labels_nK, scores_nK).mean


def described(
    choice: Choice, candidates: Sequence[float], undefined: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """What is said of a choice among values of C or k.

    Args:
        choice: what was chosen.
        candidates: all values.
        undefined: of each class why nothing could be fitted, or ''.
        classes: their names.
    """
    return {
        "chosen_because": choice.reason,
        "validation_auc": {f"{value:g}": auc for value, auc in zip(candidates, choice.auc, strict=False)},
        "not_fitted": {name: why for name, why in zip(classes, undefined, strict=True) if why},
    }


@dataclass(frozen=True, kw_only=True)
class Head:
    """The chosen linear probe of one cell, or of one fold of it.

    Attributes:
        weight_KD: of the features as they are cached, float32.
        bias_K: float32.
        features: key of the job that computed them; it names the random weights of their encoder, too.
        about: what chose it.
    """

    weight_KD: Tensor
    bias_K: Tensor
    features: str
    about: Mapping[str, Any]


def read(store: ResultStore, spec: Mapping[str, Any]) -> Head:
    """The linear probe of a cell.

    Args:
        store: holds the result of the job of kind "heads".
        spec: of the cell, with that job's key.

    Raises:
        DataError: there is no such result or a damaged one, or it has no probe of this cell.
    """
    path, wanted = store.file(spec["heads"], ABOUT), _named(spec)
    content = read_json(path)
    groups = content["groups"]
    number = next((number for number, group in enumerate(groups) if _named(group) == wanted), None)
    if number is None:
        raise DataError(f"no linear probe of {wanted} among {len(groups)}", allowed="a new plan", path=path)
    tensors, _ = read_tensors(store.file(spec["heads"], HEADS))
    about = {name: value for name, value in groups[number].items() if name not in GROUP}
    weights = {"weight_KD": tensors[f"{number}.weight"], "bias_K": tensors[f"{number}.bias"]}
    return Head(**weights, features=content["features"], about=about)


def _named(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec.get(name) for name in GROUP}


@torch.no_grad()
def start(linear: nn.Linear, head: Head) -> None:
    """Give a classifier's head the weights of a linear probe.

    Raises:
        DataError: the probe reads features of another width.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    if head.weight_KD.shape != linear.weight.shape:
        found = f"a linear probe of shape {tuple(head.weight_KD.shape)}"
        raise DataError(found, allowed=f"{tuple(linear.weight.shape)}: of the features that fine-tuning reads")
    linear.weight.copy_(head.weight_KD)
    linear.bias.copy_(head.bias_K)
