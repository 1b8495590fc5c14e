"""Makes the next batch while the present one trains."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

from refers_bench.data.transfer import SideStream

Batch = TypeVar("Batch")


class Prefetch(Generic[Batch]):
    """Draws batch t + 1 in a thread of its own as soon as batch t is asked for.

    What is drawn depends on the number alone, so batches are the same with and without. Reading the memory map and
    copying to the GPU release the interpreter's lock, and a GPU has a stream for it; on a CPU, where drawing and
    training share the cores, a thread gains nothing: use `ahead=False`.

    Args:
        draw: step -> batch, a dataclass of tensors.
        steps: batches there are; none is drawn beyond the last.
        ahead: whether to draw ahead at all.
        device: of the training; None for a CPU.
    """

    def __init__(
        self, draw: Callable[[int], Batch], *, steps: int, ahead: bool, device: torch.device | None = None
    ) -> None:
        self.draw, self.steps, self.beside = draw, steps, SideStream(device)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if ahead else None
        self.waiting: dict[int, Future[tuple[Batch, Any]]] = {}

    def __enter__(self) -> Prefetch[Batch]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        """The batch of a step; an error of drawing it is raised here.

        Args:
            step: from 0; steps asked for out of order are drawn at once.
        """
        if self.pool is None:
            return self.draw(step)
        here = self.waiting.pop(step, None)
        self.waiting.clear()
        if step + 1 < self.steps:
            # One thread: what is needed now is drawn first.
            here = here or self.pool.submit(self.beside.made, self.draw, step)
            self.waiting[step + 1] = self.pool.submit(self.beside.made, self.draw, step + 1)
        return self.beside.handed_over(here.result()) if here is not None else self.draw(step)
