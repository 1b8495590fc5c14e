"""Copies the tensors of a batch to the training device in one transfer, or keeps the images there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from refers_bench.data.pixels import Pixels, spans

#: Each tensor of a buffer begins at a multiple of so many bytes: any element type can be read there at full speed.
ALIGNMENT = 64

#: Images that are copied at a time to where they are kept.
CHUNK = 256

#: Share of a GPU's free memory that kept images may take: several jobs may share it, and each needs room to train.
KEPT_SHARE = 0.2


def moved(x: Tensor, device: torch.device) -> Tensor:
    """A drawn tensor on the images' device; copied to a GPU from pinned memory, so that nothing waits for the copy."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def arriving(x: Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a result to the host; what is returned waits for it and gives it.

    So the host sets the device its next tasks, and waits once, when all are set.
    """
    if x.device.type != "cuda":
        return lambda: x.cpu().numpy()
    there, copied = torch.empty(x.shape, dtype=x.dtype, pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.copy_(x, non_blocking=True)
    copied.record()

    def arrived() -> np.ndarray:
        copied.synchronize()
        return there.numpy()

    return arrived


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


class OnDevice:
    """Images that are kept in a device's memory: a batch is read there, and only its places are copied.

    Args:
        images: a store; each image is verified as it is read.
        places: rows of the store that will be asked for, in any order.
        device: where they are kept.

    Attributes:
        shape: (N, size, size) of those that are kept.

    Raises:
        DataError: the bytes of one have changed since it was prepared.
    """

    def __init__(self, images: Pixels, places: np.ndarray, device: torch.device) -> None:
        self.places = np.unique(places)
        first = torch.as_tensor(images[self.places[:1]])
        self.shape = (len(self.places), *first.shape[1:])
        self.images = torch.empty(self.shape, dtype=first.dtype, device=device)
        for rows in spans(len(self.places), CHUNK):
            self.images[rows[0] : rows[-1] + 1] = moved(torch.as_tensor(images[self.places[rows]]), device)
        if device.type == "cuda":  # batches are read on a stream of their own, which does not wait for these copies
            torch.cuda.synchronize(device)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Where the images at these places of the store are kept."""
        return np.searchsorted(self.places, places)


def kept(images: Pixels, places: np.ndarray, device: torch.device) -> Pixels | OnDevice:
    """The store; on a GPU with enough free memory (`KEPT_SHARE`) these images of it are kept there.

    Args:
        images: a store.
        places: rows of the store that will be asked for.
        device: of the training.
    """
    if device.type != "cuda" or not len(places):
        return images
    free, _ = torch.cuda.mem_get_info(device)
    needed = images[places[:1]].nbytes * len(np.unique(places))
    return OnDevice(images, places, device) if needed <= KEPT_SHARE * free else images


def gathered(
    images: Pixels | OnDevice, places: np.ndarray, device: torch.device, *arrays: np.ndarray | Tensor
) -> list[Tensor]:
    """The images at these places of a store and some arrays of the host, on the device, in one copy.

    Args:
        images: a store, or what is kept of it on the device.
        places: rows of the store.
        device: where they are wanted.
        *arrays: see `together`.
    """
    if not isinstance(images, OnDevice):
        return together(device, images[places], *arrays)
    rows, *others = together(device, images.rows(places), *arrays)
    return [images.images[rows], *others]
