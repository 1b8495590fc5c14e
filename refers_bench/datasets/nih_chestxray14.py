"""NIH ChestX-ray14 as downloaded: one table of findings, PNG files in any folders, official or released splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.class_lists import read_class_lists
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_boxes, finished_index, patient_part, patient_split, read_table
from refers_bench.data.metadata import Columns, ages, numbers, table_metadata, texts
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import radiographs
from refers_bench.data.split_packs import read_pack, with_splits
from refers_bench.errors import DataError, Problem, unknown
from refers_bench.files import plain_file
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

#: In the order of the released lists.
CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"
#: Table of findings by version, newest first; as downloaded, or gzipped.
TABLES = {"v2020": "Data_Entry_2017_v2020.csv", "2017": "Data_Entry_2017.csv"}
BOXES = "BBox_List_2017.csv"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
#: Versions of the table name some columns otherwise.
METADATA: Columns = {
    "about:age": (("Patient Age",), ages),
    "about:sex": (("Patient Gender", "Patient Sex"), texts),
    "about:follow_up": (("Follow-up #",), numbers),
    "about:width": (("OriginalImage[Width", "OriginalImageWidth"), numbers),
    "about:height": (("Height]", "OriginalImageHeight"), numbers),
    "about:pixel_spacing": (("OriginalImagePixelSpacing[x", "OriginalImagePixelSpacing_x"), numbers),
}
#: Folders that may hold the tables and lists.
FOLDERS = ("", "CXR8", "LongTailCXR")
#: Side of the images that the boxes are drawn on, in pixels.
SIDE = 1024


class Params(BaseModel, extra="forbid", frozen=True):
    """Which table, which images, and where the splits come from."""

    table: Literal["newest", "v2020", "2017"] = Field(
        default="newest", description="version of the findings; newest: the newer one that is there"
    )
    split: Literal["official", "released", "seeded"] = Field(
        default="official",
        description="official: NIH's train_val_list and test_list; released: the lists of the REFERS release; "
        "seeded: 70/10/20 of the patients",
    )
    lists: packs.Lists = Field(
        default="",
        description="data root with val.txt and test.txt (and train.txt, or else the rest), or {pack: NAME} of "
        "published lists; for split: released",
    )
    labels: Literal["table", "lists"] = Field(
        default="table", description="lists: the released labels, where the lists give some"
    )
    views: tuple[Literal["PA", "AP"], ...] = Field(default=(), description="projections kept; empty for both")
    val_share: float = Field(
        default=0.125, gt=0, lt=1, description="share of the official train_val patients that validate"
    )
    split_seed: int = Field(default=0, ge=0, description="of the validation part, or of the seeded split")
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="rows of the table without an image")

    @model_validator(mode="after")
    def _lists_fit(self) -> Params:
        if (self.split == "released") != bool(self.lists):
            raise ValueError("split: released and lists belong together: give both or neither")
        if self.labels == "lists" and not self.lists:
            raise ValueError("labels: lists needs split: released")
        packs.fitting(self.lists, "nih")
        return self


def table_of(root: Path, version: str) -> Path:
    """The table of findings.

    Raises:
        DataError: not there.
    """
    wanted = TABLES.values() if version == "newest" else [TABLES[version]]
    for path in (table_path(root, name, folders=FOLDERS) for name in wanted):
        if path.is_file():
            return path
    raise DataError("no table of findings here", allowed=" or ".join(wanted), path=root)


def read_findings(path: Path) -> pd.DataFrame:
    """Columns image_id (name without ending), patient_id, view, those of `METADATA` and one Int8 column per class.

    Raises:
        DataError: malformed, an unknown finding, or "No Finding" beside one.
    """
    frame = read_table(path, required=("Image Index", "Finding Labels", "Patient ID", "View Position"))
    problems, known = [], (*CLASSES, NO_FINDING)
    kinds: dict[str, dict[str, int]] = {}
    different = frame["Finding Labels"].drop_duplicates()
    for line, text in zip((different.index + 2).tolist(), different, strict=True):
        names = [part.strip() for part in text.split("|")]
        if wrong := [name for name in names if name not in known]:
            problems.append(unknown("finding", wrong[0], known, path=path, line=line))
        elif NO_FINDING in names and len(names) > 1:
            problems.append(Problem(found=f"'{text}'", allowed=f"{NO_FINDING} alone", path=path, line=line))
        kinds[text] = {name: int(name in names) for name in CLASSES}
    refuse(problems)
    columns = {"patient_id": frame["Patient ID"], "view": frame["View Position"]}
    table = pd.DataFrame({name: column.str.strip() for name, column in columns.items()})
    table["image_id"] = frame["Image Index"].str.strip().str.removesuffix(".png")
    labels = pd.DataFrame.from_dict(kinds, orient="index").reindex(frame["Finding Labels"]).reset_index(drop=True)
    return pd.concat([table, table_metadata(frame, METADATA), labels.astype("Int8")], axis=1)


def official_split(frame: pd.DataFrame, root: Path, params: Params) -> pd.Series:
    """Split of each row by NIH's two lists; part of the train_val patients validate.

    Raises:
        DataError: a list is not there, or an image is in neither or both.
    """
    names: dict[str, set[str]] = {}
    for name in (TRAIN_VAL, TEST):
        path = table_path(root, name, folders=FOLDERS)
        if not path.is_file():
            allowed = f"{TRAIN_VAL} and {TEST}, as downloaded; or split: released or seeded"
            raise DataError(f"no {name} here", allowed=allowed, path=root)
        lines = plain_file(path).read_text(encoding="utf-8").split()
        names[name] = {line.removesuffix(".png") for line in lines}
    inside, test = frame["image_id"].isin(names[TRAIN_VAL]), frame["image_id"].isin(names[TEST])
    wrong = frame.loc[inside == test, "image_id"]
    if len(wrong):
        found = f"image '{wrong.iloc[0]}' is in {'both' if test[wrong.index[0]] else 'neither'} of the lists"
        more = f" ({len(wrong)} such)" if len(wrong) > 1 else ""
        raise DataError(found + more, allowed=f"{TRAIN_VAL} or {TEST}", path=root)
    patients = frame.loc[inside, "patient_id"]
    held = patient_part(patients, dataset="nih_chestxray14", seed=params.split_seed, share=params.val_share)
    split = pd.Series("test", index=frame.index, dtype=object)
    split[inside] = np.where(held, "val", "train")
    return split


def released_split(frame: pd.DataFrame, folder: Path, params: Params) -> pd.DataFrame:
    """The rows with their released split, and with the released labels where these are asked for.

    Raises:
        DataError: see `read_class_lists`.
    """
    files = {"val": ("val.txt", "valid.txt"), "test": ("test.txt",)}
    if (folder / "train.txt").is_file():
        files["train"] = ("train.txt",)
    listed = read_class_lists(folder, files, classes=CLASSES).set_index("name")
    rest = "" if "train" in files else "train"
    frame = frame.assign(split=frame["image_id"].map(listed["split"]).fillna(rest))
    if params.labels == "lists":
        inside = frame["image_id"].isin(listed.index)
        given = listed.loc[frame.loc[inside, "image_id"], list(CLASSES)]
        frame.loc[inside, list(CLASSES)] = given.to_numpy()
    return frame


def packed_split(frame: pd.DataFrame, pack: packs.Pack, params: Params, roots: Mapping[str, Path]) -> pd.DataFrame:
    """The rows with split, label subsets and, where these are asked for, labels of published lists.

    Raises:
        DataError: see `refers_bench.data.split_packs.read_pack`.
    """
    listed = read_pack(pack, roots)
    frame = with_splits(frame, pack, listed)
    if params.labels == "lists":
        inside = frame["image_id"].isin(listed.index)
        given = listed.loc[frame.loc[inside, "image_id"], "labels"]
        frame.loc[inside, list(CLASSES)] = np.array(given.tolist(), dtype=np.int8)
    return frame


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per row of the table of findings whose image is on disk.

    Raises:
        DataError: see the functions above and `refers_bench.data.index.finished_index`; with ``missing: refuse``, an
            image that is not there.
    """
    table = table_of(root, params.table)
    frame = read_findings(table)
    if params.views:
        frame = frame[frame["view"].isin(params.views)]
    if isinstance(params.lists, packs.Pack):
        frame = packed_split(frame, params.lists, params, lists)
    elif params.split == "released":
        frame = released_split(frame, lists[params.lists], params)
    elif params.split == "official":
        frame = frame.assign(split=official_split(frame, root, params))
    else:
        split = patient_split(frame["patient_id"], dataset="nih_chestxray14", seed=params.split_seed)
        frame = frame.assign(split=split)
    frame = frame.rename(columns={name: f"findings:{name}" for name in CLASSES})
    frame = frame.assign(study_id=frame["image_id"], report=None, table=str(table))
    files = files_by_name(root, (".png",))
    frame = with_images(frame, files, root=root, ending=".png", missing=params.missing)
    return finished_index(frame, root=root, table=table, spread=packs.accepted(params.lists))


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """Rows of ``BBox_List_2017.csv``; the reader is not known.

    Raises:
        DataError: missing or malformed, an unknown class, or a box outside its image.
    """
    path = table_path(root, BOXES, folders=FOLDERS)
    frame = read_table(path, required=("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"))
    names = frame["Finding Label"].replace("Infiltrate", "Infiltration")
    wrong = ~names.isin(CLASSES)
    refuse(list(wrong_cells(names, wrong, found="unknown finding '{}'", allowed=", ".join(CLASSES), path=path)))
    sides = {"left": "Bbox [x", "top": "y", "width": "w", "height": "h]"}
    values = {side: pd.to_numeric(frame[column], errors="coerce") / SIDE for side, column in sides.items()}
    image = frame["Image Index"].str.removesuffix(".png")
    return finished_boxes(pd.DataFrame({"image_id": image, "class": names, "reader": "", **values}), path=path)


#: Class of a phantom's finding.
_PHANTOM = {
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Effusion",
    "Nodule": "Nodule",
    "Consolidation": "Consolidation",
    "Pneumothorax": "Pneumothorax",
    "Interstitial": "Edema",
}
_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as the archives unpack: tables and lists, ``images_001/images/*.png``, some RGBA."""
    rows, boxed, split = [_HEADER], ["Image Index,Finding Label,Bbox [x,y,w,h],,,"], dict[str, list[str]]()
    counts: dict[int, int] = {}
    for study in radiographs.studies(params):
        folder = root / f"images_{1 + 3 * study.number // params.studies:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(identity.seed("nih phantom", params.seed, study.patient))
        age, sex = int(rng.integers(18, 90)), "FM"[int(rng.integers(2))]
        names = "|".join(sorted(_PHANTOM[name] for name in study.findings)) or NO_FINDING
        for view in study.views:
            if view.view == "L":
                continue  # the real collection is frontal
            follow_up = counts[study.patient] = counts.get(study.patient, -1) + 1
            file = f"{study.patient + 1:08d}_{follow_up:03d}.png"
            image = Image.fromarray(view.pixels_HW)
            (image.convert("RGBA") if study.number % 10 == 0 else image).save(folder / file, compress_level=1)
            size = f"{params.size},{params.size}"
            rows.append(f"{file},{names},{follow_up},{study.patient + 1},{age},{sex},{view.view},{size},0.143,0.143")
            split.setdefault(TEST if study.split == "test" else TRAIN_VAL, []).append(file)
            boxed += [
                ",".join([file, _PHANTOM[item.finding], *(f"{side * SIDE:.3f}" for side in view.box(item))])
                for item in study.lesions
                if item.finding != "Interstitial"
            ]
    for name, lines in {TABLES["v2020"]: rows, BOXES: boxed, **split}.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _expected(params: Params) -> Mapping[str, int]:
    """Counts of the whole collection, and of the splits asked for."""
    if params.views:
        return {"images": sum({"PA": 67_310, "AP": 44_810}[view] for view in set(params.views))}
    counts = {"images": 112_120, "patients": 30_805}
    if isinstance(params.lists, packs.Pack):
        return {**counts, **packs.expected(params.lists)}
    if params.split == "released":
        images = {"train images": 78_468, "val images": 11_219, "test images": 22_433}
        return {**counts, **images, "train patients": 21_528, "val patients": 3_090, "test patients": 6_187}
    return {**counts, "test images": 25_596, "test patients": 2_797} if params.split == "official" else counts


DATASET = Dataset(
    label="NIH ChestX-ray14",
    source="nihcc.app.box.com/v/ChestXray-NIHCC: images_001 to images_012.tar.gz, Data_Entry_2017_v2020.csv, lists",
    licence="no restriction on use; acknowledge the NIH Clinical Center and cite the paper",
    impl=1,
    Params=Params,
    tasks={
        "findings": Task(label="NIH ChestX-ray14", classes=CLASSES, published="nih"),
        "any_finding": Task(label="any of 14 findings", classes=("Any finding",), any_of="findings"),
    },
    formats=lambda params: ("PNG",),
    index=index,
    lists=lambda params: params.lists,
    notes=lambda params: packs.notes(params.lists),
    boxes=boxes,
    source_task="findings",
    expected=_expected,
    citation=(
        "Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
        "Classification and Localization of Common Thorax Diseases, CVPR 2017"
    ),
    quirks=(
        "labels were mined from reports; they name findings, not verified diagnoses",
        "the released split of REFERS is CheXNet's random one by patients, not NIH's: figures on the two differ",
        "5,213 of the 22,433 released test images are in NIH's own test list",
        "the released lists hold the labels of 2017; the table of 2020 differs from them in at most 25 images a class",
        "some PNG files are RGBA; their grey is that of their colour channels",
        "all 880 images with boxes are in NIH's test list, but 606 are training images of the released split",
        "the box list writes Infiltrate for Infiltration",
        "ages above 120 in the table of 2017",
    ),
    write_layout=write_layout,
)
