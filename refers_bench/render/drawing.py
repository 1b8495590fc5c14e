"""Draws figures in processes on idle cores while this process does other work."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor

from refers_bench.machine import cores, main_hidden
from refers_bench.render.figure import Figure, draw

#: Minimum number of figures to start processes for, where this process has matplotlib already.
WORTH_PROCESSES = 12
#: A process takes some 150 MiB.
MOST_PROCESSES = 8


class Drawings:
    """Figures that other processes draw between `begin` and `drawn`; a context that ends the processes."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], Future[bytes]] = {}
        self._drawn: dict[tuple[str, str], bytes] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawings:
        self._hidden = main_hidden()
        self._hidden.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._hidden.__exit__(None, None, None)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def prepare(self) -> None:
        """Load matplotlib in another process, which takes a second, while this one prepares what is to be drawn.

        Does nothing where this process has matplotlib already, or has the only core.
        """
        if cores() > 1 and "matplotlib.figure" not in sys.modules:
            self._start().submit(_load)

    def begin(self, wanted: Sequence[tuple[Figure, str]], progress: Callable[[int, int], None]) -> None:
        """Begin to draw figures; without other processes, do nothing yet.

        Args:
            wanted: figures, each in its format, "svg" or "pdf".
            progress: called with the number of figures that are drawn, and of all, whenever one is.
        """
        self._progress, self._total = progress, len(wanted)
        if self._pool is None and cores() > 1 and len(wanted) >= WORTH_PROCESSES:
            self._start()
        if self._pool is not None:
            # A killed process (out of memory, say) ends the whole pool: what is left is drawn here.
            with contextlib.suppress(BrokenExecutor):
                for figure, form in wanted:
                    self._begun[figure.id, form] = self._pool.submit(draw, figure, format=form)

    def drawn(self, figure: Figure, form: str) -> bytes:
        """The bytes of a figure, drawn once: those of `refers_bench.render.figure.draw`."""
        asked = figure.id, form
        if asked in self._drawn:
            return self._drawn[asked]
        with contextlib.suppress(BrokenExecutor):
            if asked in self._begun:
                self._drawn[asked] = self._begun[asked].result()
        if asked not in self._drawn:
            self._drawn[asked] = draw(figure, format=form)
        self._progress(len(self._drawn), self._total)
        return self._drawn[asked]

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
