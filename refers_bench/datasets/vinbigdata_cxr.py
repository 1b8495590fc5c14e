"""VinBigData chest X-rays as in the Kaggle competition: three radiologists' boxes, DICOM or converted PNG files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data.class_lists import read_class_lists
from refers_bench.data.corner_boxes import CORNERS, corner_boxes, dicom_sizes
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_split, read_table
from refers_bench.data.official_tables import refuse, table_path, with_images
from refers_bench.data.phantoms import radiographs
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.errors import Problem, unknown
from refers_bench.files import plain_file
from refers_bench.plugins import Dataset, Task

#: In the order of the released lists.
CLASSES = (
    "Aortic enlargement",
    "Atelectasis",
    "Pneumothorax",
    "Lung Opacity",
    "Pleural thickening",
    "ILD",
    "Pulmonary fibrosis",
    "Calcification",
    "Pleural effusion",
    "Consolidation",
    "Cardiomegaly",
    "Other lesion",
    "Nodule/Mass",
    "Infiltration",
)
NO_FINDING = "No finding"
#: Class ids of the competition: alphabetical, then No finding.
CLASS_IDS = {name: number for number, name in enumerate([*sorted(CLASSES), NO_FINDING])}
TABLE, SIZES = "train.csv", "train_meta.csv"
SUFFIXES = {"dicom": (".dicom", ".dcm"), "png": (".png",)}
FORMATS = {"dicom": ("DICOM",), "png": ("PNG",)}
LISTS = {"train": ("train.txt",), "val": ("val.txt", "valid.txt"), "test": ("test.txt",)}
READERS = 3


class Params(BaseModel, extra="forbid", frozen=True):
    """Which images, which agreement of readers makes a label, and where the splits come from."""

    images: Literal["dicom", "png"] = Field(default="dicom", description="the competition's files, or a conversion")
    labels: Literal["any", "majority"] = Field(
        default="any", description="positive when any of the three radiologists found it (as released), or two of them"
    )
    lists: str = Field(default="", description="data root with train.txt, val.txt, test.txt; '' for a seeded split")
    split_seed: int = Field(default=0, ge=0, description="of the 70/10/20 split without lists; by image")
    dicom: Literal["standard", "official_code"] = Field(
        default="standard",
        description="standard: VOI LUT or window, MONOCHROME1 inverted; official_code: neither, as the released code",
    )
    png_scale: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="side of the PNG files over that of the DICOM files, for boxes without train_meta.csv "
        "(the released conversion: 0.25)",
    )
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="images of the table that are not there")


def read_readers(path: Path) -> pd.DataFrame:
    """Rows of the table: one per box, or per reader who found nothing.

    Raises:
        DataError: malformed, an unknown class, an image without three readers, or a reader who found nothing and
            something.
    """
    frame = read_table(path, required=("image_id", "class_name", "class_id", "rad_id", *CORNERS))
    problems = []
    wrong = frame["class_id"] != frame["class_name"].map({name: str(number) for name, number in CLASS_IDS.items()})
    for row in frame.index[wrong][:20]:
        name, number = str(frame.at[row, "class_name"]), str(frame.at[row, "class_id"])
        if name not in CLASS_IDS:
            problems.append(unknown("class", name, CLASS_IDS, path=path, line=int(row) + 2))
            continue
        found = f"class '{name}' with id {number}"
        problems.append(Problem(found=found, allowed=f"id {CLASS_IDS[name]}", path=path, line=int(row) + 2))
    readers = frame.groupby("image_id")["rad_id"].nunique()
    for image, times in readers[readers != READERS].head(20).items():
        found = f"image '{image}' was read by {times} radiologists"
        problems.append(Problem(found=found, allowed=f"{READERS} an image", path=path))
    nothing = frame["class_name"] == NO_FINDING
    both = pd.MultiIndex.from_frame(frame.loc[nothing, ["image_id", "rad_id"]]).intersection(
        pd.MultiIndex.from_frame(frame.loc[~nothing, ["image_id", "rad_id"]])
    )
    for image, reader in both[:20]:
        found = f"{reader} found nothing and something in '{image}'"
        problems.append(Problem(found=found, allowed="one of them", path=path))
    refuse(problems)
    return frame


def image_labels(frame: pd.DataFrame, *, readers: int) -> pd.DataFrame:
    """Whether at least `readers` radiologists found a class: Int8, one row per image, columns `CLASSES`."""
    found = frame[frame["class_name"] != NO_FINDING]
    votes = found.groupby(["image_id", "class_name"])["rad_id"].nunique().unstack(fill_value=0)
    images = pd.Index(frame["image_id"].unique(), name="image_id")
    votes = votes.reindex(index=images, columns=list(CLASSES), fill_value=0)
    labels: pd.DataFrame = (votes >= readers).astype("Int8")
    return labels


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the table; patients are not known, so each image is its own.

    Raises:
        DataError: see `read_readers` and `refers_bench.data.index.finished_index`; a malformed list, or an image that
            the lists do not name; with ``missing: refuse``, an image that is not there.
    """
    table = table_path(root, TABLE)
    labels = image_labels(read_readers(table), readers=1 if params.labels == "any" else 2)
    names = pd.Series(labels.index, index=labels.index)
    if params.lists:
        listed = read_class_lists(lists[params.lists], LISTS, classes=CLASSES).set_index("name")
        split = names.map(listed["split"]).fillna("")
    else:
        split = patient_split(names, dataset="vinbigdata_cxr", seed=params.split_seed)
    suffixes = SUFFIXES[params.images]
    frame = labels.add_prefix("findings:").assign(image_id=names, patient_id=names, study_id=names, split=split)
    frame = frame.assign(view="", report=None, table=str(table)).reset_index(drop=True)
    frame = with_images(frame, files_by_name(root, suffixes), root=root, ending=suffixes[0], missing=params.missing)
    return finished_index(frame, root=root, table=table)


def _sizes(root: Path, params: Params, images: set[str]) -> dict[str, tuple[float, float]]:
    """Width and height of the DICOM image of each of `images`: from a table of sizes, or the files."""
    if (root / SIZES).is_file():
        frame = read_table(root / SIZES, required=("image_id", "dim0", "dim1"))
        sides = (frame[side].astype(float) for side in ("dim1", "dim0"))
        return dict(zip(frame["image_id"], zip(*sides, strict=True), strict=True))
    files = files_by_name(root, SUFFIXES[params.images])
    if params.images == "dicom":
        return dicom_sizes(images, files, root)
    found: dict[str, tuple[float, float]] = {}
    for name in sorted(images & files.keys()):
        with Image.open(plain_file(root / files[name]), formats=FORMATS[params.images]) as image:
            found[name] = (image.width / params.png_scale, image.height / params.png_scale)
    return found


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """Every radiologist's boxes, of the images that are there; scaled by ``train_meta.csv`` or the images' own size.

    Raises:
        DataError: see `read_readers`; an unreadable image, or a box outside its image.
    """
    table = table_path(root, TABLE)
    frame = read_readers(table)
    frame = frame[frame["class_name"] != NO_FINDING].rename(columns={"class_name": "class", "rad_id": "reader"})
    return corner_boxes(frame, sizes=_sizes(root, params, set(frame["image_id"])), path=table)


#: Class of a phantom's finding.
_PHANTOM = {
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural effusion",
    "Nodule": "Nodule/Mass",
    "Consolidation": "Consolidation",
    "Pneumothorax": "Pneumothorax",
    "Interstitial": "ILD",
}


def _reading(
    study: radiographs.PhantomStudy, view: radiographs.PhantomView, rng: np.random.Generator
) -> list[list[Any]]:
    """Rows of three simulated readers: each misses some findings, but never all that there are."""
    rows: list[list[Any]] = []
    high, wide = view.pixels_HW.shape
    for reader in sorted(int(number) for number in rng.choice(np.arange(1, 18), READERS, replace=False)):
        seen = [lesion for lesion in study.lesions if rng.random() < 0.85] or list(study.lesions[:1])
        for lesion in seen:
            left, top, width, height = view.box(lesion)
            corners = np.array([left, top, left + width, top + height]) + rng.normal(0, 0.01, 4)
            x_min, y_min, x_max, y_max = np.clip(corners, 0, 1) * [wide, high, wide, high]
            place = [f"{x_min:.0f}", f"{y_min:.0f}", f"{max(x_max, x_min + 2):.0f}", f"{max(y_max, y_min + 2):.0f}"]
            rows.append([_PHANTOM[lesion.finding], f"R{reader}", *place])
        if not seen:
            rows.append([NO_FINDING, f"R{reader}", "", "", "", ""])
    return rows


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``train.csv`` and ``train/<32 hexadecimal digits>.dicom``, one image a study."""
    (root / "train").mkdir()
    rows: list[list[Any]] = []
    for study in radiographs.studies(params):
        name = hashlib.sha256(f"vinbigdata phantom {params.seed} {study.number}".encode()).hexdigest()[:32]
        rng = np.random.default_rng(identity.seed("vinbigdata phantom", params.seed, study.number))
        view = study.views[0]
        path, uid, inverted = root / "train" / f"{name}.dicom", f"2.25.{int(name, 16)}", bool(rng.random() < 0.2)
        save_dicom(path, view.pixels_HW, uid=uid, stored="raw_12_bit", inverted=inverted)
        for kind, reader, *place in _reading(study, view, rng):
            rows.append([name, kind, CLASS_IDS[kind], reader, *place])
    columns = ["image_id", "class_name", "class_id", "rad_id", *CORNERS]
    pd.DataFrame(rows, columns=columns).to_csv(root / TABLE, index=False)


DATASET = Dataset(
    label="VinBigData chest X-rays",
    source="kaggle.com: vinbigdata-chest-xray-abnormalities-detection, train.csv and train/",
    licence="the competition's rules: non-commercial, research and education",
    impl=1,
    Params=Params,
    tasks={"findings": Task(label="VinBigData", classes=CLASSES, published="vinbigdata", group_by_patient=False)},
    formats=lambda params: FORMATS[params.images],
    index=index,
    lists=lambda params: params.lists,
    dicom=lambda params: params.dicom,
    boxes=boxes,
    source_task="findings",
    expected={"images": 15_000, "listed train images": 10_500, "listed val images": 1_500, "listed test images": 3_000},
    citation=(
        "Nguyen et al., VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations, Scientific Data 2022"
    ),
    quirks=(
        "43 % of the positive labels by any of three radiologists come from one of them alone",
        "patients are not known, so a split by patients cannot be made or checked",
        "the competition's 3,000 test images have no labels; all splits are of its 15,000 training images",
        "the released lists are not those of VinDr-CXR: training lists of the latter may hold all released test images",
        "the released test split has 14 pneumothoraces and 38 atelectases",
        "the released conversion neither inverts MONOCHROME1 nor applies a window (dicom: official_code)",
        "three of 17 radiologists read 61 % of the rows",
    ),
    write_layout=write_layout,
)
