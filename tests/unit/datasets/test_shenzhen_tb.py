"""The reader understands both layouts of the Shenzhen collection, its rule of splits and its readings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.data.shenzhen import METADATA
from refers_bench.datasets.shenzhen_tb import Params, index, write_layout
from refers_bench.errors import DataError, UserError

LABEL = "tuberculosis:Tuberculosis"
PHANTOM = PhantomParams(studies=66, size=40, views=1, seed=5)


def test_the_layout_of_the_library(original: Path) -> None:
    frame = index(original, Params(), {})
    assert len(frame) == len(list((original / "ChinaSet_AllFiles" / "CXR_png").glob("*.png"))) == 66
    assert Image.open(original / frame["path"].iloc[0]).mode == "RGB"
    assert (frame[LABEL] == frame["image_id"].str[-1].astype(int)).all()
    assert set(frame.loc[frame[LABEL] == 0, "report"]) == {"normal"}
    assert frame.loc[frame[LABEL] == 1, "report"].str.contains("PTB").all()
    assert not frame["report"].str.contains("yrs").any(), "sex and age are no finding"
    for split, rows in frame.groupby("split"):
        assert rows[LABEL].nunique() == 2, split
    assert set(index(original, Params(split="seeded"), {})["split"]) == {"train", "val", "test"}


def test_the_layout_of_kaggle(original: Path, tmp_path: Path) -> None:
    library = index(original, Params(), {})
    images = tmp_path / "images" / "images"
    shutil.copytree(original / "ChinaSet_AllFiles" / "CXR_png", images)
    people = zip(library["about:sex"].str.title(), library["about:age"].astype(int), strict=True)
    rows = [
        f"{image}.png,{sex},{age},{report}"
        for image, (sex, age), report in zip(library["image_id"], people, library["report"], strict=True)
    ]
    (tmp_path / METADATA).write_text("study_id,sex,age,findings\n" + "\n".join(rows) + "\n")
    kaggle = index(tmp_path, Params(), {})
    assert kaggle.drop(columns="path").equals(library.drop(columns="path"))


PEOPLE = {
    "male 40yrs": ("male", 40.0),
    "Female , 17 yrs": ("female", 17.0),
    "female 9months": ("female", 0.75),
    "40 male": ("male", 40.0),
    "sex unknown": (None, None),
    "": (None, None),
}


def test_sex_and_age_are_those_of_the_reading(copy: Path) -> None:
    texts = sorted((copy / "ChinaSet_AllFiles" / "ClinicalReadings").iterdir())
    for text, line in zip(texts, PEOPLE, strict=False):
        text.write_text(f"{line}\nnormal\n")
    frame = index(copy, Params(), {}).set_index("image_id")
    for text, (sex, age) in zip(texts, PEOPLE.values(), strict=False):
        found = frame.loc[text.stem, ["about:sex", "about:age"]].tolist()
        assert [None if pd.isna(value) else value for value in found] == [sex, age], text
    assert set(frame["about:width"]) == {40.0}


def test_readings_may_be_absent_or_in_another_encoding(copy: Path) -> None:
    texts = sorted((copy / "ChinaSet_AllFiles" / "ClinicalReadings").iterdir())
    texts[0].unlink()
    texts[1].write_bytes("male 40yrs\nnormal \xb1\n".encode("latin-1"))
    texts[2].write_text("male 40yrs\n")
    frame = index(copy, Params(), {}).set_index("image_id")
    assert pd.isna(frame.loc[texts[0].stem, "report"])
    assert frame.loc[texts[1].stem, "report"] == "normal \xb1"
    assert pd.isna(frame.loc[texts[2].stem, "report"])


def test_other_files_are_left_alone_and_doubles_refused(copy: Path) -> None:
    folder = copy / "ChinaSet_AllFiles" / "CXR_png"
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._CHNCXR_0001_0.png").write_bytes(b"x")
    (folder / "readme.png").write_bytes(b"x")
    assert len(index(copy, Params(), {})) == 66
    image = next(folder.glob("CHNCXR*.png"))
    shutil.copy(image, copy / image.name)
    with pytest.raises(DataError, match=r"is at .*, too; allowed: one file"):
        index(copy, Params(), {})


def test_no_radiograph_and_no_column_are_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no radiograph here; allowed: CHNCXR"):
        index(tmp_path / "empty", Params(), {})
    (copy / METADATA).write_text("study,findings\n")
    with pytest.raises(DataError, match=r"shenzhen_metadata.csv:1: no column 'study_id'"):
        index(copy, Params(), {})


def test_more_phantoms_than_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="allowed: at most 662"):
        write_layout(tmp_path, PhantomParams(studies=663, size=32))


def test_the_masks_and_readings_of_montgomery_beside_are_left_alone(copy: Path) -> None:
    """Its masks have the names of its images: the NLM's two archives may be unpacked into one folder."""
    for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
        (copy / "MontgomerySet" / folder).mkdir(parents=True)
        Image.new("1", (9, 9)).save(copy / "MontgomerySet" / folder / "MCUCXR_0001_0.png")
    assert len(index(copy, Params(), {})) == 66
