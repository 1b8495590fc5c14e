"""Do labels and splits made from the official tables equal the released lists, cell by cell?"""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data import shenzhen
from refers_bench.data.class_lists import read_class_lists
from refers_bench.data.index import read_table
from refers_bench.datasets import covid19_idc, nih_chestxray14, vinbigdata_cxr


@pytest.fixture(scope="module")
def lists(real_data: Path) -> Path:
    return real_data / "official-splits"


@pytest.fixture(scope="module")
def findings(real_data: Path) -> pd.DataFrame:
    return nih_chestxray14.read_findings(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz")


def test_vinbigdata_labels_of_any_radiologist_are_the_released_ones(real_data: Path, lists: Path) -> None:
    rows = vinbigdata_cxr.read_readers(real_data / "labels" / "vinbigdata-train.csv.gz")
    labels = vinbigdata_cxr.image_labels(rows, readers=1)
    released = read_class_lists(lists / "vinbigdata", vinbigdata_cxr.LISTS, classes=vinbigdata_cxr.CLASSES)
    assert released["split"].value_counts().to_dict() == {"train": 10_500, "val": 1_500, "test": 3_000}
    given = released.set_index("name")[list(vinbigdata_cxr.CLASSES)]
    assert given.shape == labels.shape == (15_000, 14)
    assert (labels.loc[given.index].to_numpy() == given.to_numpy()).sum() == 15_000 * 14
    # An independent count of one class, and of those that two radiologists found.
    with gzip.open(real_data / "labels" / "vinbigdata-train.csv.gz", "rt") as file:
        votes: dict[str, set[str]] = {}
        for line in file:
            image, name, _, reader, *_ = line.split(",")
            if name == "Calcification":
                votes.setdefault(image, set()).add(reader)
    assert labels["Calcification"].sum() == len(votes) == 452
    majority = vinbigdata_cxr.image_labels(rows, readers=2)
    assert majority["Calcification"].sum() == sum(len(found) >= 2 for found in votes.values()) == 177


def test_nih_labels_are_the_released_ones_but_for_few(findings: pd.DataFrame, lists: Path) -> None:
    files = {"val": ("val.txt",), "test": ("test.txt",)}
    released = read_class_lists(lists / "nih", files, classes=nih_chestxray14.CLASSES).set_index("name")
    ours = findings.set_index("image_id").loc[released.index, list(nih_chestxray14.CLASSES)]
    differing = (ours.astype(int) != released[list(nih_chestxray14.CLASSES)].astype(int)).sum()
    assert differing.max() <= 25
    assert differing.sum() > 0, "the table of 2020 is known to differ"


def test_nih_released_split_and_its_patients(findings: pd.DataFrame, lists: Path) -> None:
    params = nih_chestxray14.Params(split="released", lists="x")
    split = nih_chestxray14.released_split(findings, lists / "nih", params)
    assert split["split"].value_counts().to_dict() == {"train": 78_468, "val": 11_219, "test": 22_433}
    patients = split.groupby("split")["patient_id"].agg(set)
    assert {name: len(found) for name, found in patients.items()} == {"train": 21_528, "val": 3_090, "test": 6_187}
    assert not patients["train"] & patients["val"]
    assert not patients["train"] & patients["test"]
    assert not patients["val"] & patients["test"]
    listed = nih_chestxray14.released_split(
        findings, lists / "nih", nih_chestxray14.Params(split="released", lists="x", labels="lists")
    )
    assert listed.loc[listed["split"] == "test", list(nih_chestxray14.CLASSES)].sum().sum() > 0
    train = listed["split"] == "train"
    assert listed[train].equals(split[train]), "no list of training images is there"


def test_nih_counts_of_the_card(findings: pd.DataFrame) -> None:
    assert len(findings) == 112_120
    assert findings["patient_id"].nunique() == 30_805
    assert findings["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    counts = findings[list(nih_chestxray14.CLASSES)].sum()
    assert counts["Infiltration"] == 19_894 and counts["Hernia"] == 227 and counts["Pleural_Thickening"] == 3_385
    assert (findings[list(nih_chestxray14.CLASSES)].sum(axis=1) == 0).sum() == 60_361


def test_nih_boxes(real_data: Path, tmp_path: Path) -> None:
    name = nih_chestxray14.BOXES
    (tmp_path / f"{name}.gz").symlink_to(real_data / "labels" / f"{name}.gz")
    boxes = nih_chestxray14.boxes(tmp_path, nih_chestxray14.Params())
    assert len(boxes) == 984 and boxes["image_id"].nunique() == 880
    assert boxes["class"].value_counts()["Infiltration"] == 123
    assert boxes["class"].nunique() == 8


def test_covid_labels_are_the_released_ones_where_the_metadata_names_a_finding(real_data: Path, lists: Path) -> None:
    released = covid19_idc.read_lists(lists / "covid").set_index("name")["listed"]
    table = read_table(real_data / "covid-chestxray-dataset" / covid19_idc.TABLE, required=("filename", "finding"))
    group = table.set_index("filename")["finding"].map(covid19_idc.group_of).dropna()
    both = group.index.intersection(released.index)
    assert len(both) == 635
    differing = [name for name in both if (group[name] == "COVID-19") != released[name]]
    assert differing == []


def test_shenzhen_rule_gives_the_released_lists(lists: Path) -> None:
    files = {"train": ("train.txt",), "val": ("valid.txt",), "test": ("test.txt",)}
    released = read_class_lists(lists / "shenzhen", files, classes=("normal", "tuberculosis"))
    assert released["split"].value_counts().to_dict() == {"train": 463, "val": 67, "test": 132}
    for row in released.itertuples():
        place = shenzhen.label_of(row.name)
        assert place is not None
        assert row.tuberculosis == 1 - row.normal == place[1]
        assert shenzhen.released_split(*place) == row.split
