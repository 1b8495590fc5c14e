"""RSNA Pneumonia Detection Challenge (2018) as in the Kaggle competition: boxes, three classes, DICOM files."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_boxes, finished_index, patient_split, read_table
from refers_bench.data.metadata import header_metadata
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import radiographs
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.split_packs import listed_rows, read_pack, with_nih_patients
from refers_bench.errors import Problem, unknown
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

LABELS, DETAILS = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
OPACITY = "Lung Opacity"
#: Of the three-class table, in the order in which others number them.
CLASSES = ("Normal", "No Lung Opacity / Not Normal", OPACITY)
#: Folder of the competition's test images, of which published lists alone (rsna-mrm) have labels.
TESTED = "stage_2_test_images/"
#: Side of the images that the boxes are drawn on, in pixels.
SIDE = 1024
_BOX = ("x", "y", "width", "height")
NOTE = "each image counts as a patient of its own, though persons have several: a split by image leaks"


class Params(BaseModel, extra="forbid", frozen=True):
    """Whose radiographs they are, and how they are split."""

    nih_map: str = Field(
        default="",
        description="data root with rsna_to_nih.csv (split pack rsna-nih-map): patients are those of NIH ChestX-ray14; "
        "'': each image is its own patient, and the split is by image",
    )
    split_seed: int = Field(default=0, ge=0, description="of the 70/10/20 split of the patients")
    headers: Literal["read", "skip"] = Field(
        default="read", description="view, age and sex from the header of each file; skip leaves them unknown"
    )
    missing: Literal["skip", "refuse"] = Field(
        default="refuse", description="images of the tables, or of the lists, that are not there"
    )
    # It came later: without lists it is in no key.
    lists: packs.Named = Field(
        default="",
        description="{pack: NAME} of published lists, in place of the seeded split; of the test images of rsna-mrm the "
        "lists alone have labels, and of the task pneumonia alone",
        exclude_if=lambda value: value == "",
    )

    @model_validator(mode="after")
    def _lists_fit(self) -> Params:
        packs.fitting(self.lists, "rsna")
        return self


def read_labels(root: Path) -> pd.DataFrame:
    """Rows of the label table: patientId, x, y, width, height and Target as text; a row for each box.

    Raises:
        DataError: missing or malformed, a target that is not 0 or 1, a box without target 1 or the other way round, or
            an image with both targets.
    """
    path = table_path(root, LABELS)
    frame = read_table(path, required=("patientId", *_BOX, "Target"))
    target, filled = frame["Target"], frame[list(_BOX)] != ""
    bad = ~target.isin(["0", "1"])
    problems = list(wrong_cells(target, bad, found="Target is '{}'", allowed="0 or 1", path=path))
    ids = frame["patientId"]
    half = ~bad & ((target == "1") != filled.all(axis=1)) | filled.any(axis=1) & ~filled.all(axis=1)
    allowed = "x, y, width and height where Target is 1, and none where it is 0"
    problems += wrong_cells(ids, half, found="the box of '{}'", allowed=allowed, path=path)
    both = ids.isin(ids[target == "1"]) & (target == "0")
    problems += wrong_cells(ids, both, found="'{}' has Target 0 and 1", allowed="one of them", path=path)
    refuse(problems)
    return frame


def read_classes(root: Path) -> pd.Series:
    """One of `CLASSES` for each image, indexed by its id; the table repeats a row for each box.

    Raises:
        DataError: missing or malformed, an unknown class, or an image of two classes.
    """
    path = table_path(root, DETAILS)
    frame = read_table(path, required=("patientId", "class"))
    problems = []
    for row in frame.index[~frame["class"].isin(CLASSES)][:20]:
        problems.append(unknown("class", str(frame.at[row, "class"]), CLASSES, path=path, line=int(row) + 2))
    refuse(problems)
    once = frame.drop_duplicates(["patientId", "class"])
    twice = frame["patientId"].isin(once.loc[once["patientId"].duplicated(), "patientId"])
    ids = frame["patientId"]
    refuse(list(wrong_cells(ids, twice, found="'{}' has two classes", allowed="one class an image", path=path)))
    return once.set_index("patientId")["class"]


def _disagreements(positive: pd.Series, classes: pd.Series, root: Path) -> Iterator[Problem]:
    """Images that one table names alone, or on which the two disagree."""
    for name, here, there in ((LABELS, positive, classes), (DETAILS, classes, positive)):
        for image in here.index.difference(there.index)[:5]:
            other = DETAILS if name == LABELS else LABELS
            yield Problem(found=f"'{image}' is not in {other}", allowed="each image in both", path=root / name)
    both = positive.index.intersection(classes.index)
    wrong = both[(positive[both] != (classes[both] == OPACITY)).to_numpy()]
    for image in wrong[:5]:
        found = f"'{image}' is '{classes[image]}' with Target {int(positive[image])}"
        yield Problem(found=found, allowed=f"Target 1 for '{OPACITY}' alone", path=root / DETAILS)


def labelled(root: Path) -> pd.DataFrame:
    """The label columns of the images of the label table, the competition's training images, indexed by their ids.

    Raises:
        DataError: see `read_labels` and `read_classes`; tables that disagree.
    """
    positive = read_labels(root).groupby("patientId")["Target"].first() == "1"
    classes = read_classes(root)
    refuse(list(_disagreements(positive, classes, root)))
    labels = {f"three_classes:{name}": (classes == name).astype("Int8") for name in CLASSES}
    return pd.DataFrame({f"pneumonia:{OPACITY}": positive.astype("Int8"), **labels})


def tested(listed: pd.DataFrame) -> pd.DataFrame:
    """The same of the competition's test images in published lists; their three classes are unknown."""
    rows = listed[listed["name"].str.startswith(TESTED)]
    frame = pd.DataFrame(index=rows.index, columns=[f"three_classes:{name}" for name in CLASSES])
    return frame.assign(**{f"pneumonia:{OPACITY}": [int(words[0]) for words in rows["labels"]]}).astype("Int8")


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the label table, and per image of the competition's test that published lists label.

    Raises:
        DataError: see `labelled`, `refers_bench.data.split_packs` and `refers_bench.data.index.finished_index`; with
            ``missing: refuse``, an image that is not there.
    """
    table, pack = table_path(root, LABELS), params.lists
    frame = labelled(root)
    listed = read_pack(pack, lists) if isinstance(pack, packs.Pack) else None
    if listed is not None:
        frame = pd.concat([frame, tested(listed)])
    names = pd.Series(frame.index, index=frame.index)
    # The 98 images without a match keep their own names, which no NIH patient has.
    patients = with_nih_patients(names, names, lists[params.nih_map]) if params.nih_map else names
    frame = frame.assign(image_id=names, patient_id=patients, study_id=names, view="", report=None)
    frame = frame.assign(table=str(table)).reset_index(drop=True)
    if isinstance(pack, packs.Pack) and listed is not None:
        frame = listed_rows(frame, pack, listed, root=lists[packs.ROOT], missing=params.missing)
    else:
        split = patient_split(frame["patient_id"], dataset="rsna_pneumonia", seed=params.split_seed)
        frame = frame.assign(split=split)
    frame = with_images(frame, files_by_name(root, (".dcm",)), root=root, ending=".dcm", missing=params.missing)
    if params.headers == "read":
        facts = header_metadata(frame["path"].tolist(), root).set_index(frame.index)
        frame = frame.drop(columns="view").join(facts)
    return finished_index(frame, root=root, table=table, spread=packs.accepted(pack))


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """Boxes of the images that are there; the reader is not known.

    Raises:
        DataError: see `read_labels`; a box outside its image.
    """
    frame = read_labels(root)
    frame = frame[(frame["Target"] == "1") & frame["patientId"].isin(files_by_name(root, (".dcm",)))]
    values = (pd.to_numeric(frame[side], errors="coerce") / SIDE for side in _BOX)
    sides = dict(zip(("left", "top", "width", "height"), values, strict=True))
    found = pd.DataFrame({"image_id": frame["patientId"], "class": OPACITY, "reader": "", **sides})
    return finished_boxes(found, path=table_path(root, LABELS))


#: Class of a phantom -> its procedural findings, and its share.
_PHANTOM = {
    "Normal": (frozenset[str](), 0.3),
    "No Lung Opacity / Not Normal": (frozenset({"Cardiomegaly", "Nodule"}), 0.4),
    OPACITY: (frozenset({"Consolidation"}), 0.3),
}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies in Kaggle's layout: frontal views, JPEG pictures within DICOM files."""
    (folder := root / "stage_2_train_images").mkdir()
    boxed, detailed = list[list[Any]](), list[list[Any]]()
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("rsna phantom", params.seed, number))
        kind = str(rng.choice(CLASSES, p=[share for _, share in _PHANTOM.values()]))
        study = radiographs.study(params, number, findings=_PHANTOM[kind][0])
        person = {"PatientAge": f"{rng.integers(2, 90):03d}Y", "PatientSex": "FM"[int(rng.integers(2))]}
        for place, view in enumerate(view for view in study.views if view.view != "L"):
            image = uuid.UUID(int=identity.seed("rsna id", params.seed, number, place) << 64, version=4)
            facts = {"PatientID": str(image), "Modality": "CR", "ViewPosition": view.view, **person}
            path = folder / f"{image}.dcm"
            save_dicom(path, view.pixels_HW, uid=f"2.25.{image.int}", stored="jpeg_8_bit", facts=facts)
            drawn = [view.box(lesion) for lesion in study.lesions] if kind == OPACITY else []
            rows = [[f"{side * SIDE:.1f}" for side in box] for box in drawn]
            boxed += [[image, *row, 1] for row in rows] or [[image, "", "", "", "", 0]]
            detailed += [[image, kind]] * max(1, len(rows))
    pd.DataFrame(boxed, columns=["patientId", *_BOX, "Target"]).to_csv(root / LABELS, index=False)
    pd.DataFrame(detailed, columns=["patientId", "class"]).to_csv(root / DETAILS, index=False)


def _expected(params: Params) -> Mapping[str, int]:
    """Counts of the competition's training images, and of the lists; rsna-mrm tests with the competition's test."""
    listed = packs.expected(params.lists)
    of_test = isinstance(params.lists, packs.Pack) and params.lists.pack == "rsna-mrm"
    return {"images": 26_684 + (listed["listed test images"] if of_test else 0), **listed}


DATASET = Dataset(
    label="RSNA pneumonia challenge",
    source="kaggle.com: rsna-pneumonia-detection-challenge, stage_2_train_images/ and the two stage_2 tables",
    licence="academic, commercial and non-commercial use with attribution, by rsna.org; Kaggle's copy: its rules",
    impl=1,
    Params=Params,
    tasks={
        "pneumonia": Task(label="RSNA pneumonia (opacity vs none)", classes=(OPACITY,)),
        "three_classes": Task(label="RSNA pneumonia (three classes)", classes=CLASSES),
    },
    formats=lambda params: ("DICOM",),
    index=index,
    lists=lambda params: (params.nih_map, params.lists),
    boxes=boxes,
    source_task="three_classes",
    expected=_expected,
    citation=(
        "Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of "
        "Possible Pneumonia, Radiology: Artificial Intelligence 2019, doi 10.1148/ryai.2019180041"
    ),
    quirks=(
        "patientId names an image, not a person: without nih_map a split by it puts one person's images on both sides",
        "all images are NIH ChestX-ray14's (26,586 of 26,684 matched): pre-training on NIH has seen the test images",
        "30,227 rows, one for each box, of 26,684 images; 6,012 of these are positive: rows are no samples",
        "8,851 images are normal, 11,821 abnormal without an opacity, 6,012 have one: no opacity does not mean healthy",
        "an opacity is suspicious for pneumonia, not a diagnosis",
        "two tasks are in use, opacity against none and three classes: their figures are never compared",
        "ids are not random in the label: of the images in sorted order, 15 to 36 % are positive in parts of the list",
        "the competition's 3,000 test images have no labels in its files and are read with those of rsna-mrm alone",
        "14,511 images are PA and 12,173 AP; five ages are above 120",
    ),
    notes=lambda params: (*(() if params.nih_map else (NOTE,)), *packs.notes(params.lists)),
    write_layout=write_layout,
)
