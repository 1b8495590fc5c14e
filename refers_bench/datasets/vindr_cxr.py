"""VinDr-CXR as PhysioNet distributes it: 28 labels by three radiologists each, and a test set by consensus of five."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.corner_boxes import CORNERS, corner_boxes, dicom_sizes
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_part, read_table
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import radiographs
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.split_packs import listed_rows, read_pack, with_validation
from refers_bench.errors import DataError, Problem
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

#: Findings with a place, in the order of the tables' columns.
LOCAL = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
)
#: What is said of the whole image.
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
CLASSES = (*LOCAL, *GLOBAL)
#: Those of the 22 that the Kaggle competition does not have.
_NOT_KAGGLE = (
    *("Clavicle fracture", "Edema", "Emphysema", "Enlarged PA", "Lung cavity", "Lung cyst", "Mediastinal shift"),
    "Rib fracture",
)
#: Task -> its classes. Ark's six are no subset of the six global ones: its "PE" is the local pleural effusion, and COPD
#: is left out. Source: Ark's datasets_config.yaml.
TASKS = {
    "local14": tuple(name for name in LOCAL if name not in _NOT_KAGGLE),
    "global6": GLOBAL,
    "ark6": ("Pleural effusion", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding"),
    "all28": CLASSES,
}
#: One of the global labels, and how the table of the test set spells it.
OTHER, _SPELT = "Other diseases", "Other disease"
#: Tables of labels.
TRAIN, TEST = "annotations/image_labels_train.csv", "annotations/image_labels_test.csv"
#: Tables of boxes, of each radiologist and of the consensus.
TRAIN_BOXES, TEST_BOXES = "annotations/annotations_train.csv", "annotations/annotations_test.csv"
READERS = 3


class Params(BaseModel, extra="forbid", frozen=True):
    """Which agreement of readers makes a training label, and which training images validate."""

    labels: Literal["any", "majority"] = Field(
        default="any",
        description="training images: positive when any of their three radiologists found it, or two of them",
    )
    val_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of the official training images that validate, as BenchX's 3,000; with lists, of those of a "
        "pack without a validation list",
    )
    split_seed: int = Field(default=0, ge=0, description="of that share; by image, patients are not known")
    missing: Literal["skip", "refuse"] = Field(
        default="refuse", description="images of the tables without a file, and of the lists that are in no table"
    )
    # It came later: without lists it is in no key.
    lists: packs.Named = Field(
        default="",
        description="{pack: NAME} of published lists, in place of official test images and a seeded validation part",
        exclude_if=lambda value: value == "",
    )

    @model_validator(mode="after")
    def _lists_fit(self) -> Params:
        packs.fitting(self.lists, "vindr")
        return self


def _cells(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The 28 columns as int8.

    Raises:
        DataError: a cell that is neither 0 nor 1.
    """
    problems: list[Problem] = []
    columns = {}
    for name in CLASSES:
        found = frame[name].map({"0": 0, "1": 1})
        problems += wrong_cells(frame[name], found.isna(), found=f"{name} is '{{}}'", allowed="0 or 1", path=path)
        columns[name] = found.fillna(0).astype("int8")
    refuse(problems)
    return pd.DataFrame(columns)


def training_labels(path: Path, *, readers: int) -> pd.DataFrame:
    """Whether at least so many of an image's three radiologists found a class.

    Args:
        path: ``image_labels_train.csv``: a row for each image and radiologist.
        readers: 1 to 3.

    Returns:
        Int8, one row per image, in the table's order, columns `CLASSES`.

    Raises:
        DataError: malformed, a cell that is neither 0 nor 1, or an image that has not three different radiologists.
    """
    frame = read_table(path, required=("image_id", "rad_id", *CLASSES))
    votes = _cells(frame, path)
    problems: list[Problem] = []
    twice = frame.duplicated(["image_id", "rad_id"])
    pairs = frame["rad_id"] + " read image '" + frame["image_id"] + "' twice"
    problems += wrong_cells(pairs, twice, found="{}", allowed="one row for each radiologist", path=path)
    times = frame.groupby("image_id")["rad_id"].nunique()
    for image, count in times[times != READERS].head(20).items():
        found = f"image '{image}' was read by {count} radiologists"
        problems.append(Problem(found=found, allowed=f"{READERS} an image", path=path))
    refuse(problems)
    return (votes.groupby(frame["image_id"], sort=False).sum() >= readers).astype("Int8")


def consensus_labels(path: Path) -> pd.DataFrame:
    """The consensus: Int8, one row per image, columns `CLASSES`.

    Raises:
        DataError: malformed, or a cell that is neither 0 nor 1.
    """
    frame = read_table(path, required=("image_id", *(name for name in CLASSES if name != OTHER)))
    frame = frame.rename(columns={_SPELT: OTHER})
    if OTHER not in frame.columns:
        raise DataError(f"no column '{OTHER}'", allowed=f"'{OTHER}' or '{_SPELT}'", path=path, line=1)
    return _cells(frame, path).astype("Int8").set_index(frame["image_id"])


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of both tables; patients are not known, so each image is its own.

    Raises:
        DataError: see the functions above, `refers_bench.data.split_packs` and
            `refers_bench.data.index.finished_index`; with ``missing: refuse``, an image that is not there.
    """
    tables = {name: table_path(root, name) for name in (TRAIN, TEST)}
    train = training_labels(tables[TRAIN], readers=1 if params.labels == "any" else 2)
    test = consensus_labels(tables[TEST])
    names = pd.Series(train.index, index=train.index)
    held = patient_part(names, dataset="vindr_cxr", seed=params.split_seed, share=params.val_share)
    labels = pd.concat([train, test])
    columns = {f"{task}:{name}": labels[name] for task, classes in TASKS.items() for name in classes}
    frame = pd.DataFrame(columns).assign(
        split=[*np.where(held, "val", "train"), *["test"] * len(test)],
        table=[*[str(tables[TRAIN])] * len(train), *[str(tables[TEST])] * len(test)],
        view="",
        report=None,
    )
    frame = frame.rename_axis("image_id").reset_index()
    frame = frame.assign(patient_id=frame["image_id"], study_id=frame["image_id"])
    if isinstance(pack := params.lists, packs.Pack):
        frame = listed_rows(frame, pack, read_pack(pack, lists), root=lists[packs.ROOT], missing=params.missing)
        if pack.lacks_validation:
            frame = with_validation(frame, dataset="vindr_cxr", seed=params.split_seed, share=params.val_share)
    frame = with_images(frame, files_by_name(root, (".dicom",)), root=root, ending=".dicom", missing=params.missing)
    return finished_index(frame, root=root, table=tables[TRAIN], spread=packs.accepted(params.lists))


def _boxes(path: Path, *, readers: bool) -> pd.DataFrame:
    """Rows of a table with a box, which those of what is said of a whole image have not: see `corner_boxes`.

    Raises:
        DataError: malformed, an unknown class, or a corner that is no number.
    """
    required = ("image_id", *(("rad_id",) if readers else ()), "class_name", *CORNERS)
    frame = read_table(path, required=required)
    classes = frame["class_name"].replace({_SPELT: OTHER})
    corners = frame[list(CORNERS)]
    blank, numbers = (corners == "").all(axis=1), corners.apply(pd.to_numeric, errors="coerce").notna().all(axis=1)
    shown = corners.agg(", ".join, axis=1)
    refuse(
        [
            *wrong_cells(
                classes, ~classes.isin(CLASSES), found="class '{}'", allowed=f"one of the {len(CLASSES)}", path=path
            ),
            *wrong_cells(shown, ~blank & ~numbers, found="box '{}'", allowed="four numbers, or nothing", path=path),
        ]
    )
    return frame.assign(**{"class": classes, "reader": frame["rad_id"] if readers else ""})[~blank]


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """Boxes of the images that are there: each radiologist's of training images, and the consensus of test images.

    Raises:
        DataError: see `_boxes`; an unreadable image, or a box outside its image.
    """
    files, found = files_by_name(root, (".dicom",)), list[pd.DataFrame]()
    for name in (TRAIN_BOXES, TEST_BOXES):
        table = table_path(root, name)
        frame = _boxes(table, readers=name == TRAIN_BOXES)
        found.append(corner_boxes(frame, sizes=dicom_sizes(frame["image_id"], files, root), path=table))
    return pd.concat(found, ignore_index=True)


#: Classes of a phantom's finding.
_PHANTOM = {
    "Cardiomegaly": ("Cardiomegaly",),
    "Effusion": ("Pleural effusion",),
    "Nodule": ("Nodule/Mass", "Lung tumor"),
    "Consolidation": ("Consolidation", "Pneumonia"),
    "Pneumothorax": ("Pneumothorax",),
    "Interstitial": ("ILD",),
}


def _row(findings: list[str]) -> dict[str, int]:
    seen = {name for finding in findings for name in _PHANTOM[finding]} or {"No finding"}
    return {name: int(name in seen) for name in CLASSES}


def _framed(study: radiographs.PhantomStudy, findings: list[str]) -> Iterator[dict[str, Any]]:
    """A box, in pixels, around each lesion of these findings; one row without a box where there is no finding."""
    view = study.views[0]
    high, wide = view.pixels_HW.shape
    for lesion in (lesion for lesion in study.lesions if lesion.finding in findings):
        left, top, width, height = view.box(lesion)
        corners = np.multiply([left, top, left + width, top + height], [wide, high, wide, high])
        yield {"class_name": _PHANTOM[lesion.finding][0], **dict(zip(CORNERS, corners.round(2), strict=True))}
    if not findings:
        yield {"class_name": "No finding", **dict.fromkeys(CORNERS, "")}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``train/*.dicom``, ``test/*.dicom`` and the tables, one image a study.

    Each simulated reader misses some findings, but never all that there are, and frames what it finds.
    """
    for folder in ("train", "test", "annotations"):
        (root / folder).mkdir()
    rows: dict[str, list[dict[str, Any]]] = {TRAIN: [], TEST: [], TRAIN_BOXES: [], TEST_BOXES: []}
    for study in radiographs.studies(params):
        name = hashlib.sha256(f"vindr phantom {params.seed} {study.number}".encode()).hexdigest()[:32]
        rng = np.random.default_rng(identity.seed("vindr phantom", params.seed, study.number))
        test = study.split == "test"
        path = root / ("test" if test else "train") / f"{name}.dicom"
        inverted = bool(rng.random() < 0.2)
        save_dicom(path, study.views[0].pixels_HW, uid=f"2.25.{int(name, 16)}", stored="raw_12_bit", inverted=inverted)
        found = sorted(study.findings)
        if test:
            rows[TEST].append({"image_id": name, **_row(found)})
            rows[TEST_BOXES] += [{"image_id": name, **box} for box in _framed(study, found)]
            continue
        for reader in sorted(int(number) for number in rng.choice(np.arange(1, 18), READERS, replace=False)):
            seen = [finding for finding in found if rng.random() < 0.85] or found[:1]
            who = {"image_id": name, "rad_id": f"R{reader}"}
            rows[TRAIN].append({**who, **_row(seen)})
            rows[TRAIN_BOXES] += [{**who, **box} for box in _framed(study, seen)]
    for table, lines in rows.items():
        frame = pd.DataFrame(lines)
        frame = frame.rename(columns={OTHER: _SPELT}) if table == TEST else frame
        frame.to_csv(root / table, index=False)


_LABELS = {"local14": "14 local", "global6": "6 global", "ark6": "6 of Ark", "all28": "28"}

DATASET = Dataset(
    label="VinDr-CXR",
    source="physionet.org: VinDr-CXR 1.0.0: train/, test/, annotations/",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    impl=1,
    Params=Params,
    tasks={
        name: Task(label=f"VinDr-CXR, {_LABELS[name]} classes", classes=classes, group_by_patient=False)
        for name, classes in TASKS.items()
    },
    formats=lambda params: ("DICOM",),
    index=index,
    lists=lambda params: params.lists,
    boxes=boxes,
    source_task="all28",
    expected=lambda params: {"images": 18_000, **(packs.expected(params.lists) or {"test images": 3_000})},
    citation=(
        "Nguyen et al., VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations, Scientific Data "
        "2022; PhysioNet, doi 10.13026/3akn-b287"
    ),
    quirks=(
        "its 15,000 training images are those of vinbigdata_cxr (Kaggle): BenchX trains and validates on all 3,000 "
        "test images of the REFERS lists",
        "labels differ from Kaggle's in 152 of 45,000 x 14 readings: all are positive here alone",
        "figures of 14 local, 6 global, Ark's 6 and all 28 classes are four different means",
        "the test set has no edema (its AUC is undefined), and two each of clavicle fracture, lung cyst and COPD",
        "2,051 of the 3,000 test images have no finding",
        "training labels are three radiologists' each, of 17, test labels a consensus of five",
        "patients are not known, so a split by patients cannot be made or checked",
        "Ark selects and tests on the test list",
        "some files are MONOCHROME1",
        "the test set's tables write 'Other disease' where those of the training set write 'Other diseases'",
    ),
    notes=lambda params: packs.notes(params.lists, validates=params.val_share),
    write_layout=write_layout,
)
