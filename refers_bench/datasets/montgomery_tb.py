"""Montgomery County tuberculosis radiographs, as the NLM distributes them, with their clinical readings."""

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
from refers_bench.data import shenzhen
from refers_bench.data.clinical_readings import reading_lines
from refers_bench.data.folders import files_below, files_by_name
from refers_bench.data.index import finished_index, patient_split
from refers_bench.data.metadata import ages, picture_sizes
from refers_bench.data.official_tables import refuse
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError, Problem
from refers_bench.plugins import Dataset, Task

LABEL = shenzhen.LABEL
IMAGES = "CXR_png"
PREFIX = "MCUCXR"
#: What tables say of the external test.
EXTERNAL = (
    "an external test: trained on Shenzhen's released training images, tested on all of Montgomery (folds mix both)",
)
_NAME = re.compile(PREFIX + r"_(\d{4})_([01])")
#: A line of a reading that describes the person: its key, and the rest.
_PERSON = re.compile(r"\s*(?:patient'?s\s+)?(sex|age)\s*:\s*(.*)", re.IGNORECASE)
_SEXES = {"m": "male", "f": "female"}


class Params(BaseModel, extra="forbid", frozen=True):
    """Which images train: nobody has published a list of these."""

    split_seed: int = Field(default=0, ge=0, description="of the 70/10/20 split of the patients (training: own)")
    # It came later: where the collection trains itself it is in no key.
    training: Literal["own", "shenzhen"] = Field(
        default="own",
        description="shenzhen: an external test: the training and validation images of Shenzhen's released lists train "
        "and validate, and all of Montgomery test; the data root is a folder with both collections, or links to them",
        exclude_if=lambda value: value == "own",
    )


def label_of(name: str) -> tuple[str, int] | None:
    """(number, 1 for tuberculosis) of an image's name without ending; None for other names.

    Example:
        >>> label_of("MCUCXR_0104_1"), label_of("CHNCXR_0104_1")
        (('0104', 1), None)
    """
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def reading(lines: list[str]) -> tuple[str, str, str]:
    """(sex, age, what the radiograph shows) of a clinical reading; '' for what it does not say.

    Example:
        >>> reading(["Patient's Sex: F", "Patient's Age: 027Y", "normal"])
        ('female', '027Y', 'normal')
    """
    person, text = {"sex": "", "age": ""}, list[str]()
    for line in lines:
        if match := _PERSON.fullmatch(line):
            person[match[1].lower()] = match[2].strip()
        else:
            text += line.split()
    return _SEXES.get(person["sex"][:1].lower(), ""), person["age"], " ".join(text)


def _images(root: Path) -> dict[str, str]:
    """Image -> path; masks of the lungs, which have the same names, lie in other folders.

    Raises:
        DataError: no image, an unknown name, or a number that comes twice.
    """
    problems, files, numbers = [], dict[str, str](), dict[str, Path]()
    paths = [path for path in files_below(root, (".png",)) if path.parent.name == IMAGES]
    for path in paths:
        if not path.name.startswith(PREFIX):
            continue  # of another collection
        known = label_of(path.stem)
        if known is None:
            allowed = f"{PREFIX}_<number of four digits>_<label 0 or 1>.png"
            problems.append(Problem(found=f"unknown image name '{path.stem}'", allowed=allowed, path=path))
            continue
        if known[0] in numbers:
            found = f"number {known[0]} is at {numbers[known[0]]}, too"
            problems.append(Problem(found=found, allowed="each number once", path=path))
        numbers[known[0]] = path
        files[path.stem] = path.relative_to(root).as_posix()
    refuse(problems)
    if not files:
        allowed = f"MontgomerySet/{IMAGES}/{PREFIX}_<number>_<label>.png, as the NLM's archive unpacks"
        raise DataError("no radiograph here", allowed=allowed, path=root)
    return files


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; its number is its patient's, its last digit its label, its reading its report.

    With ``training: shenzhen`` names of patients are those of the images: both collections number theirs from 1.

    Raises:
        DataError: see `refers_bench.data.index.finished_index`; no image, or a name that is unknown or comes twice.
    """
    frame = _rows(root)
    if params.training == "own":
        frame["split"] = patient_split(frame["patient_id"], dataset="montgomery_tb", seed=params.split_seed)
    else:
        others = shenzhen.rows(root)
        frame = pd.concat([frame.assign(split="test"), others[others["split"] != "test"]], ignore_index=True)
        frame = frame.assign(patient_id=frame["image_id"], study_id=frame["image_id"])
    return finished_index(frame, root=root, table=root)


def _rows(root: Path) -> pd.DataFrame:
    """The images without a split."""
    files, texts = _images(root), files_by_name(root, (".txt",), wanted=label_of)
    rows = []
    for name, path in files.items():
        number, label = label_of(name) or ("", 0)
        sex, age, text = reading(reading_lines(root / texts[name])) if name in texts else ("", "", "")
        rows.append(
            {
                "image_id": name,
                "path": path,
                "patient_id": number,
                "study_id": number,
                "view": "PA",
                "report": text or None,
                "about:age": age,
                "about:sex": sex,
                LABEL: label,
            }
        )
    frame = pd.DataFrame(rows).astype({LABEL: "Int8", "report": object})
    frame["about:age"] = ages(frame["about:age"])
    return frame.join(picture_sizes(frame["path"].tolist(), root))


#: What a phantom with tuberculosis has, and how it is read.
_ILL = (
    (frozenset({"Nodule"}), "{side} upper lobe infiltrate"),
    (frozenset({"Consolidation", "Effusion"}), "{side} infiltrate with effusion, consistent with active TB"),
)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies in the NLM's layout, one image a study, with masks of empty lungs."""
    base = root / "MontgomerySet"
    folders = [base / name for name in (IMAGES, "ClinicalReadings", "ManualMask/leftMask", "ManualMask/rightMask")]
    for folder in folders:
        folder.mkdir(parents=True)
    empty = Image.new("1", (8, 8))
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("montgomery phantom", params.seed, number))
        ill = bool(rng.random() < 58 / 138)
        kind, text = _ILL[int(rng.integers(len(_ILL)))] if ill else (frozenset[str](), "normal")
        study = radiographs.study(params, number, findings=kind)
        side = next((lesion.side for lesion in study.lesions), "")
        name = f"{PREFIX}_{number + 1:04d}_{int(ill)}"
        Image.fromarray(study.views[0].pixels_HW).save(folders[0] / f"{name}.png", compress_level=1)
        sex, age = "FM"[int(rng.integers(2))], f"{rng.integers(4, 90):03d}Y"
        lines = [f"Patient's Sex: {sex}", f"Patient's Age: {age}", text.format(side=side)]
        (folders[1] / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for folder in folders[2:]:
            empty.save(folder / f"{name}.png")


DATASET = Dataset(
    label="Montgomery tuberculosis",
    source="lhncbc.nlm.nih.gov: NLM-MontgomeryCXRSet.zip",
    licence="public, by the National Library of Medicine; cite the paper and acknowledge the Montgomery County",
    impl=1,
    Params=Params,
    tasks={"tuberculosis": Task(label="Montgomery tuberculosis", classes=("Tuberculosis",))},
    formats=lambda params: ("PNG",),
    index=index,
    source_task="tuberculosis",
    has_reports=True,
    expected=lambda params: (
        {"images": 138, "patients": 138}
        if params.training == "own"
        else {"images": 668, "train images": 463, "val images": 67, "test images": 138}
    ),
    citation=(
        "Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, Quant "
        "Imaging Med Surg 2014; Candemir et al., IEEE Transactions on Medical Imaging 2014"
    ),
    quirks=(
        "80 normal and 58 with tuberculosis; a widely used library says 138 and 80, which is wrong",
        "no split is published: of 138 images a 70/10/20 split tests with 28; five folds test with all",
        "others use it as the external test of models trained on Shenzhen (training: shenzhen), or mix the two in "
        "splits of their own",
        "copies of these images are in TBX11K's extra folder",
        "the label is the last digit of the file name; one image per patient",
        "the masks of the lungs have the names of the images; only CXR_png is read",
        "12 bits of grey by its description: a copy with 12 bits in 16-bit files would come out sixteen times too dark",
    ),
    notes=lambda params: EXTERNAL if params.training == "shenzhen" else (),
    write_layout=write_layout,
)
