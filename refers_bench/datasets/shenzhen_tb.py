"""Shenzhen tuberculosis radiographs, as the NLM or Kaggle distributes them, with their clinical readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data.clinical_readings import reading_lines
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_split, read_table
from refers_bench.data.metadata import ages, picture_sizes
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError, UserError
from refers_bench.plugins import Dataset, Task

#: Kaggle's table of readings; the NLM has a text file for each image instead.
METADATA = "shenzhen_metadata.csv"
_NAME = re.compile(r"CHNCXR_(\d{4})_([01])")
#: Highest number of the normal images, and of all.
NORMALS, ALL = 326, 662
#: Highest numbers of the training and validation images of the released lists, normal and ill (official-code.md 4.3).
RELEASED = {0: (228, 261), 1: (561, 595)}


class Params(BaseModel, extra="forbid", frozen=True):
    """Where the splits come from."""

    split: Literal["released", "seeded"] = Field(
        default="released",
        description="released: by file number, as the REFERS lists; seeded: 70/10/20 of the patients",
    )
    split_seed: int = Field(default=0, ge=0, description="of the seeded split")


def label_of(name: str) -> tuple[int, int] | None:
    """(number, 1 for tuberculosis) of an image's name; None for other files.

    Example:
        >>> label_of("CHNCXR_0327_1"), label_of("Thumbs")
        ((327, 1), None)
    """
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def released_split(number: int, label: int) -> str:
    """Split of an image in the released lists.

    Example:
        >>> released_split(228, 0), released_split(229, 0), released_split(596, 1)
        ('train', 'val', 'test')
    """
    train, val = RELEASED[label]
    return "train" if number <= train else "val" if number <= val else "test"


def readings(root: Path) -> dict[str, tuple[str, str]]:
    """Image -> what its clinical reading says of the person (sex and age), and of the radiograph; '' for nothing.

    Raises:
        DataError: Kaggle's table is malformed, or two readings of one image.
    """
    found: dict[str, tuple[str, str]] = {}
    table = root / METADATA
    if table.is_file():
        frame = read_table(table, required=("study_id", "findings"))
        people = frame.reindex(columns=["sex", "age"], fill_value="").agg(" ".join, axis=1)
        found = {
            str(name).removesuffix(".png"): (person, " ".join(text.split()))
            for name, person, text in zip(frame["study_id"], people, frame["findings"], strict=True)
        }
    for name, path in files_by_name(root, (".txt",)).items():
        if label_of(name) is None:
            continue
        lines = reading_lines(root / path)
        found[name] = ("".join(lines[:1]), " ".join(" ".join(lines[1:]).split()))
    return found


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; its number is its patient's, its last digit its label, its reading its report.

    Raises:
        DataError: no image, two of one name, and see `refers_bench.data.index.finished_index`.
    """
    files = {name: path for name, path in files_by_name(root, (".png",)).items() if label_of(name)}
    if not files:
        allowed = "CHNCXR_<number>_<label>.png in any folder, as the NLM or Kaggle archives unpack"
        raise DataError("no radiograph here", allowed=allowed, path=root)
    texts = readings(root)
    rows = []
    for name, path in files.items():
        number, label = label_of(name) or (0, 0)
        person, text = texts.get(name, ("", ""))
        rows.append(
            {
                "image_id": name,
                "path": path,
                "patient_id": f"{number:04d}",
                "study_id": f"{number:04d}",
                "view": "PA",
                "split": released_split(number, label),
                "report": text or None,
                "about:age": person,
                "about:sex": person,
                "tuberculosis:Tuberculosis": label,
            }
        )
    frame = pd.DataFrame(rows).astype({"tuberculosis:Tuberculosis": "Int8", "report": object})
    frame["about:age"] = ages(frame["about:age"])
    frame["about:sex"] = frame["about:sex"].str.lower().str.extract(r"\b((?:fe)?male)\b")[0]
    frame = frame.join(picture_sizes(frame["path"].tolist(), root))
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
