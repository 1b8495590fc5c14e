"""How large is a method's batch, so that all methods may use as much as REFERS does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.plugins import Method

#: Cost of a pass with gradient, in passes without: forward once, backward about twice.
WITH_GRADIENT = 3.0


def batch_size(method: Method, params: Any, pretrain: Mapping[str, Any]) -> int:
    """Examples of an update.

    Args:
        method: whose batch it is.
        params: its parameters; `views` radiographs make an example, or one.
        pretrain: section of a resolved protocol: `batch_size` of `budget_views` radiographs each, the `budget`, and
            the `processes` among which a batch is shared equally.

    Example:
        With REFERS at 32 studies of 3 views, single radiographs come in batches of 96, and C2L's, which take two
        passes with and two without gradient, in batches of 96 under "images" and of 36 under "compute".

    Source: methods-and-datasets.md 3, fairness checklist 3.
    """
    size: int = pretrain["batch_size"]
    processes: int = pretrain["processes"]
    if pretrain["budget"] == "updates":
        return _multiple(size, processes)
    radiographs: float = size * pretrain["budget_views"] / getattr(params, "views", 1)
    if pretrain["budget"] == "compute":
        gradient, plain = method.passes(params)
        radiographs *= WITH_GRADIENT / (WITH_GRADIENT * gradient + plain)
    return _multiple(radiographs, processes)


def _multiple(examples: float, processes: int) -> int:
    """The nearest whole number that can be shared equally among the processes, two at least."""
    return max(round(examples / processes), 1 if processes > 1 else 2) * processes
