"""Copies the tensors of a batch to the training device in one transfer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: Each tensor of a buffer begins at a multiple of so many bytes: any element type can be read there at full speed.
ALIGNMENT = 64


def together(device: torch.device, *arrays: np.ndarray | Tensor) -> list[Tensor]:
    """Host arrays as tensors of the device, through one buffer: separate copies would wait for the device each time.

    On the CPU they are taken as they are. For a GPU the buffer is pinned, and the call returns before the copy has
    ended; what is queued on the same stream afterwards sees the copied values.

    Args:
        device: where they are wanted.
        *arrays: of any shapes and element types.
    """
    tensors = [torch.as_tensor(x if isinstance(x, Tensor) else np.ascontiguousarray(x)) for x in arrays]
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
