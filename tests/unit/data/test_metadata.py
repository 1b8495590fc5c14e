"""What is known of an image besides its content is read from texts, addresses and headers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.metadata import ages, header_metadata, numbers, picture_sizes, sites, table_metadata, texts
from refers_bench.data.phantoms.dicom_files import save_dicom


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("65", 65.0),
        ("65.5", 65.5),
        ("058Y", 58.0),
        ("011M", 11 / 12),
        ("014D", 14 / 365),
        ("male 45yrs", 45.0),
        ("Female, 13 months", 13 / 12),
        ("65-year-old man", 65.0),
        ("45 male", 45.0),
        ("3 weeks", 3 / 52),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_ages(text: str | None, years: float | None) -> None:
    (found,) = ages(pd.Series([text], dtype=object))
    assert math.isnan(found) if years is None else found == pytest.approx(years)


def test_numbers_keep_their_place_and_the_rest_is_unknown() -> None:
    found = numbers(pd.Series(["1", "x", "", "-2.5"], index=[4, 3, 2, 1]))
    assert found.index.tolist() == [4, 3, 2, 1] and found.dtype == "float64"
    assert found.isna().tolist() == [False, True, True, False] and found.loc[1] == -2.5


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("https://www.eurorad.org/case/1", "eurorad.org"),
        (" https://Radiopaedia.org/cases?x=www.nejm.org ", "radiopaedia.org"),
        ("http://github.com:443/a", "github.com"),
        ("10.1056/nejm", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_sites(address: str, site: str | None) -> None:
    assert sites(pd.Series([address])).tolist() == [site]


def test_sizes_are_those_of_the_headers(tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 9)).save(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"no image")
    found = picture_sizes(["b.jpg", "a.png", "c.png", "d.png"], tmp_path)
    assert found["about:width"].head(2).tolist() == [4, 7] and found["about:height"].head(2).tolist() == [9, 5]
    assert found.tail(2).isna().all(axis=None)
    assert picture_sizes([], tmp_path).dtypes.tolist() == ["float64", "float64"]


def test_views_and_people_are_those_of_dicom_headers(tmp_path: Path) -> None:
    facts = {"ViewPosition": "AP", "PatientAge": "058Y", "PatientSex": "F"}
    for name, known in (("a", facts), ("b", {"PatientAge": "155Y"}), ("c", {})):
        save_dicom(tmp_path / f"{name}.dcm", np.eye(4, dtype=np.uint8), uid="2.25.1", stored="raw_12_bit", facts=known)
    (tmp_path / "d.dcm").write_bytes(b"no image")
    found = header_metadata(["b.dcm", "a.dcm", "c.dcm", "d.dcm", "e.dcm"], tmp_path)
    assert found["view"].tolist() == ["", "AP", "", "", ""] and found["about:sex"].tolist() == ["", "F", "", "", ""]
    assert found["about:age"].head(2).tolist() == [155, 58] and found["about:age"].tail(3).isna().all()
    assert header_metadata([], tmp_path).columns.tolist() == found.columns.tolist()


def test_the_first_column_that_a_table_has_is_read() -> None:
    columns = {"about:a": (("old", "new"), numbers), "about:b": (("b",), texts), "about:c": (("none",), texts)}
    frame = pd.DataFrame({"new": ["1", ""], "b": ["x", "y"]}, index=[5, 3])
    found = table_metadata(frame, columns)
    assert found.columns.tolist() == ["about:a", "about:b"] and found.index.tolist() == [5, 3]
    assert found["about:b"].tolist() == ["x", "y"] and found["about:a"].isna().tolist() == [False, True]
    both = table_metadata(frame.assign(old=["3", "4"]), columns)
    assert both["about:a"].tolist() == [3.0, 4.0]
