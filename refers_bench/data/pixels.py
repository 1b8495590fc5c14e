"""Reads prepared images through a memory map, each compared with its recorded SHA-256 when it is first read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from refers_bench.data.cache_meta import AGAIN
from refers_bench.errors import DataError

#: Bytes of a SHA-256.
DIGEST = hashlib.sha256().digest_size


class Pixels(Protocol):
    """What batches are made of: a store of equally large grey images (N, size, size), read by their places."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, size, size)."""

    def __getitem__(self, places: Any, /) -> np.ndarray:
        """uint8 (len(places), size, size): the images at these places, in this order."""


class VerifiedPixels:
    """A memory-mapped store whose images are verified at their first reading by this object.

    The digest is of a single image, so a random batch costs no more than its own bytes. What is hashed is what is
    returned. hashlib releases the interpreter's lock, so drawing ahead hides the cost behind training.

    Args:
        path: N images of `size` x `size` uint8, one after another.
        digests_N32: uint8, the SHA-256 of each image.
        size: side in pixels.

    Attributes:
        shape: (N, size, size).
    """

    def __init__(self, path: Path, *, digests_N32: npt.NDArray[np.uint8], size: int) -> None:
        self.path, self.digests_N32 = path, digests_N32
        self.shape = (len(digests_N32), size, size)
        self._images = np.memmap(path, dtype=np.uint8, mode="r", shape=self.shape)
        self._rows, self._verified = np.arange(len(self)), np.zeros(len(self), bool)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Any, /) -> np.ndarray:
        """The images at these places (a number, a slice, an array), as numpy gives them.

        Raises:
            DataError: the bytes of one have changed since it was prepared.
        """
        images, rows = np.asarray(self._images[places]), np.ravel(self._rows[places])
        fresh = np.flatnonzero(~self._verified[rows])
        if len(fresh):
            self._verify(images.reshape(-1, *self.shape[1:]), rows, fresh)
        return images

    def _verify(self, images: np.ndarray, rows: npt.NDArray[np.int64], fresh: npt.NDArray[np.int64]) -> None:
        """Compare those of the images that have not been, and remember that."""
        right = [hashlib.sha256(images[at]).digest() == self.digests_N32[rows[at]].tobytes() for at in fresh]
        if not all(right):
            wrong = rows[fresh[~np.array(right)]]
            found = f"image {wrong[0]} (row of the prepared index) has another SHA-256 than when it was prepared"
            more = f", and {len(wrong) - 1} of those read with it" if len(wrong) > 1 else ""
            raise DataError(found + more, allowed=AGAIN, path=self.path)
        self._verified[rows[fresh]] = True


#: An opened store: one without digests is a plain memory map.
Stored = VerifiedPixels | np.ndarray


def image_digests(images_NHW: npt.NDArray[np.uint8]) -> bytes:
    """The SHA-256 of each image, one after another."""
    return b"".join(hashlib.sha256(image).digest() for image in np.ascontiguousarray(images_NHW))


def spans(count: int, size: int) -> Iterator[np.ndarray]:
    """The numbers 0 .. count - 1, `size` at a time."""
    return (np.arange(start, min(count, start + size)) for start in range(0, count, size))
