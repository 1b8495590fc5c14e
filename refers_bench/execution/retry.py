"""Decides whether a failed job is retried, and in how many micro-batches it then processes its batches."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from refers_bench import plugins
from refers_bench.execution.engine import Attempt

#: Failures that smaller micro-batches may cure.
OUT_OF_MEMORY = ("cuda_oom", "host_oom")
#: Exceptions that the same code raises again on the same data; of others a machine may have been the cause.
DETERMINISTIC = frozenset({
    "AssertionError", "AttributeError", "ImportError", "IndentationError", "IndexError", "KeyError",
    "ModuleNotFoundError", "NameError", "NotImplementedError", "RecursionError", "SyntaxError", "TypeError",
    "UnboundLocalError", "ValueError", "ZeroDivisionError",
})  # fmt: skip


def comes_again(category: str, message: str) -> bool:
    """Whether a failure is an error of code or data that every further attempt would meet.

    Args:
        category: of the failure.
        message: of a crash in Python, with the exception's name in front: "KeyError: 'age'".
    """
    return category == "crash" and message.partition(":")[0] in DETERMINISTIC


def next_attempt(
    attempt: Attempt, category: str, *, retries: Mapping[str, int], fitted: bool = False
) -> Attempt | None:
    """The attempt that follows a failed one; None when there is to be none.

    Out of memory doubles the micro-batches, up to one example each; the effective batch does not change. After an
    update a batch is known to fit, however: other processes must have used the memory, so the first attempt after that
    resumes with as many as before. Every other failure is retried with as many as before.

    Args:
        attempt: that failed.
        category: of the failure; preempted jobs are resumed without counting an attempt.
        retries: category -> further attempts.
        fitted: whether it did at least one update.
    """
    if attempt.number > retries.get(category, 0):
        return None
    following = replace(attempt, number=attempt.number + 1)
    if category not in OUT_OF_MEMORY or (fitted and attempt.number == 1):
        return following
    most = most_micro_batches(attempt.job.spec)
    if attempt.micro_batches >= most:
        return None
    return replace(following, micro_batches=min(2 * attempt.micro_batches, most), after=category)


def most_micro_batches(spec: Mapping[str, Any]) -> int:
    """The most micro-batches that a job can use: examples of a batch in one process; 1 where it can use no more."""
    section = spec.get(str(spec.get("kind")))
    if not isinstance(section, Mapping) or "batch_size" not in section:
        return 1
    if spec["kind"] == "pretrain" and not plugins.load("method", spec["method"]).parts:
        return 1
    shared = int(section.get("processes", 1) * section.get("accumulate", 1))
    return max(1, math.ceil(int(section["batch_size"]) / shared))


def refusal(attempt: Attempt, category: str) -> str:
    """Why a job that ran out of memory cannot use more micro-batches, as the end of its message; '' where it can."""
    spec = attempt.job.spec
    if category not in OUT_OF_MEMORY or attempt.micro_batches < (most := most_micro_batches(spec)):
        return ""
    if most > 1:
        return f"; its batches are processed one example at a time already ({attempt.micro_batches} parts)"
    if spec.get("kind") == "pretrain":
        return f"; method '{spec['method']}' cannot process a batch in parts: its losses mix the examples of a batch"
    return "; a job of this kind has no batches to process in parts"
