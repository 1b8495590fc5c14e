"""Divides work among the processor cores that this process may use.

Processes are started afresh, with an interpreter of their own: the caller may have threads, and may be a script without
a guarded main module, which `concurrent.futures` and joblib would run again or refuse; a killed process loses one part.
"""

import contextlib
import ctypes
import functools
import gc
import importlib
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")
#: Seconds between two reports of how far other processes are, once this one has nothing left to do.
TOLD_S = 0.5
#: Exit status of a process whose starter is gone.
STARTER_GONE = 70
#: What reading the answer of a process that failed raises, or asking one that is gone.
_NO_ANSWER = (OSError, EOFError, IndexError, pickle.UnpicklingError, ValueError)
#: Makes a new interpreter import nothing from its working directory, where a file may have the name of a module.
_SAFE_PATH = "PYTHONSAFEPATH"
#: Names the process that starts a server to fork others from; read by `refers_bench.fork_server`.
FORK_SERVER_OF = "REFERS_BENCH_FORK_SERVER_OF"
_STDIN = 0
#: The option of Linux' `prctl` that names the signal which a process gets when the one that forked it ends.
_PR_SET_PDEATHSIG = 1


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of ours: this one's, but it imports nothing from its working directory.

    Args:
        more: further variables.
    """
    return {**os.environ, _SAFE_PATH: "1", **more}


@contextlib.contextmanager
def safe_path(**more: str) -> Iterator[None]:
    """Processes that `multiprocessing` starts meanwhile have such an `environment`: it takes none."""
    changed = {_SAFE_PATH: "1", **more}
    before = {name: os.environ[name] for name in changed if name in os.environ}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in changed:
            os.environ.pop(name)
        os.environ.update(before)


def start_fork_server(preload: Sequence[str] = ()) -> None:
    """Start the process that `multiprocessing` forks others from, where it does not run, with a `safe_path`.

    It ends with this process, and so do all that are forked from it, even where they are stopped.

    Args:
        preload: modules that it imports first.
    """
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["refers_bench.fork_server", *preload])
    with safe_path(**{FORK_SERVER_OF: str(os.getpid())}):
        _keeper().submit(forkserver.ensure_running).result()


@functools.cache
def _keeper() -> Executor:
    """One thread that stays: Linux ends what a thread has forked with the thread, not with its process."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max_workers=1)


def killed_with_parent(number: int = signal.SIGKILL) -> None:
    """On Linux, let this process get a signal when the thread that forked it ends; elsewhere, do nothing.

    The kernel sends it, so that it comes to a process that is stopped, or blocked, or has yet to load Python.

    Args:
        number: of the signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def exit_with_parent() -> None:
    """Let this process end at once when the one that started it has ended, even if that was killed.

    A thread waits until the other end of a pipe is closed: the one that `multiprocessing` gives to each process, or
    standard input, which whoever starts a program that calls this makes a pipe and keeps open. A process that the
    starter's child has started in turn (torchrun, say) inherits it.
    """
    killed_with_parent()
    starter, pipe = multiprocessing.parent_process(), select.poll()
    pipe.register(_STDIN if starter is None else starter.sentinel, select.POLLHUP)

    def watch() -> None:
        pipe.poll()
        os._exit(STARTER_GONE)

    threading.Thread(target=watch, daemon=True).start()


def cores() -> int:
    """Processor cores that this process may use, at least 1: fewer than there are under a scheduler's affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def main_hidden() -> Iterator[None]:
    """Processes that `multiprocessing` starts inside do not run the caller's main module again.

    It may be a script without a guard, whose processes would start processes of their own.
    """
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


def shared_out(function: Callable[..., list[T]], items: Sequence[Any], *arguments: Any, **how: Any) -> list[T]:
    """``function(items, *arguments)``, computed in several processes where that pays; `how` as for `begun`."""
    return begun(function, items, *arguments, **how)()


def begun(
    function: Callable[..., list[T]],
    items: Sequence[Any],
    *arguments: Any,
    worth: int,
    pieces: int = 4,
    processes: int | None = None,
    told: Callable[[int], None] = lambda done: None,
) -> Callable[[], list[T]]:
    """Let other processes begin with ``function(items, *arguments)``, while this one does something else.

    Args:
        function: of a module, by whose name another process finds it; returns one value per item, in their order.
        items: can be pickled, and so can the values.
        arguments: further ones, the same for every part.
        worth: minimum number of items for each further process, whose start takes some tenths of a second.
        pieces: parts for each process; a process that is done with one takes the next, so that none waits for long.
        processes: at most, this one included; None for one per core.
        told: called here, after each part that this process works on and then twice a second until the others are done,
            with the number of items that are done.

    Returns:
        A function that takes part in the rest of the work, waits for the other processes, and returns the values of all
        items, in their order. A part whose process fails (killed by the out-of-memory killer, say) is computed here, so
        that errors are those of `function`.
    """
    processes = max(1, min(cores(), cores() if processes is None else processes, len(items) // worth))
    size = max(1, -(-len(items) // (processes * pieces)))
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    left, found = deque(range(len(parts))), dict[int, list[T]]()

    def elsewhere() -> None:
        """Have a process of its own work on one part after another; it ends with the first that fails."""
        with contextlib.suppress(*_NO_ANSWER), _process() as (questions, answers):
            pickle.dump((function.__module__, function.__qualname__, arguments), questions)
            for place in _taken(left):
                pickle.dump(parts[place], questions)
                questions.flush()
                found[place] = pickle.load(answers)

    others = [threading.Thread(target=elsewhere, daemon=True) for _ in range(processes - 1)]
    for other in others:
        other.start()

    def done() -> int:
        return sum(len(parts[place]) for place in tuple(found))

    def values() -> list[T]:
        try:
            for place in _taken(left):
                found[place] = function(parts[place], *arguments)
                told(done())
            for other in others:
                while other.is_alive():
                    other.join(TOLD_S)
                    told(done())
        finally:
            left.clear()  # after an error here, no process begins another part
            for other in others:
                other.join()
        for place, part in enumerate(parts):
            if place not in found:
                found[place] = function(part, *arguments)
        return [value for place in range(len(parts)) for value in found[place]]

    return values


def _taken(left: deque[int]) -> Iterator[int]:
    """Places that this caller takes, one after another, until none is left."""
    with contextlib.suppress(IndexError):
        while True:
            yield left.popleft()


def started(module: str, **more: str) -> subprocess.Popen[bytes]:
    """A new process that runs a module of ours, and is asked and answers through pipes.

    Args:
        module: its name; it calls `exit_with_parent`.
        more: variables of its `environment`.
    """
    command, pipe = [sys.executable, "-m", module], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment(**more))


@contextlib.contextmanager
def _process() -> Iterator[tuple[Any, Any]]:
    """Standard input and output of a new process that runs `_answer`."""
    with started("refers_bench.machine") as process:
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()


def _answer() -> None:
    """Work on the parts that standard input holds, in a process that `_process` has started; write the values."""
    exit_with_parent()
    gc.disable()  # hundreds of thousands of small objects are made, and none of them is garbage
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # whatever else is printed does not get among the values
    module, name, arguments = pickle.load(sys.stdin.buffer)
    function = getattr(importlib.import_module(module), name)
    with contextlib.suppress(EOFError):
        while True:
            values = function(pickle.load(sys.stdin.buffer), *arguments)
            answers.write(pickle.dumps(values, protocol=pickle.HIGHEST_PROTOCOL))
            answers.flush()


if __name__ == "__main__":
    _answer()
