"""Sizes batches, or numbers of updates, by the fairness budget: every method may use as much as REFERS does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.plugins import Method

#: Cost of a pass with gradient, in passes without: forward once, backward about twice.
WITH_GRADIENT = 3.0


def batch_size(method: Method, params: Any, pretrain: Mapping[str, Any]) -> int:
    """Examples of an update under the fairness budget.

    Args:
        method: whose batch it is.
        params: its parameters.
        pretrain: section of a resolved protocol: `batch_size` of `budget_views` radiographs each, the fairness
            `budget`, and the `processes` among which a batch is shared equally.

    Example:
        With REFERS at 32 studies of 3 views, single radiographs come in batches of 96, and C2L's, which take two
        passes with and two without gradient, in batches of 96 under "images" and of 36 under "compute".

    Source: methods-and-datasets.md 3, fairness checklist 3.
    """
    size: int = pretrain["batch_size"]
    processes: int = pretrain["processes"]
    if pretrain["budget"] == "updates":
        return _multiple(size, processes)
    radiographs: float = size * pretrain["budget_views"] / method.views(params)
    if pretrain["budget"] == "compute":
        gradient, plain = method.passes(params)
        radiographs *= WITH_GRADIENT / ((WITH_GRADIENT * gradient + plain) * method.enlargement(params))
    return _multiple(radiographs, processes)


#: Counts of updates, which change with the batch size where a method has one of its own.
UPDATES = ("steps", "warmup_steps", "validate_every")


def sized(method: Method, params: Any, pretrain: Mapping[str, Any]) -> dict[str, Any]:
    """The section with the batch size of the fairness budget, or the method's own and as many updates as that buys.

    Args:
        method: whose batch it is.
        params: its parameters.
        pretrain: as of `batch_size`; `own_batch_size` where the method has one.

    Example:
        C2L's own batches are of 128: under "images", 225,000 of them see what 300,000 of 96 would, 28.8 million.
    """
    section, size = dict(pretrain), batch_size(method, params, pretrain)
    wanted: int = section.pop("own_batch_size", 0)
    if not wanted:
        return {**section, "batch_size": size}
    own = _multiple(wanted, pretrain["processes"])
    if pretrain["budget"] != "updates":
        # Nothing that happens at all is scaled away.
        section |= {name: max(round(section[name] * size / own), min(section[name], 1)) for name in UPDATES}
    return {**section, "batch_size": own}


def _multiple(examples: float, processes: int) -> int:
    """The nearest whole number that can be shared equally among the processes, two at least."""
    return max(round(examples / processes), 1 if processes > 1 else 2) * processes
