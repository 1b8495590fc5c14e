"""Tuberculosis radiographs of a county, in folders like those of the NLM: a dataset of one's own, in one file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_split
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError
from refers_bench.plugins import Dataset, Task

NAME = re.compile(r"MCUCXR_(\d{4})_([01])")


class Params(BaseModel):
    """The collection has no official split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split_seed: int = Field(default=0, ge=0, description="of the split of patients, 70/10/20")


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; the last digit of its name is its label."""
    found = {name: path for name, path in files_by_name(root, (".png",)).items() if NAME.fullmatch(name)}
    if not found:
        raise DataError("no radiograph here", allowed="MCUCXR_<number>_<label>.png in any folder", path=root)
    frame = pd.DataFrame({"image_id": list(found), "path": list(found.values()), "view": "PA", "report": None})
    numbers = [name.split("_")[1] for name in found]
    frame["patient_id"] = frame["study_id"] = numbers
    frame["tuberculosis:Tuberculosis"] = pd.array([int(name[-1]) for name in found], dtype="Int8")
    frame["split"] = patient_split(frame["patient_id"], dataset="county_tb", seed=params.split_seed)
    return finished_index(frame, root=root, table=root)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Procedural radiographs: a nodule stands for tuberculosis."""
    folder = root / "CountySet" / "CXR_png"
    folder.mkdir(parents=True)
    for number in range(params.studies):
        ill = number % 2
        finding = frozenset({"Nodule"} if ill else ())
        study = radiographs.study(params, number, findings=finding)
        Image.fromarray(np.asarray(study.views[0].pixels_HW)).save(folder / f"MCUCXR_{number:04d}_{ill}.png")


DATASET = Dataset(
    label="County tuberculosis",
    source="made up, in the layout of NLM-MontgomeryCXRSet.zip",
    licence="public, by the National Library of Medicine; cite the paper",
    impl=1,
    Params=Params,
    tasks={"tuberculosis": Task(label="County tuberculosis", classes=("Tuberculosis",))},
    index=index,
    expected={"images": 138, "patients": 138},
    citation="Jaeger et al., Quant Imaging Med Surg 2014",
    quirks=("there is no official split",),
    write_layout=write_layout,
)
