"""The reader understands the three downloads of the pneumothorax challenge, and masks as their runs say."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.siim_acr import COPY, TABLES, Params, boxes, index, read_copy, read_masks
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=40, size=40, views=1, seed=5)
LABEL = "pneumothorax:Pneumothorax"
PREFIX = "1.2.276.0.7230010.3.1.4.8323329."
#: First one has two masks: a square of 100 pixels at column 200 and row 50, and a column.
RUNS = " ".join([f"{200 * 1024 + 50} 100", *["924 100"] * 99]), f"{10 * 1024 + 5} 30"
ROWS = ((f"{PREFIX}1.1", RUNS[0]), (f"{PREFIX}1.1", RUNS[1]), (f"{PREFIX}2.1", "-1"), (f"{PREFIX}3.1", "-1"))


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"ViewPosition": "AP", "PatientAge": "030Y", "PatientSex": "F"}
    save_dicom(path, np.eye(16, dtype=np.uint8) * 200, uid="2.25.1", stored="jpeg_8_bit", facts=facts)


@pytest.fixture
def stage_2(tmp_path: Path) -> Path:
    """The layout of Kaggle today, with an image that stage 2 tested with."""
    root = tmp_path / "stage_2"
    for number in range(1, 5):
        image(root / "stage_2_images" / f"{PREFIX}{number}.1.dcm")
    lines = [",".join(row) for row in ROWS]
    (root / TABLES["stage_2"]).write_text("\n".join(["ImageId,EncodedPixels", *lines]) + "\n")
    (root / "stage_2_sample_submission.csv").write_text(f"ImageId,EncodedPixels\n{PREFIX}4.1,-1\n")
    return root


@pytest.fixture
def stage_1(tmp_path: Path) -> Path:
    """The layout of 2019: nested folders, a blank before the second heading and before -1."""
    root = tmp_path / "stage_1"
    for number, part in ((1, "train"), (2, "train"), (3, "train"), (4, "test")):
        image(root / f"dicom-images-{part}" / f"s{number}" / f"t{number}" / f"{PREFIX}{number}.1.dcm")
    lines = [", ".join(row) for row in ROWS]
    (root / TABLES["stage_1"]).write_text("\n".join(["ImageId, EncodedPixels", *lines]) + "\n")
    return root


@pytest.fixture
def png(tmp_path: Path) -> Path:
    root = tmp_path / "png"
    (root / "png_images").mkdir(parents=True)
    for number, (part, name) in enumerate(COPY.items()):
        rows = []
        for place, label in enumerate((1, 0, 0, 1)):
            file = f"{place}_{part}_{label}_.png"
            Image.fromarray(np.eye(16, dtype=np.uint8) * 200).save(root / "png_images" / file)
            rows.append(f"{file},{PREFIX}{number}.{place},{label}")
        (root / name).write_text("\n".join(["new_filename,ImageId,has_pneumo", *rows]) + "\n")
    return root


def test_rows_are_masks_and_not_images(stage_2: Path) -> None:
    frame = index(stage_2, Params(), {})
    assert frame["image_id"].tolist() == [f"{PREFIX}{number}.1" for number in (1, 2, 3)]
    assert frame[LABEL].tolist() == [1, 0, 0], "'-1' is no mask"
    assert set(frame["view"]) == {"AP"} and set(frame["about:age"]) == {30} and set(frame["about:sex"]) == {"F"}
    assert (frame["patient_id"] == frame["image_id"]).all()


def test_both_masks_of_an_image_are_kept(stage_2: Path) -> None:
    found = boxes(stage_2, Params())
    assert found["image_id"].tolist() == [f"{PREFIX}1.1"] * 2
    sides = (found[["left", "top", "width", "height"]] * 1024).to_numpy().tolist()
    assert sides == [[10, 5, 1, 30], [200, 50, 100, 100]]


def test_the_files_of_stage_1_with_their_blanks(stage_1: Path, stage_2: Path) -> None:
    assert " -1" in (stage_1 / TABLES["stage_1"]).read_text()
    old, new = index(stage_1, Params(release="stage_1"), {}), index(stage_2, Params(), {})
    assert old.drop(columns="path").equals(new.drop(columns="path"))
    assert old["path"].iloc[0] == f"dicom-images-train/s1/t1/{PREFIX}1.1.dcm"
    pd.testing.assert_frame_equal(boxes(stage_1, Params(release="stage_1")), boxes(stage_2, Params()))


def test_stage_1_tested_with_its_folder(stage_1: Path, stage_2: Path) -> None:
    """With the labels of stage 2 the images that stage 1 tested with have labels, too."""
    with pytest.raises(DataError, match=r"no image that stage 1 tested with; allowed: dicom-images-test/, or release"):
        index(stage_1, Params(release="stage_1", split="stage_1_test"), {})
    text = (stage_2 / TABLES["stage_2"]).read_text()
    (stage_1 / TABLES["stage_2"]).write_text(f"{text}{PREFIX}4.1,5 9\n")
    frame = index(stage_1, Params(split="stage_1_test", val_share=0.4), {})
    assert frame["split"].tolist()[3] == "test" and sorted(frame["split"]) == ["test", "train", "train", "val"]


def test_the_copy_as_png_files(png: Path) -> None:
    frame = index(png, Params(release="png"), {})
    assert frame["image_id"].str.fullmatch(r"\d_(train|test)_[01]_").all() and len(frame) == 8
    assert (frame[LABEL] == frame["image_id"].str[-2].astype(int)).all()
    assert frame["study_id"].str.startswith(PREFIX).all()
    test = index(png, Params(release="png", split="stage_1_test", val_share=0.25), {})
    assert ((test["split"] == "test") == test["image_id"].str.contains("_test_")).all()
    assert set(test["split"]) == {"train", "val", "test"}
    assert boxes(png, Params(release="png")).empty


def test_the_published_names_of_the_copy(real_data: Path, tmp_path: Path) -> None:
    """BenchX's lists name all images of the PNG copy: its tables, made from them, hold the card's counts."""
    lists = real_data / "split-packs" / "siim-benchx"
    if not lists.is_dir():
        pytest.skip(f"no {lists}")
    packed = [(lists / f"{part}.txt.gz").read_bytes() for part in ("train", "val", "test")]
    names = [name for content in packed for name in gzip.decompress(content).decode().split()]
    for part, table in COPY.items():
        rows = [f"{name}.png,{PREFIX}{name},{name[-2]}" for name in names if f"_{part}_" in name]
        (tmp_path / table).write_text("\n".join(["new_filename,ImageId,has_pneumo", *rows]) + "\n")
    frame = read_copy(tmp_path)
    test = frame["image_id"].str.contains("_test_")
    assert (len(frame), int(test.sum())) == (12_047, 1_372)
    assert (int(frame["positive"].sum()), int(frame.loc[test, "positive"].sum())) == (2_669, 290)


def test_phantoms_have_the_real_layout(original: Path) -> None:
    frame, found = read_masks(original / TABLES["stage_2"])
    assert frame["ImageId"].nunique() == len(list((original / "stage_2_images").glob("*.dcm"))) == 40
    assert frame["ImageId"].duplicated().any(), "some have several masks"
    shapes = [box for box in found if box is not None]
    assert len(shapes) > 8 and all(box.width > 100 and box.height > 50 for box in shapes)


def table(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / TABLES["stage_2"]
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def without_images(root: Path) -> None:
    shutil.rmtree(root / "stage_2_images")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda root: (root / TABLES["stage_2"]).unlink(), r"stage_2_train.csv: missing table"),
    "no column": (table("EncodedPixels", "Pixels"), r"stage_2_train.csv:1: no column 'EncodedPixels'; allowed: ImageId, Pixels"),
    "odd": (table(f"{PREFIX}2.1,-1", f"{PREFIX}2.1,5 2 3"), r":4: mask '5 2 3' \(not pairs of whole numbers\); allowed: -1, or"),
    "empty": (table(f"{PREFIX}2.1,-1", f"{PREFIX}2.1,"), r":4: mask '' \(not pairs of whole numbers\)"),
    "outside": (table("10245 30", "1048570 30"), r":3: mask '1048570 30' \(pixel 1048600 of 1048576\)"),
    "both": (table(RUNS[1], "-1"), r":3: '1\.2\.276.*1\.1' has a mask, too; allowed: -1 alone"),
    "no image": (without_images, r"3 of 3 images are not there"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, stage_2: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(stage_2)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(stage_2, Params(), {})


def test_names_of_the_copy_must_fit_its_tables(png: Path) -> None:
    path = png / COPY["train"]
    path.write_text(path.read_text().replace(",1\n", ",0\n", 1).replace("1_train_0_", "1_test_0_"))
    with pytest.raises(DataError) as refused:
        index(png, Params(release="png"), {})
    assert "stage_1_train_images.csv:2: '0_train_1_' with has_pneumo '0'; allowed: 1, as named" in str(refused.value)
    assert "stage_1_train_images.csv:3: file '1_test_0_'; allowed: N_train_0_.png" in str(refused.value)
