"""Fits the linear probes of one encoder: of all tasks, label ratios, seeds and folds of a dataset together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.errors import DataError
from refers_bench.files import read_json
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import read_tensors

HEADS, ABOUT = "heads.safetensors", "heads.json"
#: What tells the groups of a job apart; "fold" is absent where there are none.
GROUP = ("task", "classes", "label_ratio", "seed", "fold")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The chosen linear probe of one cell, or of one fold of it.

    Attributes:
        weight_KD: of the features as they are cached, float32.
        bias_K: float32.
        about: what chose it.
    """

    weight_KD: Tensor
    bias_K: Tensor
    about: Mapping[str, Any]


def read(store: ResultStore, spec: Mapping[str, Any]) -> Head:
    """The linear probe of a cell.

    Args:
        store: holds the result of the job of kind "heads".
        spec: of the cell, with that job's key.

    Raises:
        DataError: there is no such result, or it has no probe of this cell.
    """
    folder, wanted = store.folder(spec["heads"]), _named(spec)
    if not (folder / ABOUT).is_file():
        raise DataError("no linear probes here", allowed="run their job first", path=folder)
    groups = read_json(folder / ABOUT)["groups"]
    number = next((number for number, group in enumerate(groups) if _named(group) == wanted), None)
    if number is None:
        raise DataError(f"no linear probe of {wanted} among {len(groups)}", allowed="a new plan", path=folder / ABOUT)
    tensors, _ = read_tensors(folder / HEADS)
    about = {name: value for name, value in groups[number].items() if name not in GROUP}
    return Head(weight_KD=tensors[f"{number}.weight"], bias_K=tensors[f"{number}.bias"], about=about)


def _named(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec.get(name) for name in GROUP}


@torch.no_grad()
def start(linear: nn.Linear, spec: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Give a classifier's head the weights of a cell's linear probe; what a record says of that.

    Raises:
        DataError: there is no such probe, or it reads features of another width.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    head = read(ResultStore(context.results), spec)
    if head.weight_KD.shape != linear.weight.shape:
        found = f"a linear probe of shape {tuple(head.weight_KD.shape)}"
        allowed = f"{tuple(linear.weight.shape)}: of the features that fine-tuning reads"
        raise DataError(found, allowed=allowed, path=ResultStore(context.results).folder(spec["heads"]))
    linear.weight.copy_(head.weight_KD)
    linear.bias.copy_(head.bias_K)
    return {"head": dict(head.about)}
