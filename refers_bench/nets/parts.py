"""Splits batches into micro-batches to save memory, with the same loss: gradients are added, or features recomputed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from refers_bench.nets import distributed

#: Batch -> loss name -> items that the loss is a mean over, where these are not the examples (known labels, say).
Counts = Callable[[Any], Mapping[str, Tensor]]


def split(batch: Any, parts: int) -> Iterator[tuple[Any, float]]:
    """Cut a batch (a dataclass of tensors with a common first dimension) into micro-batches and their shares.

    Losses that are means over examples then add up to the loss of the whole batch. A contrastive loss does not:
    its negatives come from the micro-batch.
    """
    tensors = {f.name: value for f in dataclasses.fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)}
    count = min(len(tensor) for tensor in tensors.values())
    if parts <= 1 or count <= 1:
        yield batch, 1.0
        return
    size = math.ceil(count / parts)
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield (
            dataclasses.replace(batch, **{name: tensor[rows] for name, tensor in tensors.items()}),
            (min(count, start + size) - start) / count,
        )


def no_counts(batch: Any) -> Mapping[str, Tensor]:
    """Of losses that are all means over examples."""
    return {}


def weighted(
    batch: Any, parts: int, *, counts: Counts = no_counts
) -> Iterator[tuple[Any, Mapping[str, Tensor], float]]:
    """Parts of a batch with the weights under which their losses, and so their gradients, add up to the whole's.

    Args:
        batch: a dataclass of tensors with a common first dimension.
        parts: how many, about equal.
        counts: items that losses are means over; all processes of a training count together.

    Yields:
        A part; loss name -> its weight; the weight of all other losses.
    """
    if parts <= 1:
        yield batch, {}, 1.0
        return
    whole = {name: distributed.summed(count).clamp(min=1) for name, count in counts(batch).items()}
    for part, share in split(batch, parts):
        yield part, {name: distributed.summed(count) / whole[name] for name, count in counts(part).items()}, share


def in_parts(
    function: Callable[..., tuple[Tensor, ...]], parts: int, *xs: Tensor, model: nn.Module
) -> tuple[Tensor, ...]:
    """What a function of examples gives, computed part by part; what a part needs for gradients is computed twice.

    Only one part's activations are held at a time, and a loss over the results sees the whole batch: memory is paid
    for with a second forward pass. Random draws of the second pass are those of the first.

    Args:
        function: tensors of any number of examples -> tensors, each with the same width for any part.
        parts: how many, about equal; 1 for one ordinary call.
        *xs: tensors with the examples as first dimension.
        model: its batch statistics, where it keeps any, are noted in the first pass only; they are those of a part.

    Returns:
        The results of all parts, one after the other.
    """
    count = len(xs[0])
    if parts <= 1 or count <= 1:
        return function(*xs)

    def of_part(*rows: Tensor) -> tuple[Tensor, ...]:
        if not torch.is_grad_enabled():
            return function(*rows)
        contexts = (contextlib.nullcontext(), statistics_kept(model))
        found: tuple[Tensor, ...] = checkpoint(function, *rows, use_reentrant=False, context_fn=lambda: contexts)
        return found

    size = math.ceil(count / parts)
    found = [of_part(*rows) for rows in zip(*(torch.split(x, size) for x in xs), strict=True)]
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Layers that normalise by statistics of the batch, and so of a part."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@contextlib.contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch statistics are used and not noted."""
    norms = [(norm, norm.momentum, norm.num_batches_tracked) for norm in batch_norms(model)]
    before = [None if count is None else count.clone() for *_, count in norms]
    for norm, *_ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for (norm, momentum, count), old in zip(norms, before, strict=True):
            norm.momentum = momentum
            if count is not None and old is not None:
                count.copy_(old)
