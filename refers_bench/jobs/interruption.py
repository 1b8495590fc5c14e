"""Notes that a job is preempted: by a signal, or, in one of its several processes, by the worker that started them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

#: Signals that ask a job to save its state and end: a scheduler's warning before a time limit, and its request to end.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGUSR2", "SIGTERM") if hasattr(signal, name))
#: In a job's work folder: what its processes share, and the file there that asks them to save and end.
PROCESSES, STOP = "processes", "stop"


@contextlib.contextmanager
def caught() -> Iterator[Callable[[], bool]]:
    """Note the signals instead of ending by them; yields a function that returns whether one has come.

    Handlers belong to the main thread; in any other thread signals keep their effect.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.set()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield came.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def preempted(work: Path, signalled: Callable[[], bool]) -> Callable[[], bool]:
    """Whether a signal has come, or the worker has asked all processes of the job to save and end.

    Args:
        work: work folder of the job.
        signalled: see `caught`.
    """
    stop = work / PROCESSES / STOP
    return lambda: signalled() or stop.exists()
