"""The reader understands the challenge's tables: a row for each box, two tasks, ids that name images."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from published_lists import republish_map
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.rsna_pneumonia import CLASSES, DATASET, DETAILS, LABELS, OPACITY, Params, boxes, index
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=30, size=40, views=2, seed=5)
POSITIVE, THREE = f"pneumonia:{OPACITY}", [f"three_classes:{name}" for name in CLASSES]
#: Two boxes, none, none: as the competition writes them.
ROWS = """patientId,x,y,width,height,Target
00436515-870c-4b36-a041-de91049b9ab4,264.0,152.0,213.0,379.0,1
00436515-870c-4b36-a041-de91049b9ab4,562.0,152.0,256.0,453.0,1
0004cfab-14fd-4e49-80ba-63a80b6bddd6,,,,,0
003d8fa0-6bf1-40ed-b54c-ac657f8495c5,,,,,0
"""
KINDS = f"""patientId,class
0004cfab-14fd-4e49-80ba-63a80b6bddd6,No Lung Opacity / Not Normal
00436515-870c-4b36-a041-de91049b9ab4,{OPACITY}
00436515-870c-4b36-a041-de91049b9ab4,{OPACITY}
003d8fa0-6bf1-40ed-b54c-ac657f8495c5,Normal
"""


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The official layout by hand, with an image of the competition's test."""
    root = tmp_path / "rsna"
    for folder, names in (("train", {line.split(",")[0] for line in KINDS.splitlines()[1:]}), ("test", {"0000a175"})):
        (root / f"stage_2_{folder}_images").mkdir(parents=True)
        for name in names:
            facts = {"PatientID": name, "ViewPosition": "PA", "PatientAge": "155Y", "PatientSex": "M"}
            path, ramp = root / f"stage_2_{folder}_images" / f"{name}.dcm", np.eye(16, dtype=np.uint8) * 200
            save_dicom(path, ramp, uid="2.25.1", stored="jpeg_8_bit", facts=facts)
    (root / LABELS).write_text(ROWS)
    (root / DETAILS).write_text(KINDS)
    (root / "stage_2_sample_submission.csv").write_text("patientId,PredictionString\n0000a175,0.5 0 0 100 100\n")
    return root


def test_the_official_layout(official: Path) -> None:
    frame = index(official, Params(), {}).set_index("image_id")
    assert len(frame) == 3, "rows are boxes, and test images have no label"
    assert frame[POSITIVE].to_dict() == {name: int(name.startswith("00436515")) for name in frame.index}
    kinds = frame[THREE].idxmax(axis=1).str.removeprefix("three_classes:")
    assert {name[:4]: kind for name, kind in kinds.items()} == {"0004": CLASSES[1], "0043": OPACITY, "003d": "Normal"}
    assert (frame[THREE].sum(axis=1) == 1).all()
    assert (frame["patient_id"] == frame.index).all() and set(frame["view"]) == {"PA"}
    assert set(frame["about:age"]) == {155} and set(frame["about:sex"]) == {"M"}
    found = boxes(official, Params())
    assert found["image_id"].str.startswith("00436515").all() and set(found["class"]) == {OPACITY}
    assert found["left"].tolist() == [264 / 1024, 562 / 1024] and found["height"].tolist() == [379 / 1024, 453 / 1024]


def test_headers_may_be_left_unread(official: Path) -> None:
    frame = index(official, Params(headers="skip"), {})
    assert set(frame["view"]) == {""} and not [name for name in frame if name.startswith("about:")]


def test_phantoms_have_the_real_layout(original: Path) -> None:
    files = sorted((original / "stage_2_train_images").iterdir())
    header = pydicom.dcmread(files[0])
    assert header.PatientID == files[0].stem and len(files[0].stem) == 36
    labels, kinds = pd.read_csv(original / LABELS), pd.read_csv(original / DETAILS)
    assert list(labels.columns) == ROWS.splitlines()[0].split(",") and len(labels) == len(kinds)
    assert labels["x"].isna().equals(labels["Target"] == 0)
    assert set(kinds["class"]) == set(CLASSES) and {path.stem for path in files} == set(labels["patientId"])


def test_patients_are_those_of_nih_where_the_map_is_given(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every three images, in the order of their ids, have one NIH patient; the last has no match."""
    images = sorted(path.stem for path in (original / "stage_2_train_images").iterdir())
    republish_map(monkeypatch, tmp_path, {name: place // 3 for place, name in enumerate(images[:-1])})
    frame = index(original, Params(nih_map="map"), {"map": tmp_path}).set_index("image_id")
    images = sorted(frame.index)
    assert frame.loc[images[:4], "patient_id"].tolist() == ["00000000"] * 3 + ["00000001"]
    assert frame.loc[images[-1], "patient_id"] == images[-1], "without a match an image is its own patient"
    assert frame.groupby("patient_id")["split"].nunique().max() == 1 and frame["patient_id"].nunique() < len(frame)
    assert {"train", "val", "test"} == set(frame["split"])
    alone = index(original, Params(), {}).set_index("image_id")["split"]
    person = frame["patient_id"]
    assert alone.groupby(person).nunique().max() > 1, "split by id, a person's images are on both sides"
    assert DATASET.notes(Params()) and not DATASET.notes(Params(nih_map="map"))


def test_the_published_map_shows_the_leak_of_a_split_by_image(real_data: Path) -> None:
    """2,715 of BenchX's 4,003 test images have a training patient: counted with the map that this reader uses."""
    from refers_bench.data.split_packs import rsna_to_nih
    from refers_bench.data.table_files import table_source

    packs = real_data / "split-packs"
    if not packs.is_dir():
        pytest.skip(f"no {packs}")
    ids = {
        part: pd.read_csv(table_source(packs / "rsna-benchx" / f"{part}.txt.gz"), header=None)[0]
        for part in ("train", "test")
    }
    patients = pd.Series(rsna_to_nih(packs)).str[:8]
    train = set(ids["train"].map(patients).dropna())
    assert (len(ids["test"]), int(ids["test"].map(patients).isin(train).sum())) == (4003, 2715)


def test_the_published_labels_hold_the_cards_counts(real_data: Path) -> None:
    """MRM's training and validation lists are all images that have a label; ids are not random in it."""
    lists = real_data / "split-packs" / "rsna-mrm"
    if not lists.is_dir():
        pytest.skip(f"no {lists}")
    labels = []
    for part in ("train", "val"):
        lines = gzip.decompress((lists / f"{part}_list.txt.gz").read_bytes()).decode().splitlines()
        labels.append([int(line.split()[1]) for line in lines])
    assert DATASET.expected_of(Params()) == {"images": sum(map(len, labels))}
    assert sum(map(sum, labels)) == 6_012
    assert [round(100 * sum(part) / len(part)) for part in labels] == [23, 15]


def table(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return change


def without_an_image(root: Path) -> None:
    next((root / "stage_2_train_images").iterdir()).unlink()


def twice(root: Path) -> None:
    image = next((root / "stage_2_train_images").iterdir())
    shutil.copy(image, root / image.name)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no labels": (lambda root: (root / LABELS).unlink(), f"{LABELS}: missing table"),
    "no classes": (lambda root: (root / DETAILS).unlink(), f"{DETAILS}: missing table"),
    "no column": (table(LABELS, "Target", "target"), f"{LABELS}:1: no column 'Target'.*did you mean 'target'"),
    "target": (table(LABELS, "379.0,1", "379.0,2"), f"{LABELS}:2: Target is '2'; allowed: 0 or 1"),
    "box without target": (table(LABELS, "379.0,1", "379.0,0"), f"{LABELS}:2: the box of '00436515.*allowed: x, y"),
    "target without box": (table(LABELS, ",,,,0", ",,,,1"), f"{LABELS}:4: the box of '0004cfab"),
    "half a box": (table(LABELS, "264.0", ""), f"{LABELS}:2: the box of '00436515"),
    "both targets": (table(LABELS, "562.0,152.0,256.0,453.0,1", ",,,,0"), f"{LABELS}:3: '00436515.*' has Target 0 and 1"),
    "class": (table(DETAILS, ",Normal", ",Norml"), f"{DETAILS}:5: unknown class 'Norml'.*did you mean 'Normal'"),
    "two classes": (table(DETAILS, f",{OPACITY}\n", ",Normal\n"), f"{DETAILS}:3: '00436515.*' has two classes"),
    "disagreement": (table(DETAILS, ",Normal", f",{OPACITY}"), f"{DETAILS}: '003d8fa0.*' is '{OPACITY}' with Target 0"),
    "one table alone": (table(DETAILS, "003d8fa0", "103d8fa0"), f"{LABELS}: '003d8fa0.*' is not in {DETAILS}"),
    "missing image": (without_an_image, r"1 of 3 images are not there \(missing=skip.*\n.*\.dcm' is not below "),
    "image twice": (twice, r"is at .*, too; allowed: one file"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, official: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(official)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(official, Params(), {})


def test_missing_images_may_be_left_out_and_a_box_outside_is_refused(official: Path) -> None:
    table(LABELS, "562.0", "962.0")(official)
    with pytest.raises(DataError, match=r"box of '00436515.*allowed: left, top, width, height within the image"):
        boxes(official, Params())
    without_an_image(official)
    assert len(index(official, Params(missing="skip"), {})) == 2
