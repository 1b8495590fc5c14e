"""Draws figures in processes on idle cores while this process does other work, and keeps what was drawn."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from refers_bench.errors import StorageError
from refers_bench.files import publish_bytes
from refers_bench.machine import cores, exit_with_parent, main_hidden, start_fork_server
from refers_bench.render.figure import Figure, draw

#: Minimum number of figures to start processes for, where this process has matplotlib already.
WORTH_PROCESSES = 12
#: A process takes some 150 MiB.
MOST_PROCESSES = 8


class Drawings:
    """Figures that other processes draw between `begin` and `drawn`; a context that ends the processes.

    What is drawn is kept in a folder, so that the next report draws what has changed alone; what that does not need is
    deleted at the end.

    Args:
        folder: where drawings are kept.
        progress: called with the number of figures that are drawn, and of all begun, whenever one is.
    """

    def __init__(self, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        self._folder, self._progress = folder, progress
        self._begun: dict[str, Future[bytes]] = {}
        self._waiting: dict[str, tuple[Figure, str]] = {}
        self._drawn: dict[str, bytes] = {}
        self._wanted: dict[str, None] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawings:
        self._hidden = main_hidden()
        self._hidden.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._hidden.__exit__(None, None, None)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if kind is None and self._wanted:
            # What cannot be deleted takes room, and nothing else.
            with contextlib.suppress(OSError):
                forms = {Path(name).suffix for name in self._wanted}
                for path in self._folder.glob("[!.]*"):
                    if path.suffix in forms and path.name not in self._wanted:
                        path.unlink()

    def prepare(self) -> None:
        """Load matplotlib in another process, which takes a second, while this one prepares what is to be drawn.

        Does nothing where this process has matplotlib already, or has the only core, or where drawings are kept.
        """
        with contextlib.suppress(OSError):
            if any(self._folder.iterdir()):
                return
        if cores() > 1 and "matplotlib.figure" not in sys.modules:
            self._start().submit(_load)

    def begin(self, figure: Figure, form: str) -> None:
        """Begin to draw a figure that is not kept; without other processes, wait until it is asked for.

        Args:
            figure: what to draw.
            form: "svg" or "pdf".
        """
        name = _name(figure, form)
        if name in self._wanted:
            return
        self._wanted[name] = None
        with contextlib.suppress(OSError):
            self._drawn[name] = (self._folder / name).read_bytes()
            return
        self._waiting[name] = (figure, form)
        elsewhere = "matplotlib.figure" not in sys.modules or len(self._waiting) >= WORTH_PROCESSES
        if self._pool is None and cores() > 1 and elsewhere:
            self._start()
        if self._pool is not None:
            # A killed process (out of memory, say) ends the whole pool: what is left is drawn here.
            with contextlib.suppress(BrokenExecutor):
                for waiting, (other, its_form) in self._waiting.items():
                    self._begun[waiting] = self._pool.submit(draw, other, format=its_form)
            self._waiting = {}

    def drawn(self, figure: Figure, form: str) -> bytes:
        """The bytes of a figure, drawn once: those of `refers_bench.render.figure.draw`."""
        name = _name(figure, form)
        self._wanted[name] = None
        if name in self._drawn:
            return self._drawn[name]
        with contextlib.suppress(BrokenExecutor):
            if name in self._begun:
                self._drawn[name] = self._begun[name].result()
        if name not in self._drawn:
            self._drawn[name] = draw(figure, format=form)
        # A reader may have no right to write here: the drawing is as good.
        with contextlib.suppress(StorageError):
            publish_bytes(self._folder / name, self._drawn[name])
        self._progress(len(self._drawn), len(self._wanted))
        return self._drawn[name]

    def _start(self) -> ProcessPoolExecutor:
        # Forked from a server, not from this process, which may have threads. Processes start as figures come in.
        context = multiprocessing.get_context("forkserver")
        start_fork_server()
        processes = min(cores(), MOST_PROCESSES)
        self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=exit_with_parent)
        return self._pool


@functools.lru_cache(maxsize=1024)
def _name(figure: Figure, form: str) -> str:
    """File name of a drawing, from all that decides its bytes: what is drawn, how, and by which matplotlib."""
    what = repr((_revision(), figure.panels, figure.columns, figure.shared))
    return f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.{form}"


@functools.cache
def _revision() -> tuple[str, str]:
    """Digest of the code of this room, and the version of matplotlib."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest(), version("matplotlib")


def _load() -> None:
    """Import what `draw` imports on demand."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
