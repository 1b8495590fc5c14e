"""The policies for uncertain and absent mentions give the stated labels."""

from __future__ import annotations

import pandas as pd
import pytest

from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14, labels
from refers_bench.errors import DataError

CELLS = ["1.0", "0.0", "-1.0", "", "1", "0", "-1"]


def table(cells: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: cells if name == "Edema" else ["0.0"] * len(cells) for name in FINDINGS_14})


def edema(uncertain: str, blank: str = "negative") -> list[int | None]:
    found = labels(table(CELLS), uncertain=uncertain, blank=blank, path="t.csv")["Edema"]
    assert str(found.dtype) == "Int8"
    return [None if pd.isna(value) else int(value) for value in found]


@pytest.mark.parametrize(
    ("policy", "blank", "expected"),
    [
        ("u_zeros", "negative", [1, 0, 0, 0, 1, 0, 0]),
        ("u_ones", "negative", [1, 0, 1, 0, 1, 0, 1]),
        ("u_ignore", "negative", [1, 0, None, 0, 1, 0, None]),
        ("u_ignore", "unknown", [1, 0, None, None, 1, 0, None]),
        ("u_zeros", "unknown", [1, 0, 0, None, 1, 0, 0]),
    ],
)
def test_policies(policy: str, blank: str, expected: list[int | None]) -> None:
    assert edema(policy, blank) == expected


def test_other_values_are_refused_with_their_line() -> None:
    with pytest.raises(DataError, match=r"t\.csv:3: Edema is 'yes'; allowed: 1\.0, 0\.0, -1\.0 or empty"):
        labels(table(["0.0", "yes"]), uncertain="u_zeros", blank="negative", path="t.csv")


def test_unknown_policy() -> None:
    with pytest.raises(ValueError, match="u_zeros, u_ones, u_ignore"):
        edema("u_twos")


def test_twelve_are_the_fourteen_without_the_two_that_are_no_disease() -> None:
    assert list(FINDINGS_14) == sorted(FINDINGS_14)
    assert set(FINDINGS_14) - set(FINDINGS_12) == {"No Finding", "Support Devices"}
    assert len(FINDINGS_12) == 12
