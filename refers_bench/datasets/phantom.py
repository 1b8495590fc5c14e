"""Procedural radiographs with findings and reports, in a plain layout of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from PIL import Image
from pydantic import BaseModel

from refers_bench.data.index import finished_boxes, finished_index, read_table
from refers_bench.data.phantoms import radiographs
from refers_bench.plugins import Dataset, Task

IMAGES, BOXES = "images.csv", "boxes.csv"
BOX = ("left", "top", "width", "height")


class Params(BaseModel, extra="forbid", frozen=True):
    """No parameters: what is drawn stands in the manifest's ``phantom`` entry."""


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """Rows of ``images.csv``.

    Raises:
        DataError: missing or malformed files, duplicate images, or a patient in two splits.
    """
    columns = ("image_id", "path", "patient_id", "study_id", "view", "split", "report", *radiographs.FINDINGS)
    frame = read_table(root / IMAGES, required=columns)
    frame["report"] = frame["report"].replace("", None)
    for name in radiographs.FINDINGS:
        frame[f"findings:{name}"] = frame.pop(name).astype("Int8")
    return finished_index(frame, root=root, table=root / IMAGES)


def boxes(root: Path, params: Params) -> pd.DataFrame:
    """Rows of ``boxes.csv``: where each finding was drawn in the frontal radiographs."""
    frame = read_table(root / BOXES, required=("image_id", "class", *BOX))
    return finished_boxes(frame.assign(reader=""), path=root / BOXES)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write ``images.csv``, ``boxes.csv`` and ``images/*.png``."""
    (root / "images").mkdir()
    rows, boxes = [], []
    for study in radiographs.studies(params):
        for number, view in enumerate(study.views):
            image_id = f"s{study.number:06d}_{number}"
            Image.fromarray(view.pixels_HW).save(root / "images" / f"{image_id}.png", compress_level=1)
            rows.append(
                {
                    "image_id": image_id,
                    "path": f"images/{image_id}.png",
                    "patient_id": f"p{study.patient:06d}",
                    "study_id": f"s{study.number:06d}",
                    "view": view.view,
                    "split": study.split,
                    "report": study.report,
                    **{name: int(name in study.findings) for name in radiographs.FINDINGS},
                }
            )
            boxes += [
                {"image_id": image_id, "class": lesion.finding, **dict(zip(BOX, view.box(lesion), strict=True))}
                for lesion in study.lesions
                if view.view != "L"
            ]
    pd.DataFrame(rows).to_csv(root / IMAGES, index=False)
    pd.DataFrame(boxes, columns=["image_id", "class", *BOX]).to_csv(root / BOXES, index=False)


DATASET = Dataset(
    label="Phantom radiographs",
    source="drawn by refers_bench.data.phantoms.radiographs",
    licence="MIT, as the product",
    citation="this software: see CITATION.cff",
    impl=2,
    Params=Params,
    tasks={"findings": Task(label="Phantom findings", classes=radiographs.FINDINGS)},
    formats=lambda params: ("PNG",),
    index=index,
    boxes=boxes,
    source_task="findings",
    has_reports=True,
    quirks=("procedural images: results say nothing about patients",),
    synthetic=True,
    write_layout=write_layout,
)
