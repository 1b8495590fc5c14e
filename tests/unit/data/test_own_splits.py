"""Splits of one's own images keep patients whole, follow their shares, and say how they were made."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import BaseModel, ValidationError

from refers_bench.data.index import patient_split
from refers_bench.data.own_splits import Split, Splits, drawn, note, split_of, with_validation


class Model(BaseModel):
    split: Splits


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"),
        ("Training ", "train"),
        ("VALID", "val"),
        ("dev", "val"),
        ("Test", "test"),
        ("fold1", None),
        ("", None),
    ],
)
def test_usual_spellings_are_known(word: str, split: str | None) -> None:
    assert split_of(word) == split


@pytest.mark.parametrize(
    "value",
    ["part", {"column": "part"}, {"column": "part", "val": 0.1}, {"train": 0.7, "val": 0.1, "test": 0.2}, {"val": 0.1},
     {"train": 0.5, "val": 0, "test": 0.5, "seed": 3}],
)  # fmt: skip
def test_a_column_or_shares(value: object) -> None:
    found = Model(split=value).split
    assert Split(**found.model_dump(mode="json")) == found
    assert found.column == ("part" if "part" in str(value) else "")
    assert found.drawn == ("train" in str(value))


@pytest.mark.parametrize(
    "value",
    [{"train": 0.7, "test": 0.2, "val": 0.2}, {"train": 0.8, "test": 0.2}, {"train": 1.0, "val": 0.0, "test": 0.0},
     {"column": "part", "train": 0.8, "val": 0.1, "test": 0.1}, {"train": -0.1, "val": 0.1, "test": 1.0}, {"shares": 1}, 3,
     {"column": "part", "seed": -1}],
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Model(split=value)


def test_shares_are_of_patients_and_seeded() -> None:
    patients = pd.Series([f"p{n // 3}" for n in range(300)])
    split = Split(train=0.5, val=0.2, test=0.3)
    found = drawn(patients, split, dataset="table")
    assert found.groupby(patients).nunique().max() == 1
    assert found.drop_duplicates().size == 3
    assert {name: int(patients[found == name].nunique()) for name in ("train", "val", "test")} == {
        "train": 50, "val": 20, "test": 30,
    }  # fmt: skip
    assert found.equals(drawn(patients, split, dataset="table"))
    assert not found.equals(drawn(patients, Split(train=0.5, val=0.2, test=0.3, seed=1), dataset="table"))
    default = drawn(patients, Split(), dataset="table")
    assert default.equals(patient_split(patients, dataset="table", seed=0))


def test_validation_is_drawn_from_the_training_patients_alone() -> None:
    patients = pd.Series([f"p{n // 2}" for n in range(100)])
    given = pd.Series(["train"] * 80 + ["test"] * 20)
    found = with_validation(given, patients, Split(column="part", val=0.25), dataset="table")
    assert found.groupby(patients).nunique().max() == 1
    assert found.value_counts().to_dict() == {"train": 60, "val": 20, "test": 20}
    assert (found[80:] == "test").all()
    assert with_validation(given, patients, Split(column="part"), dataset="table").equals(given)


def test_what_is_drawn_is_said() -> None:
    assert note(Split(column="part"), given=True) == ""
    said = note(Split(column="part", val=0.1, seed=2), given=True)
    assert said == "10 % of the training patients drawn for validation (seed 2)"
    assert note(Split(), given=False) == "split drawn by patient, 70/10/20 (seed 0); folds do without it"
    assert (
        note(Split(train=0.5, val=0.0, test=0.5), given=False)
        == "split drawn by patient, 50/0/50 (seed 0); folds do without it"
    )
