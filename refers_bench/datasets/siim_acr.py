"""SIIM-ACR Pneumothorax (2019): the competition's files of stage 2 or stage 1, or the copy as PNG files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_boxes, finished_index, patient_part, patient_split, read_table
from refers_bench.data.metadata import header_metadata
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import radiographs
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.run_lengths import Bounds, bounds
from refers_bench.data.split_packs import listed_rows, read_pack, with_validation
from refers_bench.errors import DataError, Problem
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

CLASS = "Pneumothorax"
#: Table of masks of the competition's two stages, and the two tables of the PNG copy.
TABLES = {"stage_2": "stage_2_train.csv", "stage_1": "train-rle.csv"}
COPY = {"train": "stage_1_train_images.csv", "test": "stage_1_test_images.csv"}
MASKS = "EncodedPixels"
#: Says that an image has no mask; stage 1 writes a blank before it.
NONE = "-1"
#: Side of the images that the masks are drawn on, in pixels.
SIDE = 1024
#: Folder of the images that stage 1 tested with; the PNG copy has the word in its names.
_TEST = re.compile(r"(?:^|/)dicom-images-test/|_test_[01]_\.png$")
#: Download -> how its images are named in published lists.
NAMES = {"stage_2": "siim_uid", "stage_1": "siim_uid", "png": "siim_png"}
#: Images that are left in each list of siim-mrm: one of several lists stays in the test, or else the validation list.
MRM = {"listed train images": 6_997, "listed val images": 1_774, "listed test images": 1_904}
_COPIED = re.compile(r"\d+_(?P<part>train|test)_(?P<label>[01])_")


class Params(BaseModel, extra="forbid", frozen=True):
    """Which of the three downloads, and where the splits come from."""

    release: Literal["stage_2", "stage_1", "png"] = Field(
        default="stage_2",
        description="stage_2: stage_2_train.csv, as Kaggle has it now; stage_1: train-rle.csv, as in 2019; "
        "png: vbookshelf's copy, with the names of BenchX's lists",
    )
    split: Literal["seeded", "stage_1_test", "released"] = Field(
        default="seeded",
        description="seeded: 70/10/20 of the images; stage_1_test: the 1,372 images that stage 1 tested with (those of "
        "dicom-images-test/, or of the PNG copy's second table), and a seeded part of the rest validates; released: "
        "published lists, also where `lists` alone is given",
    )
    val_share: float = Field(
        default=0.125,
        gt=0,
        lt=1,
        description="share of the rest that validates (split: stage_1_test), or of the training list of a pack without "
        "a validation list",
    )
    split_seed: int = Field(default=0, ge=0, description="of the seeded split, or of the validation part")
    headers: Literal["read", "skip"] = Field(
        default="read", description="view, age and sex from the header of each DICOM file; skip leaves them unknown"
    )
    missing: Literal["skip", "refuse"] = Field(
        default="refuse", description="images of the tables, or of the lists, that are not there"
    )
    # It came later: without lists it is in no key.
    lists: packs.Named = Field(
        default="",
        description="{pack: NAME} of published lists: siim-mrm and siim-evax name DICOM files, siim-benchx those of "
        "the PNG copy",
        exclude_if=lambda value: value == "",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_lists(cls, values: Any) -> Any:
        return packs.released(values)

    @model_validator(mode="after")
    def _lists_fit(self) -> Params:
        if (self.split == "released") != bool(self.lists):
            raise ValueError("split: released and lists belong together: give both or neither")
        packs.fitting(self.lists, *NAMES.values())
        packs.fitting(self.lists, NAMES[self.release], whose=f"that names the images of release: {self.release}")
        return self


def read_masks(path: Path) -> tuple[pd.DataFrame, list[Bounds | None]]:
    """Rows of a table of masks, and the box around each; an image has a row for each of its masks, or one without.

    Raises:
        DataError: missing or malformed, a mask that is none, or an image with and without a mask.
    """
    frame = read_table(path, required=("ImageId",)).rename(columns=str.strip)
    if MASKS not in frame.columns:
        raise DataError(f"no column '{MASKS}'", allowed=", ".join(frame.columns), path=path, line=1)
    # Stage 1 writes " -1", stage 2 "-1": a reader that knows one of them takes all images of the other for positive.
    frame[MASKS] = frame[MASKS].str.strip()
    problems: list[Problem] = []
    found: list[Bounds | None] = []
    for line, text in enumerate(frame[MASKS], start=2):
        try:
            found.append(None if text == NONE else bounds(text, side=SIDE))
        except ValueError as error:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            allowed = f"{NONE}, or pairs 'skip length' within {SIDE} x {SIDE} pixels"
            problems.append(Problem(found=f"mask '{shown}' ({error})", allowed=allowed, path=path, line=line))
    refuse(problems)
    empty, ids = frame[MASKS] == NONE, frame["ImageId"]
    both = empty & ids.isin(ids[~empty])
    refuse(list(wrong_cells(ids, both, found="'{}' has a mask, too", allowed=f"{NONE} alone", path=path)))
    return frame, found


def read_copy(root: Path) -> pd.DataFrame:
    """Rows of the PNG copy's two tables: columns image_id (file without ending), study_id, positive, table.

    Raises:
        DataError: missing or malformed, or a file name that is unknown or contradicts its row or table.
    """
    frames, problems = [], []
    for part, name in COPY.items():
        path = table_path(root, name)
        frame = read_table(path, required=("new_filename", "ImageId", "has_pneumo"))
        names = frame["new_filename"].str.removesuffix(".png")
        for line, (file, label) in enumerate(zip(names, frame["has_pneumo"], strict=True), start=2):
            match = _COPIED.fullmatch(file)
            if match is None or match["part"] != part:
                allowed = f"N_{part}_0_.png or N_{part}_1_.png"
                problems.append(Problem(found=f"file '{file}'", allowed=allowed, path=path, line=line))
            elif match["label"] != label:
                found = f"'{file}' with has_pneumo '{label}'"
                problems.append(Problem(found=found, allowed=f"{match['label']}, as named", path=path, line=line))
        positive = frame["has_pneumo"] == "1"
        columns = {"image_id": names, "study_id": frame["ImageId"], "positive": positive, "table": str(path)}
        frames.append(pd.DataFrame(columns))
    refuse(problems)
    return pd.concat(frames, ignore_index=True)


def _split(images: pd.Series, paths: Sequence[str], params: Params, root: Path) -> pd.Series:
    """Split of each image.

    Raises:
        DataError: no image of stage 1's test, where these are asked for.
    """
    if params.split == "seeded":
        return patient_split(images, dataset="siim_acr", seed=params.split_seed)
    test = np.array([bool(_TEST.search(path)) for path in paths])
    if not test.any():
        allowed = "dicom-images-test/, or release: png; or split: seeded"
        raise DataError("no image that stage 1 tested with", allowed=allowed, path=root)
    split = pd.Series("test", index=images.index, dtype=object)
    held = patient_part(images[~test], dataset="siim_acr", seed=params.split_seed, share=params.val_share)
    split[~test] = np.where(held, "val", "train")
    return split


def _packed(frame: pd.DataFrame, pack: packs.Pack, params: Params, roots: Mapping[str, Path]) -> pd.DataFrame:
    """The rows with splits and label subsets of published lists."""
    frame = listed_rows(frame, pack, read_pack(pack, roots), root=roots[packs.ROOT], missing=params.missing)
    if not pack.lacks_validation:
        return frame
    return with_validation(frame, dataset="siim_acr", seed=params.split_seed, share=params.val_share)


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image, however many masks it has; patients are not known, so each image is its own.

    Raises:
        DataError: see the functions above and `refers_bench.data.index.finished_index`; with ``missing: refuse``, an
            image that is not there.
    """
    if params.release == "png":
        frame, ending, table = read_copy(root), ".png", root
    else:
        table, ending = table_path(root, TABLES[params.release]), ".dcm"
        masks, _ = read_masks(table)
        positive = (masks[MASKS] != NONE).groupby(masks["ImageId"]).any()
        names = positive.index
        columns = {"image_id": names, "study_id": names, "positive": positive.to_numpy(), "table": str(table)}
        frame = pd.DataFrame(columns)
    frame = frame.assign(patient_id=frame["image_id"], view="", report=None)
    if isinstance(params.lists, packs.Pack):
        frame = _packed(frame, params.lists, params, lists)
    frame = with_images(frame, files_by_name(root, (ending,)), root=root, ending=ending, missing=params.missing)
    if not params.lists:
        frame["split"] = _split(frame["image_id"], frame["path"].tolist(), params, root)
    if ending == ".dcm" and params.headers == "read":
        facts = header_metadata(frame["path"].tolist(), root).set_index(frame.index)
        frame = frame.drop(columns="view").join(facts)
    frame[f"pneumothorax:{CLASS}"] = frame.pop("positive").astype("Int8")
    return finished_index(frame, root=root, table=table, spread=packs.accepted(params.lists))


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """The least box around each mask of the images that are there; none of the PNG copy, which has no table of them.

    Raises:
        DataError: see `read_masks`.
    """
    table, rows = root, list[dict[str, Any]]()
    if params.release != "png":
        table = table_path(root, TABLES[params.release])
        frame, found = read_masks(table)
        there = files_by_name(root, (".dcm",))
        for image, box in zip(frame["ImageId"], found, strict=True):
            if box is not None and image in there:
                sides = {"left": box.left, "top": box.top, "width": box.width, "height": box.height}
                shares = {name: value / SIDE for name, value in sides.items()}
                rows.append({"image_id": image, "class": CLASS, "reader": "", **shares})
    columns = ["image_id", "class", "reader", "left", "top", "width", "height"]
    return finished_boxes(pd.DataFrame(rows, columns=columns), path=table)


def _runs(box: tuple[float, float, float, float]) -> str:
    """A box (left, top, width, height in [0, 1]) as the competition writes a mask: column by column, top to bottom."""
    left, top, right, bottom = (round(edge * SIDE) for edge in (*box[:2], box[0] + box[2], box[1] + box[3]))
    width, height = right - left, bottom - top
    return " ".join([f"{left * SIDE + top} {height}", *([f"{SIDE - height} {height}"] * (width - 1))])


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``stage_2_train.csv`` and ``stage_2_images/<uid>.dcm``, one image a study.

    Some images have two masks.
    """
    (folder := root / "stage_2_images").mkdir()
    rows = list[list[str]]()
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("siim phantom", params.seed, number))
        findings = {name for name in ("Effusion", "Consolidation") if rng.random() < params.prevalence}
        findings |= {"Pneumothorax"} if rng.random() < max(0.3, params.prevalence) else set[str]()
        study = radiographs.study(params, number, findings=frozenset(findings))
        view = study.views[0]
        uid = (
            f"1.2.276.0.7230010.3.1.4.8323329.{number + 1}.15178752{params.seed:02d}.{int(rng.integers(10**5, 10**6))}"
        )
        facts = {"Modality": "CR", "ViewPosition": view.view, "PatientSex": "FM"[int(rng.integers(2))]}
        facts["PatientAge"] = f"{rng.integers(2, 90):03d}Y"
        save_dicom(folder / f"{uid}.dcm", view.pixels_HW, uid=uid, stored="jpeg_8_bit", facts=facts)
        drawn = [view.box(lesion) for lesion in study.lesions if lesion.finding == "Pneumothorax"]
        if drawn and rng.random() < 0.25:  # as two readers, or two pockets of air
            left, top, width, height = drawn[0]
            drawn = [(left, top, width, height / 2), (left, top + height / 2, width, height / 2)]
        rows += [[uid, _runs(box)] for box in drawn] or [[uid, NONE]]
    pd.DataFrame(rows, columns=["ImageId", MASKS]).to_csv(root / TABLES["stage_2"], index=False)


def _expected(params: Params) -> Mapping[str, int]:
    images = {"images": 10_675 if params.release == "stage_1" else 12_047}
    if isinstance(params.lists, packs.Pack):
        return {**images, **(MRM if params.lists.pack == "siim-mrm" else packs.expected(params.lists))}
    return {**images, "test images": 1_372} if params.split == "stage_1_test" else images


DATASET = Dataset(
    label="SIIM-ACR pneumothorax",
    source="kaggle.com: siim-acr-pneumothorax-segmentation; or vbookshelf/pneumothorax-chest-xray-images-and-masks",
    licence="the competition's rules",
    impl=1,
    Params=Params,
    tasks={"pneumothorax": Task(label="SIIM-ACR pneumothorax", classes=(CLASS,), group_by_patient=False)},
    formats=lambda params: ("PNG",) if params.release == "png" else ("DICOM",),
    index=index,
    lists=lambda params: params.lists,
    boxes=boxes,
    source_task="pneumothorax",
    expected=_expected,
    citation=(
        "SIIM-ACR Pneumothorax Segmentation, Kaggle 2019; Filice et al., Crowdsourcing pneumothorax annotations using "
        "machine learning annotations on the NIH chest X-ray dataset, Journal of Digital Imaging 2020"
    ),
    quirks=(
        "12,954 rows of 12,047 images, 624 of them with several masks: rows are no samples, and no mask may be dropped",
        "2,669 images are positive: 2,379 of 10,675 of stage 1's training, 290 of 1,372 of its test",
        "runs are counted from the end of the run before, down the columns of 1,024 x 1,024 pixels",
        "no mask is '-1', in stage 1's file ' -1', under the heading ' EncodedPixels': both are read",
        "patients are not in the tables, so a split by patients cannot be made or checked",
        "part of the images are NIH ChestX-ray14's: find repeats with data audit after pre-training on NIH",
        "in MRM's lists 494 of the 672 positive test images are training images: not to be evaluated with",
        "boxes are the least ones around the masks",
        "the 3,205 test images of stage 2 have no labels and are not read",
    ),
    notes=lambda params: (
        "no patients are known: each image counts as a patient of its own",
        *packs.notes(params.lists, validates=params.val_share),
    ),
    write_layout=write_layout,
)
