"""How are many figures drawn: several at once, each in a process of its own core?"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed

from refers_bench.machine import cores
from refers_bench.render.figure import Figure, draw

#: Figures that repay the start of another process, which has to load matplotlib, too.
WORTH_A_PROCESS = 6
#: A process takes some 150 MiB.
MOST_PROCESSES = 8


def drawn(wanted: Sequence[tuple[Figure, str]]) -> Iterator[tuple[int, bytes]]:
    """Place in `wanted` and bytes of each figure, in the order in which they are ready.

    Args:
        wanted: figures, each with its format: "svg" or "pdf". The bytes are those of `refers_bench.render.figure.draw`.
    """
    processes = min(cores(), MOST_PROCESSES, len(wanted) // WORTH_A_PROCESS)
    left = dict(enumerate(wanted))
    if processes > 1:
        with contextlib.suppress(BrokenExecutor):  # one was killed, for want of memory, say: the rest is drawn here
            yield from _elsewhere(left, processes)
    for place in sorted(left):
        figure, form = left[place]
        yield place, draw(figure, format=form)


def _elsewhere(left: dict[int, tuple[Figure, str]], processes: int) -> Iterator[tuple[int, bytes]]:
    """Draw in processes; what is drawn is taken out of `left`."""
    # Forked from a server, not from this process, which may have threads.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = {pool.submit(draw, figure, format=form): place for place, (figure, form) in left.items()}
        try:
            for future in as_completed(futures):
                content = future.result()
                del left[futures[future]]
                yield futures[future], content
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
