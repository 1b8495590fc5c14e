"""Reads masks written as runs, each counted from the end of the one before, down the columns of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Least box around a mask, in pixels."""

    left: int
    top: int
    width: int
    height: int


def bounds(text: str, *, side: int) -> Bounds:
    """The least box around a mask.

    Args:
        text: "skip length skip length ...": pixels since the end of the last run, and pixels of the run; pixels go down
            the first column of the image, then down the second.
        side: of the square image, in pixels.

    Raises:
        ValueError: no such text, or a run that leaves the image; the message says which.

    Example:
        >>> bounds("5 2 3 1", side=4)
        Bounds(left=1, top=1, width=2, height=2)
    """
    words = text.split()
    if not words or len(words) % 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError("not pairs of whole numbers")
    skips, lengths = np.array(list(map(int, words)), dtype=object).reshape(-1, 2).T
    if (lengths == 0).any():
        raise ValueError("a run of no pixels")
    ends = np.cumsum(skips + lengths)
    if ends[-1] > side * side:
        raise ValueError(f"pixel {ends[-1]} of {side * side}")
    first, last = (ends - lengths).astype(np.int64), ends.astype(np.int64) - 1
    left, right = int(first[0]) // side, int(last[-1]) // side
    # A run that goes on in the next column touches the lower and the upper border.
    across = (first // side != last // side).any()
    top, bottom = (0, side - 1) if across else (int((first % side).min()), int((last % side).max()))
    return Bounds(left=left, top=top, width=right - left + 1, height=bottom - top + 1)
