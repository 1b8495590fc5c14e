"""A table becomes an index: labels, splits, patients, studies, reports, metadata and files of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

import own_images
from refers_bench.data.decode import decode
from refers_bench.data.index import digest, metadata_digest
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets import table
from refers_bench.datasets.vinbigdata_cxr import write_layout
from refers_bench.errors import DataError

Read = Callable[..., pd.DataFrame]
WHOLE = {
    "image": "file", "patient": "patient", "labels": ["spot", "stripe"], "split": "split", "text": "report",
    "view": "view", "sex": "sex", "age": "age", "about": ["site"], "missing": "-1",
}  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads the table of twenty images, after a change of its rows, under parameters."""
    rows = own_images.rows(20)
    own_images.write_images(tmp_path / "img", rows)

    def index(
        change: Callable[[pd.DataFrame], Any] = lambda frame: None, *, name: str = "t.csv", **params: Any
    ) -> pd.DataFrame:
        frame = pd.DataFrame(rows)
        change(frame)
        path = tmp_path / name
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
        given = table.Params(**{**WHOLE, **params})
        return table.index(tmp_path / "img", table.Params(**given.model_dump(mode="json")), {"file": path})

    return index


def test_every_column_is_where_the_index_has_it(read: Read) -> None:
    first, eighth = (read().iloc[place].to_dict() for place in (0, 7))
    assert first == {
        "image_id": "000.png", "path": "000.png", "patient_id": "p000", "study_id": "000.png", "view": "PA",
        "split": "train", "report": "A spot, a stripe, on the left.", "bytes": first["bytes"],
        "labels:spot": 1, "labels:stripe": 1, "about:age": 20.0, "about:sex": "F", "about:site": "north",
    }  # fmt: skip
    assert first["bytes"] > 100
    assert eighth["labels:spot"] == 0 and pd.isna(eighth["labels:stripe"]), "-1 is unknown"
    found = read()
    assert found["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}
    assert pd.isna(found.loc[8, "labels:spot"]), "an empty cell is unknown"


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet"])
def test_other_files_give_the_same_index(read: Read, name: str) -> None:
    assert digest(read(name=name)) == digest(read())
    assert metadata_digest(read(name=name)) == metadata_digest(read())


def test_without_columns_every_image_is_its_own_patient_and_study(read: Read) -> None:
    found = read(patient="", text="", view="", sex="", age="", about=[], labels=[], split=None)
    assert list(found["patient_id"]) == list(found["study_id"]) == list(found["image_id"])
    assert found["split"].value_counts().to_dict() == {"train": 14, "val": 2, "test": 4}
    assert not [name for name in found.columns if ":" in name]
    assert found["report"].isna().all() and set(found["view"]) == {""}


def test_a_study_has_one_patient_and_one_report_wherever_it_stands(read: Read) -> None:
    def studies(frame: pd.DataFrame) -> None:
        frame["study"] = [f"s{number // 2}" for number in range(20)]
        frame.loc[::2, "report"] = ""
        frame.loc[19, "study"] = ""

    found = read(studies, study="study", labels=["spot"])
    assert found.loc[0, "report"] == found.loc[1, "report"] != ""
    assert pd.isna(found.loc[18, "report"]) and found.loc[19, "study_id"] == "019.png"
    alone = read(studies, study="study", patient="", split=None)
    assert list(alone["patient_id"]) == list(alone["study_id"]), "views of a study are of one patient"

    def another(frame: pd.DataFrame) -> None:
        studies(frame)
        frame.loc[:1, "report"] = ["One.", "Another."]

    message = r"t\.csv:3:\d+: study 's0' has another text in line 2; allowed: one text for each study"
    with pytest.raises(DataError, match=message):
        read(another, study="study")


def test_one_column_of_names(read: Read) -> None:
    def names(frame: pd.DataFrame) -> None:
        frame["spot"] = ["b|a", "a", "none", ""] * 5

    found = read(names, labels="spot", negative="none")
    assert [name for name in found.columns if name.startswith("labels:")] == ["labels:a", "labels:b"]
    assert found.loc[:2, ["labels:a", "labels:b"]].to_numpy().tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.loc[3, ["labels:a", "labels:b"]].isna().all()


def test_an_empty_split_leaves_out_and_may_be_of_a_patient_of_another(read: Read) -> None:
    found = read(lambda frame: frame.__setitem__("split", ["", *frame["split"][1:]]))
    assert found.loc[0, "split"] == "" and found.loc[1, "split"] == "train"


def test_validation_may_be_drawn(read: Read) -> None:
    found = read(
        lambda frame: frame.__setitem__("split", frame["split"].replace("valid", "train")),
        split={"column": "split", "val": 0.25},
    )
    assert found["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}


def test_ages_are_years_or_unknown(read: Read) -> None:
    found = read(lambda frame: frame.__setitem__("age", ["063Y", "-1.0", ""] + ["6 months"] * 17))
    assert (
        found.loc[0, "about:age"] == 63
        and found.loc[1:2, "about:age"].isna().all()
        and found.loc[3, "about:age"] == 0.5
    )
    with pytest.raises(DataError, match=r"t\.csv:2:\d+: age '-5'; allowed: years"):
        read(lambda frame: frame.__setitem__("age", ["-5", *frame["age"][1:]]))


def test_metadata_are_numbers_where_all_are(read: Read) -> None:
    def more(frame: pd.DataFrame) -> None:
        frame["dose"], frame["site"] = ["1.5", "-1", ""] + ["2"] * 17, ["3", "b"] * 10

    found = read(more, about=["dose", "site"])
    assert found.loc[0, "about:dose"] == 1.5 and found.loc[1:2, "about:dose"].isna().all()
    assert list(found.loc[:1, "about:site"]) == ["3", "b"]


def test_endings_folders_and_backslashes_of_images(read: Read, tmp_path: Path) -> None:
    (tmp_path / "img" / "in").mkdir()
    shutil.move(tmp_path / "img" / "000.png", tmp_path / "img" / "in" / "000.png")

    def names(frame: pd.DataFrame) -> None:
        frame["file"] = ["in\\000", "./001.png", *(name.removesuffix(".png") for name in frame["file"][2:])]

    found = read(names).set_index("image_id")
    assert found.loc["in/000", "path"] == "in/000.png" and found.loc["001.png", "path"] == "001.png"
    assert found.loc["002", "path"] == "002.png"


def test_dicom_and_jpeg_beside_png(read: Read, tmp_path: Path) -> None:
    (tmp_path / "vin").mkdir()
    write_layout(tmp_path / "vin", PhantomParams(studies=10, size=32, views=1))
    first, second = sorted((tmp_path / "vin").rglob("*.dicom"))[:2]
    shutil.copy(first, tmp_path / "img" / "scan.dcm")
    shutil.copy(second, tmp_path / "img" / "IM0001")
    own_images.picture(0, spot=True, stripe=False).save(tmp_path / "img" / "photo.jpg")

    def names(frame: pd.DataFrame) -> None:
        frame.loc[:2, "file"] = ["scan.dcm", "IM0001", "photo"]

    found = read(names).set_index("image_id")
    for name in ("scan.dcm", "IM0001", "photo"):
        assert decode(tmp_path / "img" / found.loc[name, "path"]).ndim == 2


def test_the_index_does_not_depend_on_where_files_are_but_on_the_table(read: Read, tmp_path: Path) -> None:
    before = read()
    shutil.copytree(tmp_path / "img", tmp_path / "other" / "img")
    params = table.Params(**WHOLE)
    moved = table.index(tmp_path / "other" / "img", params, {"file": tmp_path / "t.csv"})
    assert digest(moved) == digest(before)
    assert digest(read(lambda frame: frame.__setitem__("spot", ["0", *frame["spot"][1:]]))) != digest(before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 5}, "folds as a key of the target"),
        ({"labels": ["a", "a"]}, "each of 'labels' once"),
        ({"labels": ["a", 1]}, "a list of columns of 0 and 1"),
        ({"labels": ["a"], "classes": ["a"]}, "only with one column of names"),
        ({"labels": ["a"], "negative": "none"}, "only with one column of names"),
        ({"split": {"val": 0.1}}, "a 'split' with a column"),
        ({"separator": ";;"}, "at most 1 character"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        table.Params(**given)


def test_the_file_must_be_declared_and_the_folder_is_the_manifests_by_default() -> None:
    with pytest.raises(ValidationError, match="file\n  Field required"):
        table.Declared(labels=["a"])
    assert table.Declared(file="t.csv").images == "."


def test_roles_and_remarks_follow_from_the_columns() -> None:
    whole, bare = table.Params(**WHOLE), table.Params()
    assert table.DATASET.source_task_of(whole) == "labels" and table.DATASET.source_task_of(bare) == ""
    assert table.DATASET.has_reports_of(whole) and not table.DATASET.has_reports_of(bare)
    assert table.DATASET.notes(whole) == ()
    assert table.DATASET.notes(bare) == (
        "no patients are known: each image counts as a patient of its own",
        "split drawn by patient, 70/10/20 (seed 0); folds do without it",
    )
    assert table.DATASET.notes(table.Params(study="s", split="part"))[0].endswith(
        "each study counts as a patient of its own"
    )
