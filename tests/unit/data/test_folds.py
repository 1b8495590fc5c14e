"""Folds: no patient in two of them, every image in one, sizes and labels spread as evenly as the patients allow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from places import place_of
from refers_bench.data.folds import Folds, deal, splits
from refers_bench.errors import DataError, UserError

CLASSES = ("b", "a")


def frame(patients: list[int], labels: list[tuple[int | None, ...]]) -> pd.DataFrame:
    """Images of numbered patients, with a label of each class."""
    rows = pd.DataFrame({"image_id": [f"i{n:04d}" for n in range(len(patients))], "split": "train"})
    rows["patient_id"] = [f"p{patient}" for patient in patients]
    for k, name in enumerate(CLASSES[: len(labels[0])]):
        rows[f"t:{name}"] = pd.array([one[k] for one in labels], dtype="Int8")
    return rows


def dealt(rows: pd.DataFrame, count: int, *, dataset: str = "d", task: str = "t") -> Folds:
    rows = rows.rename(columns=lambda name: name.replace("t:", f"{task}:"))
    classes = [name for name in CLASSES if f"{task}:{name}" in rows]
    return deal(rows, dataset=dataset, task=task, classes=classes, count=count)


def spread(rows: pd.DataFrame, number: pd.Series, count: int) -> dict[tuple[str, int], list[int]]:
    """(class, label) -> patients that have it, of each fold."""
    return {
        (column, label): [
            rows.loc[(number == f) & (rows[column] == label), "patient_id"].nunique() for f in range(count)
        ]
        for column in rows
        if column.startswith("t:")
        for label in (0, 1)
    }


#: Up to 30 patients with up to 120 images, each with two labels that may be unknown.
IMAGES = st.lists(
    st.tuples(st.integers(0, 29), st.sampled_from([0, 0, 1, None]), st.sampled_from([0, 1, None])),
    min_size=3,
    max_size=120,
).filter(lambda rows: len({patient for patient, *_ in rows}) >= 3)


@settings(max_examples=100, deadline=None)
@given(images=IMAGES, count=st.integers(3, 6), order=st.randoms(use_true_random=False))
def test_folds_part_patients_and_do_not_depend_on_the_order_of_rows(
    images: list[tuple[int, int | None, int | None]], count: int, order: Any
) -> None:
    rows = frame([one[0] for one in images], [one[1:] for one in images])
    count = min(count, rows["patient_id"].nunique())
    found = dealt(rows, count)
    assert found.number.index.equals(rows.index)
    assert found.number.between(0, count - 1).all(), "every image is in a fold"
    assert found.number.nunique() == count, "no fold is empty"
    assert found.number.groupby(rows["patient_id"]).nunique().eq(1).all(), "no patient is in two"
    # Each image is tested in exactly one round, and validates in exactly one.
    rounds = [found.splits(fold) for fold in range(count)]
    for what in ("test", "val"):
        assert sum((one == what).astype(int) for one in rounds).eq(1).all()
    assert all(set(one) == {"train", "val", "test"} for one in rounds)
    shuffled = rows.sample(frac=1, random_state=order.randrange(1000))[[*rows.columns][::-1]]
    assert dealt(shuffled, count).number.sort_index().equals(found.number)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=40),
    positive=st.lists(st.booleans(), min_size=40, max_size=40),
    count=st.integers(3, 6),
)
def test_one_label_a_patient_is_dealt_evenly_in_patients_and_in_images(
    sizes: list[int], positive: list[bool], count: int
) -> None:
    """Patients of either label differ by one at most between folds; images by those of the largest patient."""
    patients = [patient for patient, size in enumerate(sizes) for _ in range(size)]
    rows = frame(patients, [(int(positive[patient]),) for patient in patients])
    found = dealt(rows, count)
    for counts in spread(rows, found.number, count).values():
        assert max(counts) - min(counts) <= 1
    images = found.number.value_counts().reindex(range(count), fill_value=0)
    assert images.max() - images.min() <= max(sizes)
    of_label = [sum(positive[: len(sizes)]), len(sizes) - sum(positive[: len(sizes)])]
    assert found.scarce == ({"b": min(of_label)} if min(of_label) < count else {})


@settings(max_examples=100, deadline=None)
@given(images=IMAGES, count=st.integers(3, 5))
def test_more_patients_of_a_label_in_a_fold_than_its_share_have_another_label_too(
    images: list[tuple[int, int | None, int | None]], count: int
) -> None:
    """A fold exceeds its share only by patients who were dealt for another label of theirs."""
    rows = frame([one[0] for one in images], [one[1:] for one in images])
    count = min(count, rows["patient_id"].nunique())
    number = dealt(rows, count).number
    of_patient = {
        name: {(column, label) for column in ("t:a", "t:b") for label in (0, 1) if (some[column] == label).any()}
        for name, some in rows.groupby("patient_id")
    }
    for (column, label), counts in spread(rows, number, count).items():
        share = math.ceil(sum(counts) / count)
        for fold, found in enumerate(counts):
            here = set(rows.loc[(number == fold) & (rows[column] == label), "patient_id"])
            tied = sum(len(of_patient[name]) > 1 for name in here)
            assert found <= max(share, tied), (column, label, fold)


def test_folds_spread_labels_and_sizes_at_least_as_evenly_as_scikit_learn() -> None:
    """200 patients with 1 to 19 images, a tenth positive: scikit-learn's grouped, stratified folds as a yardstick."""
    draw = np.random.default_rng(3)
    for _ in range(5):
        patients = np.repeat(np.arange(200), draw.integers(1, 20, 200))
        positive = draw.random(200) < 0.1
        rows = frame(patients.tolist(), [(int(positive[patient]),) for patient in patients])
        found = dealt(rows, 5).number
        theirs = pd.Series(-1, index=rows.index)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, rows["t:b"], rows["patient_id"])
        for fold, (_, test) in enumerate(folds):
            theirs.iloc[test] = fold
        unevenness = {
            name: (
                np.ptp(spread(rows, number, 5)["t:b", 1]),
                np.ptp(spread(rows, number, 5)["t:b", 0]),
                np.ptp(number.value_counts()),
            )
            for name, number in (("ours", found), ("theirs", theirs))
        }
        assert unevenness["ours"][0] <= 1
        assert unevenness["ours"][:2] <= unevenness["theirs"][:2]
        assert unevenness["ours"][2] <= 19


def test_folds_depend_on_dataset_task_and_number_alone() -> None:
    rows = frame(list(range(60)), [(n % 2, n % 3 == 0) for n in range(60)])
    found = dealt(rows, 5)
    assert dealt(rows, 5).number.equals(found.number)
    assert dealt(rows.assign(split="test"), 5).number.equals(found.number), "the original split plays no part"
    for other in (dealt(rows, 5, dataset="e"), dealt(rows, 5, task="u"), dealt(rows, 4)):
        assert not other.number.equals(found.number)


def test_folds_by_hand() -> None:
    """The rarer label first, then the patient with most images; the fold after the tested one validates."""
    rows = frame([0, 1, 2, 3, 3, 3, 4, 5], [(n > 1,) for n in range(8)])
    found = dealt(rows, 3)
    drawn = [
        sorted(some, key=lambda name: place_of("folds", "d", "t", 3, name))
        for some in (("p0", "p1"), ("p2", "p4", "p5"))
    ]
    # Negative patients into folds 0 and 1; p3 into the empty fold; then each fold's second patient, and one more into
    # the first of the two folds with two images.
    expected_fold = dict(zip([*drawn[0], "p3", *drawn[1]], [0, 1, 2, 0, 1, 0], strict=True))
    assert found.number.tolist() == [expected_fold[name] for name in rows["patient_id"]]
    assert found.scarce == {"b": 2}
    for fold in range(3):
        expected = found.number.map(lambda one, fold=fold: {0: "test", 1: "val", 2: "train"}[(one - fold) % 3])
        assert found.splits(fold).equals(expected)
        assert splits(rows, dataset="d", task="t", classes=("b",), count=3, fold=fold).equals(expected)


def test_folds_that_cannot_be_dealt() -> None:
    rows = frame([0, 0, 1, 2, 3], [(1,)] * 5)
    with pytest.raises(UserError, match="2 folds; allowed: 3 or more"):
        dealt(rows, 2)
    with pytest.raises(DataError, match="5 folds for 4 patients of task 't' of 'd'"):
        dealt(rows, 5)
    for fold in (-1, 3):
        with pytest.raises(UserError, match=f"fold {fold} of 3; allowed: 0 to 2"):
            dealt(rows, 3).splits(fold)
    assert dealt(rows, 3).scarce == {"b": 0}, "no image is negative"
