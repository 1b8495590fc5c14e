"""Folders become an index: a folder is a class, and below train, val and test also a split."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import own_images
from refers_bench.datasets import folder
from refers_bench.errors import DataError


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    own_images.write_folders(tmp_path / "photos", count=20)
    return tmp_path / "photos"


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    own_images.write_folders(tmp_path / "photos", count=20, splits=True)
    return tmp_path / "photos"


def index(root: Path, **params: Any) -> Any:
    given = folder.Params(**params)
    return folder.index(root, folder.Params(**given.model_dump(mode="json")), {})


def test_every_folder_is_a_class(classes: Path) -> None:
    found = index(classes)
    assert [name for name in found.columns if ":" in name] == ["labels:plain", "labels:spot"]
    assert (found["labels:plain"] + found["labels:spot"]).eq(1).all()
    assert found["labels:spot"].tolist() == [int(name.startswith("spot/")) for name in found["image_id"]]
    assert found["split"].value_counts().to_dict() == {"train": 14, "val": 2, "test": 4}
    assert list(found["patient_id"]) == list(found["image_id"]) == list(found["path"])


def test_folders_that_are_no_classes_are_negative(classes: Path) -> None:
    found = index(classes, classes=["spot"])
    assert [name for name in found.columns if ":" in name] == ["labels:spot"]
    assert set(found.loc[found["path"].str.startswith("plain/"), "labels:spot"]) == {0}


def test_a_patient_is_read_from_the_name_and_stays_whole(classes: Path) -> None:
    found = index(classes, patient="^(person[0-9]+)_", split={"train": 0.5, "val": 0.2, "test": 0.3})
    assert found["patient_id"].nunique() == 10
    assert found.groupby("patient_id")["split"].nunique().max() == 1
    assert found["split"].value_counts().to_dict() == {"train": 10, "test": 6, "val": 4}


def test_folders_of_splits_are_the_splits(splits: Path) -> None:
    shutil.move(splits / "val", splits / "Validation")
    found = index(splits)
    assert found["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}
    assert found.loc[found["path"].str.startswith("Validation/"), "split"].eq("val").all()


def test_validation_may_be_drawn_from_the_training_folder(splits: Path) -> None:
    shutil.rmtree(splits / "val")
    found = index(splits, patient="^(person[0-9]+)_", split={"val": 0.5})
    assert found["split"].value_counts().to_dict() == {"train": 6, "val": 6, "test": 4}
    assert found.loc[found["path"].str.startswith("test/"), "split"].eq("test").all()


def test_images_lie_as_deep_as_they_like_and_other_files_are_left_alone(classes: Path) -> None:
    (classes / "spot" / "more").mkdir()
    shutil.move(next(classes.glob("spot/*.png")), classes / "spot" / "more" / "deep.png")
    for name in ("spot/Thumbs.db", "spot/.hidden.png", "notes.txt", "plain/list.csv"):
        (classes / name).write_text("x")
    (classes / ".cache").mkdir()
    found = index(classes)
    assert len(found) == 20 and "spot/more/deep.png" in set(found["path"])


def test_a_patient_in_two_splits_is_refused(splits: Path) -> None:
    first = min((splits / "train" / "spot").iterdir())
    shutil.copy(first, splits / "val" / "spot" / first.name)
    found = rf"{first.name}: patient 'person000' is in val here, and in train by train/spot/{first.name}"
    with pytest.raises(DataError, match=found):
        index(splits, patient="^(person[0-9]+)_")


@pytest.mark.parametrize("pattern", ["person", "(a)(b)", "("])
def test_a_pattern_needs_one_group(pattern: str) -> None:
    with pytest.raises(ValidationError, match="a regular expression"):
        folder.Params(patient=pattern)


def test_remarks() -> None:
    assert folder.DATASET.notes(folder.Params()) == (
        "no patients are known: each image counts as a patient of its own",
    )
    shares = {"train": 0.6, "val": 0.2, "test": 0.2}
    assert folder.DATASET.notes(folder.Params(patient="(a)", split=shares)) == (
        "split drawn by patient, 60/20/20 (seed 0); folds do without it",
    )
    assert folder.DATASET.notes(folder.Params(patient="(a)", split={"val": 0.1})) == (
        "10 % of the training patients drawn for validation (seed 0)",
    )
