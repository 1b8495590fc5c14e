"""Context Restoration's parameters: how many patches of which size may be swapped."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from refers_bench.methods.context_restoration import Params


@pytest.mark.parametrize(
    ("params", "allowed"),
    [
        ({"swaps": 1}, True),
        ({"swaps": 200}, True),
        ({"swaps": 0}, False),
        ({"swaps": 201}, False),
        # A patch is at most a third of the 224 pixels of a side.
        ({"smallest_side": 2, "largest_side": 74}, True),
        ({"smallest_side": 74, "largest_side": 74}, True),
        ({"smallest_side": 1, "largest_side": 74}, False),
        ({"smallest_side": 2, "largest_side": 75}, False),
        ({"smallest_side": 75, "largest_side": 75}, False),
        ({"smallest_side": 21}, False),
        ({"largest_side": 19}, False),
        ({"smallest_side": 20, "largest_side": 20}, True),
        ({"views": 2}, False),
    ],
)
def test_sizes_of_patches(params: dict[str, Any], allowed: bool) -> None:
    if allowed:
        Params(**params)
        return
    with pytest.raises(ValidationError):
        Params(**params)
