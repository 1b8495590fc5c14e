"""A dataset of one's own, in one file: it runs as it is, and each part says what to replace.

It reads a folder that looks like this:

    labels.csv      image,patient,finding      one line per image; the finding is 1, 0, or empty where it is not known
    images/         the PNG files that the column `image` names

    refers-bench plugins check template_name.py     columns, splits, labels, errors, on drawn images in this layout
    export REFERS_BENCH_ROOT_<NAME>=FOLDER          where the files are; the name in capitals
    refers-bench data verify template_name --plugins template_name.py

The name of the file is the name of the dataset, in manifests and in results.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from refers_bench.data.index import finished_index, patient_split, read_table
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError, Problem
from refers_bench.plugins import Dataset, Task

TABLE, IMAGES = "labels.csv", "images"
LABELS = {"1": 1, "0": 0, "": None}


class Params(BaseModel):
    """What a manifest may set under `params` of the dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split_seed: int = Field(default=0, ge=0, description="of the split of patients, 70/10/20")


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image: where it is, whose it is, its split and its labels. Images are not opened here.

    Args:
        root: the dataset's folder.
        params: as the manifest sets them.
        lists: further folders, of datasets that have any.

    Raises:
        DataError: what cannot be used, each thing with its file and line.
    """
    path = root / TABLE
    table = read_table(path, required=("image", "patient", "finding"))  # all cells are text
    problems = [
        Problem(found=f"finding is '{value}'", allowed="1, 0 or empty", path=path, line=number)
        for number, value in enumerate(table["finding"], start=2)
        if value not in LABELS
    ]
    if problems:
        raise DataError(problems)
    frame = pd.DataFrame(
        {
            "image_id": table["image"],
            "path": f"{IMAGES}/" + table["image"],
            "patient_id": table["patient"],
            "study_id": table["image"],  # images of one study share its id and its report
            "view": "",  # "PA", "AP" or "L" where it is known
            "report": None,  # its text, where there is one: then `has_reports=True` below
        }
    )
    # One column for each class of each task, named "<task>:<class>".
    frame["finding:Finding"] = pd.array([LABELS[value] for value in table["finding"]], dtype="Int8")
    # "train", "val", "test", or "" for images that are not used. Take the official split where there is one.
    frame["split"] = patient_split(frame["patient_id"], dataset="template_name", seed=params.split_seed)
    return finished_index(frame, root=root, table=path)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Drawn radiographs in the layout that `index` reads, so that the contract can be checked without any data.

    A manifest draws them with `data: {template_name: {phantom: {studies: 60}}}`. Leave this out if you do not want it.
    """
    (root / IMAGES).mkdir(parents=True)
    lines = ["image,patient,finding"]
    for number in range(params.studies):
        ill = number % 2
        study = radiographs.study(params, number, findings=frozenset({"Nodule"} if ill else ()))
        name = f"{number:05d}.png"
        Image.fromarray(study.views[0].pixels_HW).save(root / IMAGES / name)
        lines.append(f"{name},p{study.patient},{ill}")
    (root / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")


DATASET = Dataset(
    label="Template title",  # of the dataset in tables
    source="a template; replace it by where the files are downloaded from",
    licence="state the licence",
    impl=1,  # raise it whenever rows or labels change
    Params=Params,
    tasks={"finding": Task(label="Finding", classes=("Finding",))},
    index=index,
    citation="how to cite it",
    quirks=("there is no official split: patients are split by a seed",),
    write_layout=write_layout,
)
