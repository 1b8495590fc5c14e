"""Brings the tensors of a batch to the training device in one copy, on a stream of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Bytes at whose multiples each tensor of a buffer begins: any element type can be read there, as fast as anywhere.
ALIGNMENT = 64


def together(device: torch.device, *arrays: np.ndarray | Tensor) -> list[Tensor]:
    """Host arrays as tensors of the device, through one buffer: a copy each would wait for the device each time.

    On the CPU they are taken as they are. To a GPU the buffer is pinned, and the call returns before it has arrived;
    what is queued on the same stream afterwards finds it there.

    Args:
        device: where they are wanted.
        *arrays: of any shapes and element types.
    """
    tensors = [
        torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array for array in arrays
    ]
    if device.type == "cpu":
        return tensors
    buffer, starts = packed(tensors, pinned=device.type == "cuda")
    return unpacked(buffer.to(device, non_blocking=True), starts, tensors)


def packed(tensors: Sequence[Tensor], *, pinned: bool = False) -> tuple[Tensor, list[int]]:
    """One uint8 buffer that holds these tensors, and the byte at which each begins."""
    starts, end = [], 0
    for tensor in tensors:
        starts.append(end)
        end += math.ceil(tensor.nbytes / ALIGNMENT) * ALIGNMENT
    buffer = torch.empty(end, dtype=torch.uint8, pin_memory=pinned)
    for view, tensor in zip(unpacked(buffer, starts, tensors), tensors, strict=True):
        view.copy_(tensor)
    return buffer, starts


def unpacked(buffer: Tensor, starts: Sequence[int], like: Sequence[Tensor]) -> list[Tensor]:
    """Views of a buffer with the shapes and element types of these tensors; it lives as long as any of them."""
    return [
        buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for start, tensor in zip(starts, like, strict=True)
    ]


class SideStream:
    """Where the next batch is made beside the training: its copies and warps do not queue behind an update.

    Args:
        device: of the training; on a CPU (or None) nothing is done.
    """

    def __init__(self, device: torch.device | None) -> None:
        self.device = device
        on_gpu = device is not None and device.type == "cuda"
        self.stream: Any = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]

    def made(self, draw: Any, step: int) -> tuple[Any, Any]:
        """A batch, and the event after which it is whole; called by the thread that draws."""
        if self.stream is None:
            return draw(step), None
        with torch.cuda.stream(self.stream):
            batch = draw(step)
            return batch, self.stream.record_event()

    def handed_over(self, made: tuple[Any, Any]) -> Any:
        """The batch, for whoever trains: what it queues from now on waits for it, and its memory is kept as long."""
        batch, event = made
        if event is not None:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(event)
            for field in dataclasses.fields(batch):
                if isinstance(tensor := getattr(batch, field.name), Tensor):
                    tensor.record_stream(training)
        return batch
