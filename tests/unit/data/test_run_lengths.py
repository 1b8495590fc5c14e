"""The box around a mask is that of the pixels which the runs name, painted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.data.run_lengths import Bounds, bounds

#: An example of the competition's page.
EXAMPLE = "387620 23 996 33 986 43 977 51 968 58 962 65 956 70 952 74 949 76 946 79"


def painted(text: str, side: int) -> np.ndarray:
    """The mask, pixel by pixel, as the competition describes its runs."""
    flat = np.zeros(side * side, bool)
    place, numbers = 0, [int(word) for word in text.split()]
    for skip, length in zip(numbers[::2], numbers[1::2], strict=True):
        place += skip
        for _ in range(length):
            flat[place] = True
            place += 1
    return flat.reshape(side, side).T  # down the columns


def around(mask_HW: np.ndarray) -> Bounds:
    rows, columns = np.nonzero(mask_HW)
    left, top = int(columns.min()), int(rows.min())
    return Bounds(left=left, top=top, width=int(columns.max()) - left + 1, height=int(rows.max()) - top + 1)


def test_the_competitions_example() -> None:
    found = bounds(EXAMPLE, side=1024)
    assert found == around(painted(EXAMPLE, 1024))
    assert (found.left, found.width) == (387_620 // 1024, 10), "a run for each column"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4))
def test_any_runs(runs: list[tuple[int, int]]) -> None:
    text = " ".join(f"{skip} {length}" for skip, length in runs)
    assert bounds(text, side=9) == around(painted(text, 9))


WRONG = {
    "": "not pairs of whole numbers",
    "5 2 3": "not pairs of whole numbers",
    "5 -2": "not pairs of whole numbers",
    "5 2.0": "not pairs of whole numbers",
    "-1": "not pairs of whole numbers",
    "5 0": "a run of no pixels",
    "80 2": "pixel 82 of 81",
    "1 99999999999999999999999": "pixel 100000000000000000000000 of 81",
}


@pytest.mark.parametrize("text", WRONG)
def test_no_runs(text: str) -> None:
    with pytest.raises(ValueError, match=WRONG[text]):
        bounds(text, side=9)
