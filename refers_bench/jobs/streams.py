"""Names the random streams of a cell's training: after its job, or where seeds are crossed, after one seed each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refers_bench import identity


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Names of random streams.

    Attributes:
        init: of the initial weights.
        order: of batches, augmentation and dropout.
    """

    init: str
    order: str


def of_cell(key: str, spec: Mapping[str, Any]) -> Streams:
    """The streams of a cell's training.

    Where seeds are crossed, a stream is named after the specification without the seeds that it must not depend on:
    cells that differ in the others alone begin with the same weights, or see the same order of batches.

    Args:
        key: of the job.
        spec: of the job; its "order_seed" says that seeds are crossed.
    """
    if "order_seed" not in spec:
        return Streams(init=key, order=key)

    def without(*names: str) -> str:
        return identity.key({name: value for name, value in spec.items() if name not in names})

    return Streams(init=without("seed", "order_seed"), order=without("seed", "init_seed"))
