"""Checks that a dataset keeps its contract: card, index, splits, labels, boxes, phantoms in its own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, ValidationError

from refers_bench import plugins
from refers_bench.contracts import checked
from refers_bench.data.decode import FORMATS, decode
from refers_bench.data.dicom import READINGS
from refers_bench.data.index import digest, metadata_columns, metadata_digest
from refers_bench.data.phantoms import radiographs
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.errors import UserError
from refers_bench.plugins import ABOUT, BOX_COLUMNS, INDEX_COLUMNS, Dataset

PHANTOMS = PhantomParams(studies=40, size=40, views=2, seed=3)


@pytest.fixture(scope="module", params=checked.names("dataset"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def dataset(name: str) -> Dataset:
    found: Dataset = plugins.load("dataset", name)
    return found


@pytest.fixture(scope="module")
def root(name: str, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in the dataset's official layout."""
    if dataset.write_layout is None:
        pytest.skip(f"{name} cannot be written as phantoms")
    folder = tmp_path_factory.mktemp(name) / "root"
    radiographs.write(folder, PHANTOMS, dataset.write_layout)
    return folder


@pytest.fixture(scope="module")
def index(root: Path, dataset: Dataset) -> pd.DataFrame:
    return dataset.index(root, dataset.Params(), {})


def test_card_is_complete(name: str, dataset: Dataset) -> None:
    assert dataset.label and dataset.source and dataset.licence and dataset.citation
    assert dataset.impl >= 1
    assert dataset.tasks or dataset.has_reports, "neither target nor source"
    assert all(isinstance(count, int) and count > 0 for count in dataset.expected_of(dataset.Params()).values())
    assert all(len(quirk) > 10 for quirk in dataset.quirks)
    for task_id, task in dataset.tasks.items():
        assert task_id.isidentifier() and f"{task_id}:" != ABOUT and task.label
        assert len(set(task.classes)) == len(task.classes)
        assert task.classes or dataset.Declared is not None, "no class"
    assert dataset.source_task_of(dataset.Params()) in {"", *dataset.tasks}


def test_parameters_are_described_and_refuse_what_they_do_not_know(dataset: Dataset) -> None:
    assert issubclass(dataset.Params, BaseModel)
    with pytest.raises(ValidationError):
        dataset.Params(no_such_parameter=1)
    model = dataset.Params()
    assert dataset.Params(**model.model_dump(mode="json")) == model, "parameters must survive the plan's JSON"
    for field, info in dataset.Params.model_fields.items():
        assert info.description or info.title, f"{field} has no description"


def test_index_has_the_columns_of_the_contract(index: pd.DataFrame, dataset: Dataset) -> None:
    own = {name: task for name, task in dataset.tasks.items() if not task.any_of}
    labels = [f"{task_id}:{name}" for task_id, task in own.items() for name in task.classes]
    about = metadata_columns(index)
    assert set(index.columns) == {*INDEX_COLUMNS, "bytes", *labels, *about}
    for column in ("image_id", "path", "patient_id", "study_id", "view", "split"):
        assert index[column].notna().all(), column
        assert all(isinstance(value, str) for value in index[column]), column
    for column in labels:
        assert str(index[column].dtype) == "Int8", column
        assert set(index[column].dropna().unique()) <= {0, 1}, column
    assert index["image_id"].is_unique
    assert index["path"].is_unique
    assert set(index["split"]) <= {"train", "val", "test", ""}
    assert index["report"].notna().any() == dataset.has_reports_of(dataset.Params())
    for column in about:
        known = index[column].dropna()
        number = str(index[column].dtype) == "float64"
        assert number or all(isinstance(value, str) and value for value in known), f"{column}: neither numbers nor text"


def test_every_split_has_images_and_no_patient_is_in_two(index: pd.DataFrame, dataset: Dataset) -> None:
    used = index[index["split"] != ""]
    # A source of studies and reports may do without a test split: pre-training is not tested.
    target = not dataset.has_reports_of(dataset.Params()) or any(task.published for task in dataset.tasks.values())
    assert {"train", "val", *(["test"] if target else [])} <= set(used["split"])
    assert used.groupby("patient_id")["split"].nunique().max() == 1
    assert index.groupby("study_id")["patient_id"].nunique().max() == 1
    assert index.groupby("study_id")["report"].nunique(dropna=False).max() == 1, "a study has one report"


def test_paths_stay_below_the_root_and_decode_to_grey(dataset: Dataset, index: pd.DataFrame, root: Path) -> None:
    for path in index["path"]:
        assert (root / path).resolve().is_relative_to(root.resolve())
    for path in index["path"].iloc[:: max(1, len(index) // 10)]:
        grey = decode(root / path, formats=dataset.formats(dataset.Params()))
        assert grey.dtype == np.uint8
        assert grey.ndim == 2
        assert int(grey.max()) - int(grey.min()) > 50, "a phantom is no flat image"


def test_index_is_a_function_of_the_files(index: pd.DataFrame, root: Path, dataset: Dataset, tmp_path: Path) -> None:
    again = dataset.index(root, dataset.Params(), {})
    pd.testing.assert_frame_equal(index, again)
    assert dataset.write_layout is not None
    radiographs.write(tmp_path / "other", PHANTOMS, dataset.write_layout)
    elsewhere = dataset.index(tmp_path / "other", dataset.Params(), {})
    assert digest(elsewhere) == digest(index), "the place of the files is in the digest"
    assert metadata_digest(elsewhere) == metadata_digest(index), "the place of the files is in the metadata"


def test_labels_of_phantoms_have_both_values(index: pd.DataFrame, dataset: Dataset) -> None:
    for task_id, task in dataset.tasks.items():
        if task.any_of:
            assert len(task.classes) == 1 and not dataset.tasks[task.any_of].any_of
            continue
        known = [index[f"{task_id}:{name}"].dropna().nunique() for name in task.classes]
        assert max(known) == 2, f"task {task_id} cannot be trained on phantoms"


def test_boxes_lie_in_images_of_the_index(index: pd.DataFrame, root: Path, dataset: Dataset) -> None:
    if dataset.boxes is None:
        pytest.skip("no annotated boxes")
    frame = dataset.boxes(root, dataset.Params())
    assert tuple(frame.columns) == BOX_COLUMNS
    assert len(frame) > 5
    assert set(frame["image_id"]) <= set(index["image_id"])
    assert set(frame["class"]) <= {name for task in dataset.tasks.values() for name in task.classes}
    assert frame[["left", "top", "width", "height"]].min().min() >= 0
    assert (frame["left"] + frame["width"]).max() <= 1.02 and (frame["top"] + frame["height"]).max() <= 1.02


def test_dicom_files_are_read_in_a_known_way(dataset: Dataset) -> None:
    assert dataset.dicom(dataset.Params()) in READINGS


def test_formats_are_among_those_that_can_be_read(dataset: Dataset) -> None:
    assert set(dataset.formats(dataset.Params())) <= set(FORMATS)


def test_what_a_manifest_declares_is_the_parameters_and_paths(dataset: Dataset) -> None:
    if dataset.Declared is None:
        assert not dataset.places and all(task.classes for task in dataset.tasks.values())
        return
    assert issubclass(dataset.Declared, dataset.Params)
    assert set(dataset.Declared.model_fields) == {*dataset.Params.model_fields, *dataset.places}
    assert list(dataset.places.values()).count("") == 1, "one place is the root of the images"
    for field, info in dataset.Declared.model_fields.items():
        assert info.description, f"{field} has no description"
    with pytest.raises(ValidationError):
        dataset.Declared(no_such_parameter=1)


def test_an_empty_folder_is_refused_with_its_path(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        dataset.index(tmp_path, dataset.Params(), {name: tmp_path / name for name in dataset.places.values() if name})
    assert str(tmp_path) in str(refused.value)
