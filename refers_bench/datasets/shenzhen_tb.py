"""Shenzhen tuberculosis radiographs, as the NLM or Kaggle distributes them, with their clinical readings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data import shenzhen
from refers_bench.data.index import finished_index, patient_split
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import UserError
from refers_bench.plugins import Dataset, Task

#: Highest number of the normal images, and of all.
NORMALS, ALL = 326, 662


class Params(BaseModel, extra="forbid", frozen=True):
    """Where the splits come from."""

    split: Literal["released", "seeded"] = Field(
        default="released",
        description="released: by file number, as the REFERS lists; seeded: 70/10/20 of the patients",
    )
    split_seed: int = Field(default=0, ge=0, description="of the seeded split")


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; see `refers_bench.data.shenzhen.rows`.

    Raises:
        DataError: no image, two of one name, and see `refers_bench.data.index.finished_index`.
    """
    frame = shenzhen.rows(root)
    if params.split == "seeded":
        frame["split"] = patient_split(frame["patient_id"], dataset="shenzhen_tb", seed=params.split_seed)
    return finished_index(frame, root=root, table=root)


#: What a phantom with tuberculosis has, and how it is read.
_ILL = (
    (frozenset({"Nodule"}), "{side} upper PTB"),
    (frozenset({"Nodule", "Effusion"}), "{side} PTB with pleurisy"),
    (frozenset({"Consolidation"}), "{side} secondary PTB in the lower field"),
)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies in the NLM's layout, numbered so that the released rule splits them.

    Raises:
        UserError: more studies than the collection has numbers.
    """
    if params.studies > ALL:
        raise UserError(f"shenzhen_tb phantoms: {params.studies} studies; allowed: at most {ALL}")
    images = root / "ChinaSet_AllFiles" / "CXR_png"
    texts = root / "ChinaSet_AllFiles" / "ClinicalReadings"
    images.mkdir(parents=True)
    texts.mkdir()
    # Evenly over the real numbers: both classes, and every split of each.
    numbers = np.unique(np.linspace(1, ALL, params.studies).round().astype(int))
    for place, number in enumerate(int(value) for value in numbers):
        rng = np.random.default_rng(identity.seed("shenzhen phantom", params.seed, number))
        ill = number > NORMALS
        kind, text = _ILL[int(rng.integers(len(_ILL)))] if ill else (frozenset[str](), "normal")
        study = radiographs.study(params, place, findings=kind)
        side = next((lesion.side for lesion in study.lesions), "")
        name = f"CHNCXR_{number:04d}_{int(ill)}"
        Image.fromarray(study.views[0].pixels_HW).convert("RGB").save(images / f"{name}.png", compress_level=1)
        sex, age = ("male", "female")[int(rng.integers(2))], int(rng.integers(18, 80))
        (texts / f"{name}.txt").write_text(f"{sex} {age}yrs\n{text.format(side=side)}\n", encoding="utf-8")


DATASET = Dataset(
    label="Shenzhen tuberculosis",
    source="lhncbc.nlm.nih.gov: ChinaSet_AllFiles.zip; or kaggle.com: raddar/tuberculosis-chest-xrays-shenzhen",
    licence="public, by the National Library of Medicine; cite the paper",
    impl=1,
    Params=Params,
    tasks={"tuberculosis": Task(label="Shenzhen tuberculosis", classes=("Tuberculosis",), published="shenzhen")},
    formats=lambda params: ("PNG",),
    index=index,
    source_task="tuberculosis",
    has_reports=True,
    expected=lambda params: {
        "images": 662,
        "patients": 662,
        **({"train images": 463, "val images": 67, "test images": 132} if params.split == "released" else {}),
    },
    citation=(
        "Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, "
        "Quant Imaging Med Surg 2014"
    ),
    quirks=(
        "the released split is sequential by file number within each class, not random",
        "326 normal and 336 with tuberculosis; the released test split has 65 and 67",
        "the label is the last digit of the file name; one image per patient",
        "PNG files of about 3,000 pixels a side, grey stored as RGB, with black borders",
        "the reading of an image is one line and names the diagnosis: no report in the sense of pre-training",
    ),
    write_layout=write_layout,
)
