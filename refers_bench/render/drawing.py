"""How are figures drawn while this process does other work, by processes of cores that would be idle?"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor

from refers_bench.machine import cores
from refers_bench.render.figure import Figure, draw

#: Figures that repay the start of processes where this one has matplotlib already.
WORTH_PROCESSES = 12
#: A process takes some 150 MiB.
MOST_PROCESSES = 8


class Drawings:
    """Figures that are drawn elsewhere between `begin` and the question for each; a context that ends the processes."""

    def __init__(self) -> None:
        self._wanted: list[tuple[Figure, str]] = []
        self._begun: dict[int, Future[bytes]] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawings:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def prepare(self) -> None:
        """Let a process load matplotlib, which takes a second, while this one finds out what is to be drawn.

        Does nothing where this process has matplotlib already, or has the only core.
        """
        if cores() > 1 and "matplotlib.figure" not in sys.modules:
            self._start().submit(_load)

    def begin(self, wanted: Sequence[tuple[Figure, str]]) -> None:
        """Begin to draw figures, each in its format, "svg" or "pdf"; without other processes, do nothing yet."""
        self._wanted = list(wanted)
        if self._pool is None and cores() > 1 and len(wanted) >= WORTH_PROCESSES:
            self._start()
        if self._pool is not None:
            # A process that was killed, for want of memory, say, takes the pool with it: the rest is drawn here.
            with contextlib.suppress(BrokenExecutor):
                for place, (figure, form) in enumerate(self._wanted):
                    self._begun[place] = self._pool.submit(draw, figure, format=form)

    def drawn(self, place: int) -> bytes:
        """The bytes of the figure at this place of what was wanted: those of `refers_bench.render.figure.draw`."""
        if place in self._begun:
            with contextlib.suppress(BrokenExecutor):
                return self._begun[place].result()
        figure, form = self._wanted[place]
        return draw(figure, format=form)

    def _start(self) -> ProcessPoolExecutor:
        # Forked from a server, not from this process, which may have threads. Processes start as figures come in.
        context = multiprocessing.get_context("forkserver")
        self._pool = ProcessPoolExecutor(min(cores(), MOST_PROCESSES), mp_context=context)
        return self._pool


def _load() -> None:
    """Import what `draw` imports on demand."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
