"""The reader turns three radiologists' boxes into labels and boxes, from DICOM or converted images."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from refers_bench.data.decode import decode
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.datasets.vinbigdata_cxr import (
    CLASS_IDS,
    CLASSES,
    SIZES,
    TABLE,
    Params,
    boxes,
    image_labels,
    index,
    read_readers,
)  # fmt: skip
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=40, views=1, seed=5)


def test_phantoms_have_the_real_layout(original: Path) -> None:
    frame = pd.read_csv(original / TABLE)
    assert list(frame.columns) == ["image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max"]
    assert (frame.groupby("image_id")["rad_id"].nunique() == 3).all()
    files = sorted((original / "train").iterdir())
    assert len(files) == 60 and all(len(path.stem) == 32 and path.suffix == ".dicom" for path in files)
    kinds = {pydicom.dcmread(path).PhotometricInterpretation for path in files}
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}


def test_inverted_files_look_like_the_others(original: Path) -> None:
    frame = index(original, Params(), {})
    means = [decode(original / path).mean() for path in frame["path"]]
    assert max(means) - min(means) < 100, "an image that was not inverted stands out"
    wrong = [decode(original / path, dicom="official_code").mean() for path in frame["path"]]
    assert np.std(wrong) > 1.3 * np.std(means)


def test_class_ids_are_those_of_the_competition() -> None:
    assert CLASS_IDS["Aortic enlargement"] == 0 and CLASS_IDS["Nodule/Mass"] == 8
    assert CLASS_IDS["Other lesion"] == 9 and CLASS_IDS["Pulmonary fibrosis"] == 13 and CLASS_IDS["No finding"] == 14


def test_labels_against_a_count_by_hand(original: Path) -> None:
    votes: dict[tuple[str, str], set[str]] = {}
    images = set()
    for line in (original / TABLE).read_text().splitlines()[1:]:
        image, name, _, reader, *_ = line.split(",")
        images.add(image)
        votes.setdefault((image, name), set()).add(reader)
    frame = read_readers(original / TABLE)
    for readers in (1, 2, 3):
        labels = image_labels(frame, readers=readers)
        assert set(labels.index) == images
        for image in images:
            for name in CLASSES:
                assert labels.loc[image, name] == int(len(votes.get((image, name), ())) >= readers)


def test_majority_is_stricter(original: Path) -> None:
    columns = [f"findings:{name}" for name in CLASSES]
    any_of, majority = (index(original, Params(labels=rule), {})[columns].sum().sum() for rule in ("any", "majority"))  # type: ignore[arg-type]
    assert 0 < majority < any_of


def test_converted_images_and_a_gzipped_table(copy: Path) -> None:
    before = index(copy, Params(), {})
    for path in sorted((copy / "train").iterdir()):
        image = Image.fromarray(decode(path))
        image.resize((10, 10)).save(copy / f"{path.stem}.png")
    dicom_boxes = boxes(copy, Params())
    shutil.rmtree(copy / "train")
    (copy / f"{TABLE}.gz").write_bytes(gzip.compress((copy / TABLE).read_bytes()))
    (copy / TABLE).unlink()
    png = index(copy, Params(images="png"), {})
    assert png.drop(columns=["path", "bytes"]).equals(before.drop(columns=["path", "bytes"]))
    scaled = boxes(copy, Params(images="png", png_scale=0.25))
    pd.testing.assert_frame_equal(scaled, dicom_boxes)
    sizes = pd.DataFrame({"image_id": before["image_id"], "dim0": 40, "dim1": 40})
    sizes.to_csv(copy / SIZES, index=False)
    pd.testing.assert_frame_equal(boxes(copy, Params(images="png")), dicom_boxes)


def test_boxes_frame_what_was_drawn(original: Path) -> None:
    """All four sides of every reader's box, whatever its shape, up to the readers' noise and whole pixels."""
    frame = boxes(original, Params())
    assert frame["reader"].str.fullmatch(r"R\d+").all()
    drawn: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for study in studies(PHANTOM):
        image = hashlib.sha256(f"vinbigdata phantom {PHANTOM.seed} {study.number}".encode()).hexdigest()[:32]
        for lesion in study.lesions:
            finding = {"Effusion": "Pleural effusion", "Nodule": "Nodule/Mass", "Interstitial": "ILD"}
            where = (image, finding.get(lesion.finding, lesion.finding))
            drawn.setdefault(where, []).append(study.views[0].box(lesion))
    assert set(zip(frame["image_id"], frame["class"], strict=True)) <= set(drawn)
    distances = [
        min(max(map(abs, np.subtract(edges(row[3:]), edges(box)))) for box in drawn[row[0], row[1]])
        for row in frame.itertuples(index=False)
    ]
    # Noise of 1 % of a side, and pixels that are 2.5 % of it.
    assert len(distances) > 60 and max(distances) < 0.07 and np.median(distances) < 0.03


def edges(box: Sequence[float]) -> tuple[float, ...]:
    left, top, width, height = box
    return left, top, left + width, top + height


def _dicom(path: Path, *, wide: int, high: int) -> None:
    image = np.zeros((high, wide), np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.1.1"), UID("2.25.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns, header.PixelData = high, wide, image.tobytes()
    header.PhotometricInterpretation, header.SamplesPerPixel, header.PixelRepresentation = "MONOCHROME2", 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.save_as(path, enforce_file_format=True)


def test_boxes_are_shares_of_width_and_height_that_differ(tmp_path: Path) -> None:
    """A radiograph of 200 x 400 pixels, by its DICOM file, a smaller PNG file, and the table of sizes."""
    lines = (
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
        "b,Nodule/Mass,8,R9,20,200,60,220",
        "b,No finding,14,R8,,,,",
        "b,ILD,5,R10,50,40,200,400",
        "a,No finding,14,R8,,,,",
        "a,No finding,14,R9,,,,",
        "a,No finding,14,R10,,,,",
    )
    (tmp_path / TABLE).write_text("\n".join(lines) + "\n")
    expected = pd.DataFrame(
        {
            "image_id": ["b", "b"],
            "class": ["ILD", "Nodule/Mass"],
            "reader": ["R10", "R9"],
            "left": [0.25, 0.1],
            "top": [0.1, 0.5],
            "width": [0.75, 0.2],
            "height": [0.9, 0.05],
        }
    )
    (tmp_path / "train").mkdir()
    _dicom(tmp_path / "train" / "b.dicom", wide=200, high=400)
    pd.testing.assert_frame_equal(boxes(tmp_path, Params()), expected, check_dtype=False)
    (tmp_path / "train" / "b.dicom").unlink()
    Image.new("L", (50, 100)).save(tmp_path / "train" / "b.png")
    pd.testing.assert_frame_equal(boxes(tmp_path, Params(images="png", png_scale=0.25)), expected, check_dtype=False)
    # dim0 is the number of rows, as in the table of Kaggle's converted images.
    (tmp_path / SIZES).write_text("image_id,dim0,dim1\nb,400,200\na,10,10\n")
    pd.testing.assert_frame_equal(boxes(tmp_path, Params(images="png")), expected, check_dtype=False)
    (tmp_path / SIZES).unlink()
    (tmp_path / "train" / "b.png").unlink()
    assert boxes(tmp_path, Params()).empty, "boxes of an image that is not there have no scale"


def lists_of(copy: Path) -> dict[str, Path]:
    folder = copy.parent / "lists"
    folder.mkdir(exist_ok=True)
    names = sorted(path.stem for path in (copy / "train").iterdir())
    for split, part in (("train", names[:30]), ("val", names[30:40]), ("test", names[40:55])):
        (folder / f"{split}.txt").write_text("".join(f"{name}.png {'0.0 ' * 14}\n" for name in part))
    return {"lists": folder}


def test_released_lists_split_but_do_not_label(copy: Path) -> None:
    lists = lists_of(copy)
    frame = index(copy, Params(lists="lists"), lists)
    assert frame["split"].value_counts().to_dict() == {"train": 30, "val": 10, "test": 15, "": 5}
    assert frame[[f"findings:{name}" for name in CLASSES]].equals(
        index(copy, Params(), {})[[f"findings:{name}" for name in CLASSES]]
    )
    (lists["lists"] / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test.txt: missing list"):
        index(copy, Params(lists="lists"), lists)


def table(old: str, new: str) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        text = (root / TABLE).read_text()
        assert old in text
        (root / TABLE).write_text(text.replace(old, new, 1))

    return breaker


def append(line: str) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        image = sorted((root / "train").iterdir())[0].stem
        (root / TABLE).write_text((root / TABLE).read_text() + line.format(image=image))

    return breaker


def drop_image(root: Path) -> None:
    sorted((root / "train").iterdir())[3].unlink()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda root: (root / TABLE).unlink(), r"train.csv: missing table"),
    "no column": (table("rad_id", "reader"), r"train.csv:1: no column 'rad_id'"),
    "class": (
        table(",Consolidation,", ",Consolidaton,"),
        r"train.csv:\d+: unknown class 'Consolidaton'.*'Consolidation'\?",
    ),
    "id": (table(",ILD,5,", ",ILD,6,"), r"train.csv:\d+: class 'ILD' with id 6; allowed: id 5"),
    "readers": (append("{image},ILD,5,R99,1,1,5,5\n"), r"was read by 4 radiologists; allowed: 3 an image"),
    "missing image": (drop_image, r"1 of 60 images are not there \(missing=skip.*\n.*\.dicom' is not below "),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, copy: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(copy)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(copy, Params(), {})


def test_nothing_and_something_is_refused(copy: Path) -> None:
    lines = (copy / TABLE).read_text().splitlines()
    ill = next(line.split(",") for line in lines[1:] if not line.split(",")[1].startswith("No"))
    (copy / TABLE).write_text("\n".join([*lines, f"{ill[0]},No finding,14,{ill[3]},,,,"]) + "\n")
    with pytest.raises(DataError, match=f"{ill[3]} found nothing and something in '{ill[0]}'"):
        index(copy, Params(), {})


def test_missing_images_may_be_left_out(copy: Path) -> None:
    drop_image(copy)
    assert len(index(copy, Params(missing="skip"), {})) == 59


def test_simulated_readers_come_in_order(original: Path) -> None:
    """Three of seventeen for each image; their rows stand one reader after the other."""
    table = pd.read_csv(original / TABLE)
    readers = table.groupby("image_id", sort=False)["rad_id"].apply(lambda names: [int(name[1:]) for name in names])
    assert all(numbers == sorted(numbers) and numbers[0] >= 1 and numbers[-1] <= 17 for numbers in readers)
    assert {len(set(numbers)) for numbers in readers} == {3} and len(set(table["rad_id"])) > 10
