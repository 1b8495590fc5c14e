"""How is work shared out among the processor cores that this process may use?

Processes are started afresh, with an interpreter of their own, instead of being forked or run through
`multiprocessing`: the caller may have threads, and may be a script without a guarded main module.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def cores() -> int:
    """Processor cores that this process may use, at least 1: fewer than there are under a scheduler's affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(function: Callable[..., list[T]], items: Sequence[Any], *arguments: Any, worth: int) -> list[T]:
    """``function(items, *arguments)``, a part of the items in each of several processes where that repays.

    Args:
        function: of a module, by whose name another process finds it; returns one value per item, in their order.
        items: can be pickled, as what is returned.
        arguments: further ones, the same for every part.
        worth: items that repay the start of another process, which takes some tenths of a second.

    Returns:
        The values of all items, in their order. A part whose process fails (killed for want of memory, say) is worked
        on here, so that errors are those of the function.
    """
    processes = max(1, min(cores(), len(items) // worth))
    size = max(1, -(-len(items) // processes))
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    if len(parts) <= 1:
        return function(items, *arguments)
    with ThreadPoolExecutor(len(parts) - 1) as waiting:
        others = [waiting.submit(_elsewhere, function, part, arguments) for part in parts[1:]]
        found = function(parts[0], *arguments)
        for part, other in zip(parts[1:], others, strict=True):
            answer = other.result()
            found += answer if answer is not None else function(part, *arguments)
    return found


def _elsewhere(function: Callable[..., list[T]], items: Sequence[Any], arguments: tuple[Any, ...]) -> list[T] | None:
    """The values, worked out in a process of its own; None where that fails."""
    question = pickle.dumps((function.__module__, function.__qualname__, items, arguments))
    with contextlib.suppress(OSError):
        done = subprocess.run(
            [sys.executable, "-m", "refers_bench.machine"], input=question, capture_output=True, check=False
        )
        if done.returncode == 0:
            values: list[T] = pickle.loads(done.stdout)
            return values
    return None


def _answer() -> None:
    """Of a process that `_elsewhere` started: work on what standard input names, write the values."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # whatever else is printed does not get among them
    module, name, items, arguments = pickle.load(sys.stdin.buffer)
    values = getattr(importlib.import_module(module), name)(items, *arguments)
    answers.write(pickle.dumps(values, protocol=pickle.HIGHEST_PROTOCOL))
    answers.flush()


if __name__ == "__main__":
    _answer()
