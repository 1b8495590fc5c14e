"""Names of the Shenzhen collection, and the rule of the released lists."""

from __future__ import annotations

import pandas as pd

from refers_bench.data.shenzhen import RELEASED, label_of, released_split


def test_the_rule_covers_every_number_once() -> None:
    places = [(number, int(number > 326)) for number in range(1, 663)]
    splits = pd.Series([released_split(*place) for place in places])
    assert splits.value_counts().to_dict() == {"train": 463, "val": 67, "test": 132}
    ill = pd.Series([label for _, label in places])
    assert pd.crosstab(splits, ill).loc["test"].to_dict() == {0: 65, 1: 67}
    assert RELEASED == {0: (228, 261), 1: (561, 595)}


def test_names() -> None:
    assert label_of("CHNCXR_0001_0") == (1, 0)
    assert [label_of(name) for name in ("CHNCXR_001_0", "CHNCXR_0001_2", "CHNCXR_0001_0 (1)", "MCUCXR_0001_0")] == [
        None
    ] * 4
