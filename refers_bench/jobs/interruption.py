"""Was this job told to make room: by a signal, or, as one of several processes, by the worker that started them?"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

#: What asks a job to save its state and end: a scheduler's warning before its limit, and its request to leave.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGUSR2", "SIGTERM") if hasattr(signal, name))
#: In a job's work folder: what its processes share, and the file there that tells them to make room.
PROCESSES, STOP = "processes", "stop"


@contextlib.contextmanager
def caught() -> Iterator[Callable[[], bool]]:
    """Note the signals instead of dying of them; yields whether one has come.

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


def told(work: Path, signalled: Callable[[], bool]) -> Callable[[], bool]:
    """Whether a signal has come, or the worker has told all processes of the job.

    Args:
        work: work folder of the job.
        signalled: see `caught`.
    """
    stop = work / PROCESSES / STOP
    return lambda: signalled() or stop.exists()
