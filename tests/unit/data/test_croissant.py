"""The Croissant description of prepared images names every file and column, with checksums, and holds no image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from refers_bench import plugins
from refers_bench.data import croissant
from refers_bench.errors import DataError
from refers_bench.plugins import Dataset

HOSTILE = 'findings:"}]<script> \u202e,%_$'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three prepared images of 4 x 4 pixels; one class has a name that JSON, HTML and a terminal could obey."""
    pixels = np.arange(48, dtype=np.uint8).tobytes()
    (tmp_path / "images.u8").write_bytes(pixels)
    index = pd.DataFrame(
        {
            "image_id": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"], "patient_id": ["p", "p", "q"],
            "study_id": ["s", "s", "t"], "view": ["PA", "", "AP"], "split": ["train", "train", "test"],
            "report": ["", "secret words", ""], "about:age": [40.0, None, 50.0],
            HOSTILE: pd.array([1, 0, None], dtype="Int8"), "findings:No finding": pd.array([0, 1, 1], dtype="Int8"),
            "findings:No_finding": pd.array([0, 1, 1], dtype="Int8"),
        }
    )  # fmt: skip
    index.to_parquet(tmp_path / "index.parquet", index=False)
    meta = {"version": 1, "count": 3, "size": 4, "digest": hashlib.sha256(pixels).hexdigest(), "unreadable": []}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return tmp_path


@pytest.fixture
def card() -> Dataset:
    found: Dataset = plugins.load("dataset", "covid19_idc")
    return found


def test_checksums_of_damaged_images_are_not_given_out(folder: Path, card: Dataset) -> None:
    (folder / "images.u8").write_bytes(bytes(48))
    with pytest.raises(DataError, match=r"images\.u8: its SHA-256 is not the one that meta\.json records"):
        croissant.croissant("covid19_idc", card, folder=folder)


def test_what_the_specification_requires_is_there(folder: Path, card: Dataset) -> None:
    found = croissant.croissant("covid19_idc", card, folder=folder)
    assert found == croissant.croissant("covid19_idc", card, folder=folder)
    # Required of a dataset, a file, a record set and a field by the Croissant specification 1.0.
    dataset = {"@context", "@type", "conformsTo", "name", "description", "license", "url", "distribution", "citeAs"}
    assert dataset <= set(found) and found["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    for file in found["distribution"]:
        assert {"@type", "@id", "name", "contentUrl", "encodingFormat", "sha256"} <= set(file)
        content = (folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest() and file["contentSize"] == f"{len(content)} B"
    splits, images = found["recordSet"]
    assert splits["data"] == [{"splits/name": "train"}, {"splits/name": "test"}]
    ids = [one["@id"] for one in (*found["distribution"], splits, images, *splits["field"], *images["field"])]
    assert len(set(ids)) == len(ids)
    columns = {one["source"]["extract"]["column"]: one["dataType"] for one in images["field"]}
    assert list(columns) == list(pd.read_parquet(folder / "index.parquet").columns)
    assert columns[HOSTILE] == "sc:Integer" and columns["about:age"] == "sc:Float" and columns["view"] == "sc:Text"
    assert {one["source"]["fileObject"]["@id"] for one in images["field"]} == {"index.parquet"}


def test_no_image_and_no_text_of_a_patient_is_in_it(folder: Path, card: Dataset) -> None:
    text = json.dumps(croissant.croissant("covid19_idc", card, folder=folder))
    assert "secret words" not in text and '"a.png"' not in text
    assert card.licence in text and card.citation in text
    assert "Synthetic" not in text
    made = replace(card, synthetic=True)
    assert "Synthetic: procedural" in json.dumps(croissant.croissant("covid19_idc", made, folder=folder))


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("github.com/ieee8023/covid-chestxray-dataset", "https://github.com/ieee8023/covid-chestxray-dataset"),
        ("kaggle.com: raddar/x; or y.org", "https://kaggle.com"),
        ("drawn by refers_bench.data", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_an_address_is_only_what_is_one(source: str, address: str) -> None:
    assert croissant.address(source) == address


def test_the_reference_library_reads_it(folder: Path, card: Dataset) -> None:
    """MLCommons' own reader validates the description and yields the records."""
    library: Any = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed; it brings 20 packages")
    path = folder / "croissant.json"
    path.write_text(json.dumps(croissant.croissant("covid19_idc", card, folder=folder)))
    dataset = library.Dataset(str(path))
    records = list(dataset.records("images"))
    assert [one["images/image_id"] for one in records] == [b"a", b"b", b"c"]
    assert [one["images/split"] for one in records] == [b"train", b"train", b"test"]
