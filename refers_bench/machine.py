"""Shares work out among the processor cores that this process may use.

Processes are started afresh, with an interpreter of their own, instead of being forked or run through
`multiprocessing`: the caller may have threads, and may be a script without a guarded main module.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
#: What reading the answer of a process that failed raises, or asking one that is gone.
_NO_ANSWER = (EOFError, IndexError, pickle.UnpicklingError, ValueError)


def cores() -> int:
    """Processor cores that this process may use, at least 1: fewer than there are under a scheduler's affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(
    function: Callable[..., list[T]],
    items: Sequence[Any],
    *arguments: Any,
    worth: int,
    pieces: int = 4,
    processes: int | None = None,
    told: Callable[[int], None] = lambda done: None,
) -> list[T]:
    """``function(items, *arguments)``, a part of the items in each of several processes where that repays.

    Args:
        function: of a module, by whose name another process finds it; returns one value per item, in their order.
        items: can be pickled, as what is returned.
        arguments: further ones, the same for every part.
        worth: items that repay the start of another process, which takes some tenths of a second.
        pieces: parts for each process: whoever is done with one takes the next, so that none waits long for another.
        processes: at most, this one among them; None for as many as there are cores for this process.
        told: called here, after each part that this process works on, with the items that are done.

    Returns:
        The values of all items, in their order. A part whose process fails (killed for want of memory, say) is worked
        on here, so that errors are those of the function.
    """
    return begun(function, items, *arguments, worth=worth, pieces=pieces, processes=processes, told=told)()


def begun(
    function: Callable[..., list[T]],
    items: Sequence[Any],
    *arguments: Any,
    worth: int,
    pieces: int = 4,
    processes: int | None = None,
    told: Callable[[int], None] = lambda done: None,
) -> Callable[[], list[T]]:
    """Let other processes begin with what `shared_out` would do, while this one goes on with something else.

    Returns:
        What takes part in the rest of the work, waits for the others, and returns the values.
    """
    processes = max(1, min(cores(), cores() if processes is None else processes, len(items) // worth))
    size = max(1, -(-len(items) // (processes * pieces)))
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    left, found = deque(range(len(parts))), dict[int, list[T]]()
    others = [
        threading.Thread(target=_elsewhere, args=(function, parts, arguments, left, found), daemon=True)
        for _ in range(processes - 1)
    ]
    for other in others:
        other.start()

    def values() -> list[T]:
        try:
            for place in _taken(left):
                found[place] = function(parts[place], *arguments)
                told(sum(len(parts[one]) for one in tuple(found)))
        finally:
            left.clear()  # after an error here, nobody begins another part
            for other in others:
                other.join()
        for place, part in enumerate(parts):
            if place not in found:
                found[place] = function(part, *arguments)
        return [value for place in range(len(parts)) for value in found[place]]

    return values


def _taken(left: deque[int]) -> Iterator[int]:
    """One place after another, until none is left for anybody."""
    with contextlib.suppress(IndexError):
        while True:
            yield left.popleft()


def _elsewhere(
    function: Callable[..., list[T]],
    parts: Sequence[Any],
    arguments: Sequence[Any],
    left: deque[int],
    found: dict[int, list[T]],
) -> None:
    """Have a process of its own work on one part after another; it ends with the first that fails."""
    with contextlib.suppress(OSError, *_NO_ANSWER):
        command = [sys.executable, "-m", "refers_bench.machine"]
        with (
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process,
            contextlib.ExitStack() as ending,
        ):
            assert process.stdin is not None and process.stdout is not None  # both are pipes
            ending.callback(process.kill)
            pickle.dump((function.__module__, function.__qualname__, arguments), process.stdin)
            for place in _taken(left):
                pickle.dump(parts[place], process.stdin)
                process.stdin.flush()
                found[place] = pickle.load(process.stdout)


def _answer() -> None:
    """Of a process that `_elsewhere` started: work on what standard input names, write the values."""
    gc.disable()  # hundreds of thousands of small objects are made, and none of them is garbage
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # whatever else is printed does not get among them
    module, name, arguments = pickle.load(sys.stdin.buffer)
    function = getattr(importlib.import_module(module), name)
    with contextlib.suppress(EOFError):
        while True:
            values = function(pickle.load(sys.stdin.buffer), *arguments)
            answers.write(pickle.dumps(values, protocol=pickle.HIGHEST_PROTOCOL))
            answers.flush()


if __name__ == "__main__":
    _answer()
