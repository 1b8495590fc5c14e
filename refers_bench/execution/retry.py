"""May another attempt at a job help, and in how many parts does it then process its batches?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from refers_bench import plugins

#: Failures that smaller batches may mend.
OUT_OF_MEMORY = ("cuda_oom", "host_oom")


def next_attempt(
    spec: Mapping[str, Any],
    category: str,
    *,
    number: int,
    accumulate: int,
    retries: Mapping[str, int],
    fitted: bool = False,
) -> int | None:
    """Equal parts in which the next attempt processes each batch; None when there is to be none.

    Out of memory doubles them, up to one example each; the effective batch stays what it is. A batch that has been
    through an update fits, however: what ran out then was the memory of others, too, so the first attempt after
    that goes on from its state as it was. Everything else is tried again as it was.

    Args:
        spec: of the job.
        category: in which the attempt ended, no "ok" and no "preempted": what was preempted goes on, uncounted.
        number: of that attempt, from 1.
        accumulate: parts in which it processed its batches.
        retries: category -> further attempts.
        fitted: whether it did at least one update.
    """
    if number > retries.get(category, 0):
        return None
    if category not in OUT_OF_MEMORY or (fitted and number == 1):
        return accumulate
    most = most_parts(spec)
    return min(2 * accumulate, most) if accumulate < most else None


def most_parts(spec: Mapping[str, Any]) -> int:
    """In how many parts a job can process its batches: examples of a batch in one process; 1 where it cannot."""
    section = spec.get(str(spec.get("kind")))
    if not isinstance(section, Mapping) or "batch_size" not in section:
        return 1
    if spec["kind"] == "pretrain" and not plugins.load("method", spec["method"]).parts:
        return 1
    shared = int(section.get("processes", 1) * section.get("accumulate", 1))
    return max(1, math.ceil(int(section["batch_size"]) / shared))


def refusal(spec: Mapping[str, Any], category: str, *, accumulate: int) -> str:
    """Why a job that ran out of memory cannot be tried in more parts, as the end of its message; '' where it can."""
    if category not in OUT_OF_MEMORY or accumulate < (most := most_parts(spec)):
        return ""
    if most > 1:
        return f"; its batches are processed one example at a time already ({accumulate} parts)"
    if spec.get("kind") == "pretrain":
        return f"; method '{spec['method']}' cannot process a batch in parts: its losses mix the examples of a batch"
    return "; a job of this kind has no batches to process in parts"
