"""A limited index has so many images of each split, with all labels that there are, and grows with the limit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from refers_bench.data.index import limited, read_index
from refers_bench.errors import DataError
from refers_bench.plugins import Dataset, Task


def index(count: int = 300, rare: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    patients = [f"p{number // 3}" for number in range(count)]
    splits = {patient: ("train", "train", "val", "test")[int(patient[1:]) % 4] for patient in patients}
    frame = pd.DataFrame({"image_id": [f"i{number:04d}" for number in range(count)], "patient_id": patients})
    frame = frame.assign(
        path=frame["image_id"],
        study_id=patients,
        view="PA",
        report=None,
        split=frame["patient_id"].map(splits),
        bytes=1,
    )
    frame["t:common"] = pd.array(rng.integers(0, 2, count), dtype="Int8")
    few = np.zeros(count, int)
    for split in ("train", "val", "test"):
        few[np.flatnonzero(frame["split"] == split)[-rare:]] = 1
    frame["t:rare"] = pd.array(few, dtype="Int8")
    frame.loc[::5, "t:common"] = pd.NA
    return frame


@pytest.mark.parametrize("limit", [1, 4, 10, 40, 1000])
def test_each_split_has_at_most_so_many(limit: int) -> None:
    whole = index()
    found = limited(whole, dataset="d", limit=limit)
    there = whole["split"].value_counts()
    assert found["split"].value_counts().to_dict() == {split: min(limit, count) for split, count in there.items()}
    assert found["image_id"].is_monotonic_increasing and found["image_id"].is_unique
    if limit >= 4:
        for split, rows in found.groupby("split"):
            for name in ("t:common", "t:rare"):
                assert set(rows[name].dropna()) == {0, 1}, (split, name)


def test_a_lower_limit_gives_a_part_of_a_higher_one_whatever_the_order_of_rows() -> None:
    whole = index()
    sets = [set(limited(whole, dataset="d", limit=limit)["image_id"]) for limit in (1, 3, 4, 9, 30, 80)]
    assert all(low < high for low, high in itertools.pairwise(sets))
    shuffled = limited(whole.sample(frac=1, random_state=1), dataset="d", limit=9)
    assert set(shuffled["image_id"]) == sets[3]
    assert set(limited(whole, dataset="other", limit=9)["image_id"]) != sets[3]


def test_patients_stay_together_beyond_the_first_images() -> None:
    found = limited(index(), dataset="d", limit=40)
    whole = found.groupby("patient_id").size()
    assert (whole == 3).sum() >= len(whole) - 3 * 5, "but for those with rare labels and the last one of a split"


class Params(BaseModel):
    """None."""


def reader(frame: Any) -> Dataset:
    tasks = {"t": Task(label="T", classes=("common", "rare")), "any": Task(label="Any", classes=("any",), any_of="t")}
    common: dict[str, Any] = {"label": "Mine", "source": "", "licence": "", "impl": 1, "Params": Params}
    return Dataset(**common, tasks=tasks, index=lambda root, params, lists: frame)


def test_an_index_with_the_columns_of_its_card_is_read(tmp_path: Path) -> None:
    frame = index()
    assert read_index(reader(frame), tmp_path, Params(), {}) is frame


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop(columns="t:rare"), "the index of Mine has no column 't:rare'"),
        (lambda frame: frame.drop(columns="study_id"), "has no column 'study_id'"),
        (lambda frame: frame.drop(columns="bytes"), "has no column 'bytes'"),
        (lambda frame: frame.assign(**{"t:other": frame["t:rare"]}), "has a column 't:other', which is no class of a task; allowed: t:common, t:rare"),
        (lambda frame: frame.assign(**{"u:rare": frame["t:rare"]}), "has a column 'u:rare'"),
        (lambda frame: frame.assign(**{"t:rare": frame["t:rare"] * 2}), "has a column 't:rare' of Int8 with 0, 2; allowed: Int8 with 0, 1, null"),
        (lambda frame: frame.assign(**{"t:rare": frame["t:rare"].astype(float)}), "has a column 't:rare' of float64"),
        (lambda frame: frame.assign(**{"t:rare": "yes"}), "with yes; allowed: Int8"),
        (lambda frame: None, "the reader of Mine gives a NoneType; allowed: a DataFrame"),
    ],
)  # fmt: skip
def test_an_index_that_is_not_what_its_card_says_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(DataError) as raised:
        read_index(reader(change(index())), tmp_path, Params(), {})
    assert said in str(raised.value) and str(tmp_path) in str(raised.value)
