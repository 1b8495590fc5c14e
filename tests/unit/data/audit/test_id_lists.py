"""Images are recognised across lists of different origin, and every overlap is listed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.audit.id_lists import IdList, of_index, overlaps, read_ids, record, repeated
from refers_bench.data.audit.naming import plain
from refers_bench.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images_012/00028178_000.png", "00028178_000"),
        ("b3f1.dicom", "b3f1"),
        ("B3F1.DCM", "B3F1"),
        ("folder\\x.jpeg", "x"),
        ("scan.v2.png", "scan.v2"),
        ("scan.dcm.png", "scan"),
        ("files/p10/p10000032/s50414267", "s50414267"),
        (" plain ", "plain"),
    ],
)
def test_plain(name: str, expected: str) -> None:
    assert plain(name) == expected


def test_formats(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x/one.png 0 1\r\n\r\ntwo.png 1 0\n")
    (tmp_path / "b.csv").write_text("image_id,rad\none,R1\none,R2\nthree,R1\n")
    with gzip.open(tmp_path / "c.csv.gz", "wt") as out:
        out.write("rad,image_id\nR1,two\n")
    assert read_ids(tmp_path / "a.txt").ids == ("x/one.png", "two.png")
    assert read_ids(tmp_path / "b.csv").ids == ("one", "one", "three")
    assert read_ids(tmp_path / "c.csv.gz", column="image_id").ids == ("two",)
    assert repeated(read_ids(tmp_path / "b.csv")) == ("one",)


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("a.txt", None, "", r"a\.txt: missing list"),
        ("a.csv", None, "", r"a\.csv: missing table"),
        ("a.txt", b"\n \n", "", r"a\.txt: an empty list"),
        ("a.txt", b"\xff\xfe\x00", "", r"a\.txt: not a readable list"),
        ("a.csv", b"x,y\n1,2\n", "z", r"a\.csv:1: no column 'z'; allowed: x, y"),
        ("a.txt", b"x\n", "z", r"a\.txt: column 'z' of a list without columns"),
    ],
)
def test_broken_lists(name: str, content: bytes | None, column: str, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_ids(tmp_path / name, column=column)


def test_every_pair_is_compared() -> None:
    lists = [
        IdList(name="a", ids=("f/1.png", "2.png", "2.png")),
        IdList(name="b", ids=("2", "1.jpg", "3")),
        IdList(name="c", ids=("4",)),
    ]
    found = {(one.first, one.second): one.ids for one in overlaps(lists)}
    assert found == {("a", "b"): ("1", "2"), ("a", "c"): (), ("b", "c"): ()}
    assert record(lists, overlaps(lists)) == {
        "lists": [
            {"name": "a", "ids": 3, "different": 2, "repeated": ["2.png"]},
            {"name": "b", "ids": 3, "different": 3, "repeated": []},
            {"name": "c", "ids": 1, "different": 1, "repeated": []},
        ],
        "overlaps": [
            {"first": "a", "second": "b", "shared": 2, "ids": ["1", "2"], "shared_patients": None, "patients": None},
            {"first": "a", "second": "c", "shared": 0, "ids": [], "shared_patients": None, "patients": None},
            {"first": "b", "second": "c", "shared": 0, "ids": [], "shared_patients": None, "patients": None},
        ],
    }  # fmt: skip


def test_shared_patients_are_known_through_an_index() -> None:
    frame = pd.DataFrame(
        {"image_id": ["1", "2", "3", "4"], "patient_id": ["p", "p", "q", "r"], "split": ["train", "train", "test", ""]}
    )
    splits = of_index(frame, name="d")
    assert [(one.name, one.ids) for one in splits] == [("d:test", ("3",)), ("d:train", ("1", "2"))]
    lists = [*splits, IdList(name="theirs", ids=("2.png",)), IdList(name="other", ids=("2.png", "9.png"))]
    found = {(one.first, one.second): one for one in overlaps(lists)}
    assert found["d:test", "d:train"].patients == ()
    assert found["d:train", "theirs"].patients == ("d/p",)
    assert found["d:train", "theirs"].ids == ("2",)
    assert found["d:test", "theirs"].patients == ()
    assert found["d:train", "other"].ids == ("2",)
    assert found["d:train", "other"].patients is None, "nobody knows the patient of 9"
    written = record(lists[1:3], overlaps(lists[1:3]))["overlaps"]
    assert written == [
        {"first": "d:train", "second": "theirs", "shared": 1, "ids": ["2"], "shared_patients": 1, "patients": ["d/p"]}
    ]  # fmt: skip


def test_released_lists_are_disjoint(real_data: Path) -> None:
    for dataset in ("covid", "nih", "shenzhen", "vinbigdata"):
        lists = [read_ids(path) for path in sorted((real_data / "official-splits" / dataset).glob("*.txt"))]
        assert all(not one.ids for one in overlaps(lists)), dataset
        assert all(not repeated(one) for one in lists), dataset


def test_all_test_images_are_found_in_the_readers_table(real_data: Path) -> None:
    test = read_ids(real_data / "official-splits" / "vinbigdata" / "test.txt")
    whole = read_ids(real_data / "labels" / "vinbigdata-train.csv.gz", column="image_id")
    (found,) = overlaps([test, whole])
    assert len(test.ids) == len(found.ids) == 3_000
    assert len(repeated(whole)) == 15_000
    assert re.fullmatch(r"[0-9a-f]{32}", found.ids[0])
