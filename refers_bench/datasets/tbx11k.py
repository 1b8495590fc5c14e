"""TBX11K: tuberculosis, other disease or health, with boxes of active and of latent tuberculosis."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_boxes, finished_index, patient_part
from refers_bench.data.official_tables import refuse, with_images
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError, Problem, unknown
from refers_bench.files import read_json
from refers_bench.plugins import Dataset, Task

#: Folder of an image -> its class.
KINDS = {"health": "Healthy", "sick": "Sick, no tuberculosis", "tb": "Tuberculosis"}
#: Category of a box -> its class; a third one, PulmonaryTuberculosis, is named in the files and has no box.
ACTIVITY = {"ActiveTuberculosis": "Active tuberculosis", "ObsoletePulmonaryTuberculosis": "Latent tuberculosis"}
EMPTY_CATEGORY = "PulmonaryTuberculosis"
#: Files of the two labelled parts.
TRAIN, VAL = "annotations/json/TBX11K_train.json", "annotations/json/TBX11K_val.json"
IMAGES = "imgs"
_NAME = re.compile(r"(health|sick|tb)/((?:h|s|tb)\d{4})\.png")


class Params(BaseModel, extra="forbid", frozen=True):
    """Which images validate, and what becomes of tuberculosis without a box."""

    val_share: float = Field(
        default=0.1, gt=0, lt=1, description="share of the official training images that validate; official val tests"
    )
    split_seed: int = Field(default=0, ge=0, description="of that share; by image, patients are not known")
    unannotated: Literal["keep", "leave_out"] = Field(
        default="keep",
        description="images of the folder tb without a box (tb1199): keep them, their activity unknown, or leave them "
        "out as BenchX and mednet",
    )
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="images of the lists without a file")


class _Image(BaseModel):
    id: int
    file_name: str
    width: float = Field(gt=0)
    height: float = Field(gt=0)


class _Box(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]


class _Category(BaseModel):
    id: int
    name: str


class _Coco(BaseModel):
    images: list[_Image]
    annotations: list[_Box]
    categories: list[_Category]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one file says.

    Attributes:
        path: of the file.
        kinds: image -> its folder.
        boxes: image, class and (left, top, width, height) as shares of the image's sides.
    """

    path: Path
    kinds: Mapping[str, str]
    boxes: tuple[tuple[str, str, tuple[float, float, float, float]], ...]


def read_part(path: Path) -> Part:
    """One of the official lists, a file in the COCO format whose boxes are in pixels of the distributed images.

    Raises:
        DataError: missing, no such file, an image of another name or listed twice, a box of no image, of another
            category or in an image without tuberculosis.
    """
    content = _parsed(path)
    categories = {one.id: one.name for one in content.categories}
    problems = [
        unknown("category", name, (*ACTIVITY, EMPTY_CATEGORY), path=path)
        for name in categories.values()
        if name not in (*ACTIVITY, EMPTY_CATEGORY)
    ]
    kinds: dict[str, str] = {}
    known: dict[int, _Image] = {}
    for one in content.images:
        match = _NAME.fullmatch(one.file_name)
        if match is None or not match[2].startswith({"health": "h", "sick": "s", "tb": "tb"}[match[1]]):
            allowed = "health/hNNNN.png, sick/sNNNN.png or tb/tbNNNN.png"
            problems.append(Problem(found=f"image '{one.file_name}'", allowed=allowed, path=path))
        elif match[2] in kinds or one.id in known:
            found = f"image '{one.file_name}' with id {one.id} is listed twice"
            problems.append(Problem(found=found, allowed="each image and id once", path=path))
        else:
            kinds[match[2]], known[one.id] = match[1], one
    boxes = []
    for box in content.annotations:
        image, category = known.get(box.image_id), categories.get(box.category_id, "")
        if image is None or category not in ACTIVITY or not image.file_name.startswith("tb/"):
            where = f"image '{image.file_name}'" if image else f"an unknown image ({box.image_id})"
            found = f"box of category '{category or box.category_id}' in {where}"
            problems.append(Problem(found=found, allowed=f"{', '.join(ACTIVITY)}, in an image of tb/", path=path))
            continue
        left, top, width, height = box.bbox
        shares = (left / image.width, top / image.height, width / image.width, height / image.height)
        boxes.append((Path(image.file_name).stem, ACTIVITY[category], shares))
    refuse(problems)
    return Part(path=path, kinds=kinds, boxes=tuple(boxes))


def _parsed(path: Path) -> _Coco:
    try:
        return _Coco.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise DataError("missing list", allowed="the dataset's folder as downloaded", path=path) from error
    except ValidationError as error:
        places = [(".".join(map(str, one["loc"])) or "the whole", one["msg"]) for one in error.errors()[:20]]
        allowed = "images, annotations and categories in the COCO format"
        raise DataError(Problem(found=f"{at}: {what}", allowed=allowed, path=path) for at, what in places) from error
    except json.JSONDecodeError as error:
        raise DataError(f"no JSON ({error.msg})", path=path, line=error.lineno, column=error.colno) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"no JSON ({error})", allowed="a list as downloaded", path=path) from error


def _rows(part: Part) -> pd.DataFrame:
    """An image a row: image_id, folder, and the label columns of all tasks."""
    frame = pd.DataFrame({"image_id": list(part.kinds), "folder": list(part.kinds.values())}, dtype=object)
    for folder, name in KINDS.items():
        frame[f"three_classes:{name}"] = frame["folder"].eq(folder).astype("Int8")
    ill = frame["folder"] == "tb"
    frame["tuberculosis:Tuberculosis"] = ill.astype("Int8")
    seen = {name: {image for image, one, _ in part.boxes if one == name} for name in ACTIVITY.values()}
    annotated = frame["image_id"].isin(set().union(*seen.values()))
    for name, images in seen.items():
        # Tuberculosis without a box is active or latent, nobody says which.
        label = frame["image_id"].isin(images).astype("Int8")
        frame[f"activity:{name}"] = label.where(annotated | ~ill)
    return frame.assign(unannotated=ill & ~annotated, table=str(part.path))


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the official train and val lists; patients are not known, so each image is its own.

    Raises:
        DataError: see `read_part` and `refers_bench.data.index.finished_index`; with ``missing: refuse``, an image that
            is not there.
    """
    train, test = (_rows(read_part(root / name)) for name in (TRAIN, VAL))
    held = patient_part(train["image_id"], dataset="tbx11k", seed=params.split_seed, share=params.val_share)
    train["split"] = np.where(held, "val", "train")
    frame = pd.concat([train, test.assign(split="test")], ignore_index=True)
    if params.unannotated == "leave_out":
        frame = frame[~frame["unannotated"]]
    # Not the whole root: imgs/extra holds other collections, and imgs/test has no labels.
    files = {
        name: f"{IMAGES}/{folder}/{path}"
        for folder in KINDS
        for name, path in files_by_name(root / IMAGES / folder, (".png",)).items()
    }
    frame = frame.assign(patient_id=frame["image_id"], study_id=frame["image_id"], view="", report=None)
    frame = with_images(frame, files, root=root, ending=".png", missing=params.missing)
    return finished_index(frame.drop(columns=["folder", "unannotated"]), root=root, table=root / TRAIN)


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """The boxes of both lists; the reader is not known.

    Raises:
        DataError: see `read_part`; a box outside its image.
    """
    parts = [read_part(root / name) for name in (TRAIN, VAL)]
    rows = [(image, name, "", *shares) for part in parts for image, name, shares in part.boxes]
    columns = ["image_id", "class", "reader", "left", "top", "width", "height"]
    return finished_boxes(pd.DataFrame(rows, columns=columns), path=root / TRAIN)


#: Findings of a phantom: of other disease, and of tuberculosis with their category.
_SICK = ("Cardiomegaly", "Effusion", "Pneumothorax")
_ILL = {"Consolidation": "ActiveTuberculosis", "Nodule": "ObsoletePulmonaryTuberculosis"}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``imgs/{health,sick,tb}`` and the two lists, one image a study.

    Of each kind every fourth is in the list that tests; tuberculosis is active, both, latent in turn.
    """
    names = [*ACTIVITY, EMPTY_CATEGORY]
    ids = {name: number for number, name in enumerate(names, start=1)}
    lists: dict[str, dict[str, list[dict[str, object]]]] = {
        name: {"images": [], "annotations": []} for name in (TRAIN, VAL)
    }
    for folder in KINDS:
        (root / IMAGES / folder).mkdir(parents=True)
    (root / TRAIN).parent.mkdir(parents=True)
    for number in range(params.studies):
        folder, place = tuple(KINDS)[number % 3], number // 3
        ill = (("Consolidation",), ("Consolidation", "Nodule"), ("Nodule",))[place % 3]
        findings = {"health": (), "sick": (_SICK[place % 3],), "tb": ill}[folder]
        study = radiographs.study(params, number, findings=frozenset(findings))
        view, name = study.views[0], f"{folder}/{'tb' if folder == 'tb' else folder[0]}{place + 1:04d}.png"
        Image.fromarray(view.pixels_HW).convert("RGB").save(root / IMAGES / name, compress_level=1)
        listed = lists[VAL if place % 4 == 3 else TRAIN]
        high, wide = view.pixels_HW.shape
        listed["images"].append({"id": number + 1, "file_name": name, "width": wide, "height": high})
        for lesion in study.lesions if folder == "tb" else ():
            left, top, width, height = view.box(lesion)
            box = [round(side, 2) for side in (left * wide, top * high, width * wide, height * high)]
            about = {"id": len(listed["annotations"]) + 1, "image_id": number + 1, "iscrowd": 0}
            listed["annotations"].append({**about, "category_id": ids[_ILL[lesion.finding]], "bbox": box})
    for name, content in lists.items():
        categories = [{"id": ids[one], "name": one, "supercategory": "Tuberculosis"} for one in names]
        (root / name).write_text(json.dumps({**content, "categories": categories}), encoding="utf-8")


DATASET = Dataset(
    label="TBX11K",
    source="github.com/yun-liu/Tuberculosis: imgs/, annotations/json/",
    licence="CC BY-NC-SA 2.0, by torchxrayvision",
    impl=1,
    Params=Params,
    tasks={
        "tuberculosis": Task(label="TBX11K, tuberculosis vs none", classes=("Tuberculosis",), group_by_patient=False),
        "three_classes": Task(
            label="TBX11K, healthy, sick, tuberculosis", classes=tuple(KINDS.values()), group_by_patient=False
        ),
        "activity": Task(
            label="TBX11K, active and latent tuberculosis", classes=tuple(ACTIVITY.values()), group_by_patient=False
        ),
    },
    formats=lambda params: ("PNG",),
    index=index,
    boxes=boxes,
    source_task="three_classes",
    expected=lambda params: {"images": 8_400 - (params.unannotated == "leave_out"), "test images": 1_800},
    citation=(
        "Liu et al., Rethinking Computer-Aided Tuberculosis Diagnosis, CVPR 2020; "
        "Liu et al., Revisiting Computer-Aided Tuberculosis Diagnosis, TPAMI 2023"
    ),
    quirks=(
        "the official test images have no labels: the official val list tests, part of the train list validates",
        "imgs/extra holds the Shenzhen and Montgomery images (and DA, DB): they are not read, and whoever trains on "
        "them must not test on those collections",
        "sick and healthy images come from different sources, so a network can tell them by their source",
        "tb1199 has no box: BenchX and mednet leave it out; its activity is unknown here",
        "30 images have both active and latent tuberculosis",
        "the category PulmonaryTuberculosis is named and has no box",
        "boxes of the JSON files are in pixels of the 512 x 512 images, those of the XML files of larger originals",
        "BenchX's lists are a split of its own, 70/15/15 of 8,399 images, not the official one",
        "patients are not known, so a split by patients cannot be made or checked",
    ),
    write_layout=write_layout,
)
