"""The reader understands PhysioNet's layout; agreement of readers and sets of classes are choices."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from refers_bench.data.decode import decode
from refers_bench.data.index import rows_of_task
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.datasets import vinbigdata_cxr
from refers_bench.datasets.vindr_cxr import (
    CLASSES,
    DATASET,
    GLOBAL,
    LOCAL,
    TASKS,
    TEST,
    TEST_BOXES,
    TRAIN,
    TRAIN_BOXES,
    Params,
    boxes,
    consensus_labels,
    index,
    training_labels,
)
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=32, views=1, seed=4)
#: As the owners write them.
COLUMNS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,Other diseases,No finding"
)
IMAGES = {"train": ("0" * 31 + "a", "0" * 31 + "b"), "test": ("f" * 32,)}


def row(*findings: str) -> str:
    return ",".join(str(int(name in findings)) for name in COLUMNS.split(","))


#: Image and reader -> what they found.
READINGS = {
    (IMAGES["train"][1], "R10"): ("Pneumothorax", "Lung tumor"),
    (IMAGES["train"][0], "R8"): ("No finding",),
    (IMAGES["train"][1], "R8"): ("Pneumothorax", "COPD"),
    (IMAGES["train"][0], "R9"): ("No finding",),
    (IMAGES["train"][0], "R10"): ("Rib fracture", "Pneumonia"),
    (IMAGES["train"][1], "R9"): ("Edema",),
}


#: Rows of the tables of boxes, in pixels of images 40 wide and 32 high; rows without numbers have no box.
FRAMED = (
    f"{IMAGES['train'][1]},R10,Pneumothorax,10,8,20,24",
    f"{IMAGES['train'][1]},R8,Pneumothorax,10.5,8,20,32",
    f"{IMAGES['train'][0]},R8,No finding,,,,",
    f"{IMAGES['train'][0]},R10,Rib fracture,0,0,4,3.2",
    f"{IMAGES['train'][0]},R10,Pneumonia,,,,",
)
AGREED = (f"{IMAGES['test'][0]},Pleural effusion,20,16,40,32", f"{IMAGES['test'][0]},Other disease,,,,")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images of three readings each, in any order, and a test image."""
    pixels = np.tile(np.arange(40, dtype=np.uint8) * 6, (32, 1))
    for folder, names in IMAGES.items():
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            path = tmp_path / folder / f"{name}.dicom"
            save_dicom(path, pixels, uid=f"2.25.{number + 1}", stored="raw_12_bit", inverted=folder == "test")
    (tmp_path / "annotations").mkdir()
    lines = [f"{image},{reader},{row(*found)}" for (image, reader), found in READINGS.items()]
    (tmp_path / TRAIN).write_text("\n".join([f"image_id,rad_id,{COLUMNS}", *lines]) + "\n")
    test = f"{IMAGES['test'][0]},{row('Pleural effusion', 'Pneumonia')}"
    (tmp_path / TEST).write_text(f"image_id,{COLUMNS.replace('Other diseases', 'Other disease')}\n{test}\n")
    # Boxes are no labels: those of a label that nobody gave change none.
    for name, lines in ((TRAIN_BOXES, FRAMED), (TEST_BOXES, AGREED)):
        who = "image_id,rad_id" if name == TRAIN_BOXES else "image_id"
        (tmp_path / name).write_text("\n".join([f"{who},class_name,x_min,y_min,x_max,y_max", *lines]) + "\n")
    return tmp_path


def positives(values: pd.Series) -> set[str]:
    return {str(name).rpartition(":")[2] for name, value in values.items() if value == 1}


def test_the_layout_of_physionet(root: Path) -> None:
    frame = index(root, Params(val_share=0.5), {}).set_index("image_id")
    assert sorted(frame["split"]) == ["test", "train", "val"]
    assert frame.loc["f" * 32, "split"] == "test" and frame.loc["f" * 32, "path"] == f"test/{'f' * 32}.dicom"
    everything = frame[[f"all28:{name}" for name in CLASSES]]
    assert positives(everything.loc["f" * 32]) == {"Pleural effusion", "Pneumonia"}
    assert positives(everything.loc[IMAGES["train"][0]]) == {"No finding", "Rib fracture", "Pneumonia"}
    assert positives(everything.loc[IMAGES["train"][1]]) == {"Pneumothorax", "Lung tumor", "COPD", "Edema"}
    bright = {name: decode(root / frame.loc[name, "path"])[0, -1] for name in frame.index}
    assert set(bright.values()) == {255}, "MONOCHROME1 is inverted"


def test_the_test_table_spells_one_class_otherwise(root: Path) -> None:
    """'Other disease', as the owners write it there; 'Other diseases' is read, too."""
    head = (root / TEST).read_text().splitlines()[0]
    assert "Other disease," in head and "Other diseases" not in head
    for spelt in (head, head.replace("Other disease", "Other diseases")):
        (root / TEST).write_text(f"{spelt}\n{IMAGES['test'][0]},{row('Other diseases')}\n")
        assert positives(consensus_labels(root / TEST).loc["f" * 32]) == {"Other diseases"}


def test_a_majority_is_two_of_three(root: Path) -> None:
    frame = index(root, Params(labels="majority"), {}).set_index("image_id")
    everything = frame[[f"all28:{name}" for name in CLASSES]]
    assert positives(everything.loc[IMAGES["train"][0]]) == {"No finding"}
    assert positives(everything.loc[IMAGES["train"][1]]) == {"Pneumothorax"}
    assert positives(everything.loc["f" * 32]) == {"Pleural effusion", "Pneumonia"}, "the consensus stays"


def test_sets_of_classes_are_tasks_of_their_own() -> None:
    assert ",".join(CLASSES) == COLUMNS and (len(LOCAL), len(GLOBAL)) == (22, 6)
    sizes = {name: len(classes) for name, classes in TASKS.items()}
    assert sizes == {"local14": 14, "global6": 6, "ark6": 6, "all28": 28}
    # Kaggle's 14 in the order of PhysioNet's columns.
    assert set(TASKS["local14"]) == set(vinbigdata_cxr.CLASSES)
    assert set(TASKS["ark6"]) ^ set(TASKS["global6"]) == {"Pleural effusion", "COPD"}
    assert not any(task.published or task.group_by_patient for task in DATASET.tasks.values())


def test_labels_against_a_count_by_hand(original: Path) -> None:
    votes: dict[tuple[str, str], int] = {}
    header, *lines = (original / TRAIN).read_text().splitlines()
    for line in lines:
        image, _, *cells = line.split(",")
        for name, cell in zip(header.split(",")[2:], cells, strict=True):
            votes[image, name] = votes.get((image, name), 0) + int(cell)
    for readers in (1, 2, 3):
        found = training_labels(original / TRAIN, readers=readers)
        for image, name in itertools.product(found.index, CLASSES):
            assert found.at[image, name] == int(votes[image, name] >= readers)
    assert set(consensus_labels(original / TEST).index) == {path.stem for path in (original / "test").iterdir()}


def test_all_tasks_have_all_images(original: Path) -> None:
    frame = index(original, Params(), {})
    assert all(len(rows_of_task(frame, task)) == len(frame) == 60 for task in TASKS)
    assert (frame["patient_id"] == frame["image_id"]).all()


def test_validation_is_part_of_the_official_training_images(original: Path) -> None:
    frame = index(original, Params(), {})
    train = {path.stem for path in (original / "train").iterdir()}
    assert set(frame.loc[frame["split"] == "test", "image_id"]).isdisjoint(train)
    assert (frame["split"] == "val").sum() == round(0.2 * len(train))
    other = index(original, Params(split_seed=1), {})
    assert set(other.loc[other["split"] == "val", "image_id"]) != set(frame.loc[frame["split"] == "val", "image_id"])


def edit(name: str, change: Callable[[list[str]], Iterable[str]]) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("\n".join(change(lines)) + "\n")

    return breaker


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no test table": (lambda root: (root / TEST).unlink(), r"image_labels_test\.csv: missing table"),
    "no reader": (edit(TRAIN, lambda all_: [all_[0].replace("rad_id", "reader"), *all_[1:]]), r":1: no column 'rad_id'"),
    "no class": (edit(TEST, lambda all_: [all_[0].replace("COPD", "CPOD"), *all_[1:]]), r":1: no column 'COPD'.*'CPOD'"),
    "no other diseases": (
        edit(TEST, lambda all_: [all_[0].replace("Other disease", "Others"), *all_[1:]]),
        r"_test\.csv:1: no column 'Other diseases'; allowed: 'Other diseases' or 'Other disease'",
    ),
    "a cell": (
        edit(TRAIN, lambda all_: [*all_[:2], all_[2][:-1] + "2", *all_[3:]]),
        r"image_labels_train\.csv:3: No finding is '2'; allowed: 0 or 1",
    ),
    "an empty cell": (edit(TEST, lambda all_: [all_[0], all_[1][:-1]]), r"_test\.csv:2: No finding is ''; allowed: 0 or 1"),
    "two readers": (edit(TRAIN, lambda all_: all_[:-1]), r"was read by 2 radiologists; allowed: 3 an image"),
    "a reader twice": (
        edit(TRAIN, lambda all_: [*all_, all_[-1]]),
        r"image_labels_train\.csv:8: R9 read image '0+b' twice; allowed: one row for each radiologist",
    ),
    "a test image in training": (
        lambda root: (root / TEST).write_text((root / TEST).read_text().replace("f" * 32, IMAGES["train"][0])),
        r"image '0+a' is listed twice; allowed: each image once",
    ),
    "no image": (
        lambda root: (root / "test" / f"{'f' * 32}.dicom").unlink(),
        r"1 of 3 images are not there \(missing=skip.*\n.*'f+\.dicom' is not below",
    ),
    "an image in both folders": (
        lambda root: (root / "train" / f"{'f' * 32}.dicom").write_bytes(b"x"),
        r"'f+' is at .*, too; allowed: one file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, root: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(root)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(root, Params(), {})


def test_missing_images_may_be_left_out(root: Path) -> None:
    (root / "test" / f"{'f' * 32}.dicom").unlink()
    assert len(index(root, Params(missing="skip"), {})) == 2


def test_boxes_are_those_of_the_tables_as_shares(root: Path) -> None:
    """Each side by hand: 40 pixels wide, 32 high."""
    expected = pd.DataFrame(
        [
            (IMAGES["train"][0], "Rib fracture", "R10", 0.0, 0.0, 0.1, 0.1),
            (IMAGES["train"][1], "Pneumothorax", "R10", 0.25, 0.25, 0.25, 0.5),
            (IMAGES["train"][1], "Pneumothorax", "R8", 0.2625, 0.25, 0.2375, 0.75),
            (IMAGES["test"][0], "Pleural effusion", "", 0.5, 0.5, 0.5, 0.5),
        ],
        columns=["image_id", "class", "reader", "left", "top", "width", "height"],
    )
    found = boxes(root, Params())
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    (root / "train" / f"{IMAGES['train'][0]}.dicom").unlink()
    pd.testing.assert_frame_equal(boxes(root, Params()), expected[1:].reset_index(drop=True), check_dtype=False)


def test_boxes_of_phantoms_frame_what_was_drawn(original: Path) -> None:
    frame = boxes(original, Params())
    names = {hashlib.sha256(f"vindr phantom {PHANTOM.seed} {n}".encode()).hexdigest()[:32]: n for n in range(60)}
    drawn = {study.number: [study.views[0].box(one) for one in study.lesions] for study in studies(PHANTOM)}
    for row in frame.itertuples():
        found = (row.left, row.top, row.width, row.height)
        nearest = min(max(map(abs, np.subtract(found, box))) for box in drawn[names[row.image_id]])
        assert nearest < 0.01, row
    index_ = index(original, Params(), {}).set_index("image_id")
    for image, class_ in frame[["image_id", "class"]].drop_duplicates().itertuples(index=False):
        assert index_.at[image, f"all28:{class_}"] == 1, "a box of what no label says"
    tested = index_.index[index_["split"] == "test"]
    assert set(frame.loc[frame["reader"] == "", "image_id"]) <= set(tested) and (frame["reader"] == "").any()


BROKEN_BOXES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda root: (root / TEST_BOXES).unlink(), r"annotations_test\.csv: missing table"),
    "no reader": (
        edit(TRAIN_BOXES, lambda all_: [all_[0].replace("rad_id", "reader"), *all_[1:]]),
        r"annotations_train\.csv:1: no column 'rad_id'",
    ),
    "no corner": (
        edit(TEST_BOXES, lambda all_: [all_[0].replace("x_max", "right"), *all_[1:]]),
        r"annotations_test\.csv:1: no column 'x_max'",
    ),
    "a class": (
        edit(TRAIN_BOXES, lambda all_: [all_[0], all_[1].replace("Pneumothorax", "Pneumo"), *all_[2:]]),
        r"annotations_train\.csv:2: class 'Pneumo'; allowed: one of the 28",
    ),
    "a word": (
        edit(TRAIN_BOXES, lambda all_: [*all_[:4], all_[4].replace("3.2", "low"), *all_[5:]]),
        r"annotations_train\.csv:5: box '0, 0, 4, low'; allowed: four numbers, or nothing",
    ),
    "half a box": (
        edit(TEST_BOXES, lambda all_: [all_[0], all_[1].replace(",40,32", ",,"), *all_[2:]]),
        r"annotations_test\.csv:2: box '20, 16, , '; allowed: four numbers, or nothing",
    ),
    "outside": (
        edit(TEST_BOXES, lambda all_: [all_[0], all_[1].replace(",40,32", ",44,32"), *all_[2:]]),
        r"annotations_test\.csv: box of 'f+' at 0\.5, 0\.5, 0\.6, 0\.5; allowed: left, top, width, height within",
    ),
    "turned": (
        edit(TEST_BOXES, lambda all_: [all_[0], all_[1].replace("20,16,40,32", "40,32,20,16"), *all_[2:]]),
        r"annotations_test\.csv: box of 'f+' at 1\.0, 1\.0, -0\.5, -0\.5; allowed: left",
    ),
    "infinite": (
        edit(TEST_BOXES, lambda all_: [all_[0], all_[1].replace(",40,32", ",inf,32"), *all_[2:]]),
        r"annotations_test\.csv: box of 'f+' at 0\.5, 0\.5, inf, 0\.5; allowed: left",
    ),
    "no DICOM file": (
        lambda root: (root / "test" / f"{'f' * 32}.dicom").write_bytes(b"x"),
        r"f+\.dicom: not a DICOM image; allowed: DICOM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN_BOXES)
def test_broken_boxes(what: str, root: Path) -> None:
    breaker, message = BROKEN_BOXES[what]
    breaker(root)
    with pytest.raises(DataError, match=f"(?s){message}"):
        boxes(root, Params())
