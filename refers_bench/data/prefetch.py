"""Makes the next batch while the present one trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


class Prefetch(Generic[Batch]):
    """Draws batch t + 1 in a thread of its own as soon as batch t is asked for.

    What is drawn depends on the step alone, so batches are the same with and without prefetching. Reading the memory
    map and copying to the GPU release the interpreter's lock, and the copies have a CUDA stream of their own, so that
    they do not queue behind an update. On a CPU, where drawing and training share the cores, a thread gains nothing:
    use `ahead=False`.

    Args:
        draw: step -> batch, a dataclass of tensors.
        steps: batches there are; none is drawn beyond the last.
        ahead: whether to draw ahead.
        device: of the training; None for a CPU.
    """

    def __init__(
        self, draw: Callable[[int], Batch], *, steps: int, ahead: bool, device: torch.device | None = None
    ) -> None:
        self.draw, self.steps, self.device = draw, steps, device
        on_gpu = device is not None and device.type == "cuda"
        self.stream: Any = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if ahead else None
        self.waiting: dict[int, Future[tuple[Batch, Any]]] = {}

    def __enter__(self) -> Prefetch[Batch]:
        return self

    def __exit__(self, *error: object) -> None:
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
            here = here or self.pool.submit(self.made, step)
            self.waiting[step + 1] = self.pool.submit(self.made, step + 1)
        return self.handed_over(*here.result()) if here is not None else self.draw(step)

    def made(self, step: int) -> tuple[Batch, Any]:
        """A batch, and the event after which it is complete (None on a CPU); called by the thread that draws."""
        if self.stream is None:
            return self.draw(step), None
        with torch.cuda.stream(self.stream):
            return self.draw(step), self.stream.record_event()

    def handed_over(self, batch: Batch, event: Any) -> Batch:
        """The batch, once the training stream waits for its event and keeps its memory as long as it needs it."""
        if event is not None:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(event)
            for field in dataclasses.fields(batch):  # type: ignore[arg-type]
                if isinstance(tensor := getattr(batch, field.name), Tensor):
                    tensor.record_stream(training)
        return batch
