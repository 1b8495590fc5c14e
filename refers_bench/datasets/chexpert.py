"""CheXpert in its small and its full release: labels read from reports, and two sets that radiologists labelled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.chexpert import FINDINGS_14, NEGATIVE, POLICIES, POSITIVE, labels
from refers_bench.data.folders import file_sizes
from refers_bench.data.index import finished_index, patient_part, read_table
from refers_bench.data.metadata import Columns, ages, table_metadata, texts
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import mimic, radiographs
from refers_bench.data.split_packs import listed_rows, read_pack
from refers_bench.errors import Problem
from refers_bench.machine import shared_out
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

#: In the order of the tables' columns.
OBSERVATIONS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
#: Classes of the owners' competition.
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
#: Policies that treat the classes of the competition differently: policy -> those of which an uncertain mention counts
#: as positive; of the others it counts as negative. Source: the released labels of MRM, and the code of LibAUC.
MIXED = {"mrm": frozenset({"Atelectasis", "Edema", "Pleural Effusion"}), "libauc": frozenset({"Atelectasis", "Edema"})}
#: Table of each part of the data, as it is distributed; that of the test set came with CheXlocalize.
TRAIN, VALID, TEST = "train.csv", "valid.csv", "test_labels.csv"
#: Published lists whose test images are those of the validation table.
ON_VALID = "chexpert-mrm-ids"
#: Column of a table -> words that may stand there.
VIEWS = ("Frontal", "Lateral")
METADATA: Columns = {"about:age": (("Age",), ages), "about:sex": (("Sex",), texts)}
_PATH = r"^(?:.*/)?(?P<patient>patient\d{5})/(?P<study>study\d+)/(?P<file>view\d+_(?P<view>frontal|lateral))\.jpg$"
_PATIENT = re.compile(r"patient\d{5}")
#: What each table holds.
COUNTS = {
    TRAIN: {"frontal": 191_027, "images": 223_414, "patients": 64_540, "studies": 187_641},
    VALID: {"frontal": 202, "images": 234, "patients": 200, "studies": 200},
    TEST: {"frontal": 518, "images": 668, "patients": 500, "studies": 500},
}


class Params(BaseModel, extra="forbid", frozen=True):
    """Which images are tested on, and which views; policies for uncertain mentions are tasks."""

    split: Literal["official_valid", "official_test", "released"] = Field(
        default="official_valid",
        description="official_valid: the 200 patients of valid.csv test, part of those of train.csv validate; "
        "official_test: the 500 patients of test_labels.csv test, those of valid.csv validate; released: published "
        "lists, also where `lists` alone is given",
    )
    views: Literal["frontal", "all"] = Field(default="frontal", description="all: lateral radiographs, too")
    val_share: float = Field(
        default=0.1, gt=0, lt=1, description="share of the patients of train.csv that validate (split: official_valid)"
    )
    split_seed: int = Field(default=0, ge=0, description="of that share")
    missing: Literal["skip", "refuse"] = Field(
        default="refuse", description="rows of the tables without an image, and images of the lists without a row"
    )
    # It came later: without lists it is in no key.
    lists: packs.Named = Field(
        default="",
        description="{pack: NAME} of published lists: chexpert-mrm-ids tests on valid.csv, chexpert-official-ids on "
        "test_labels.csv; both name lateral images, too (views: all)",
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
        packs.fitting(self.lists, "chexpert")
        return self

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that are read."""
        on_valid = isinstance(self.lists, packs.Pack) and self.lists.pack == ON_VALID
        return (TRAIN, VALID) if self.split == "official_valid" or on_valid else (TRAIN, VALID, TEST)


def unpacked(root: Path) -> tuple[str, ...]:
    """Folders below the root that hold tables or patients: itself, and those of the archives ("CheXpert-v1.0-small").

    The full release comes in several archives, "CheXpert-v1.0 batch N (...)", the test set in "CheXpert".
    """
    inside = root.iterdir() if root.is_dir() else ()
    found = [path.name for path in inside if path.name.startswith("CheXpert") and path.is_dir()]
    return ("", *sorted(found))


def patient_folders(root: Path) -> dict[str, str]:
    """Patient -> folder, relative to the root.

    Raises:
        DataError: a patient at two places, such as both releases below one root.
    """
    found: dict[str, str] = {}
    problems = []
    for folder in unpacked(root):
        for part in ("", "train", "valid", "test"):
            place = Path(folder, part)
            if not (root / place).is_dir():
                continue
            for patient in sorted(filter(_PATIENT.fullmatch, os.listdir(root / place))):  # noqa: PTH208 - 65,000 Paths are slow
                here = (place / patient).as_posix()
                if patient in found:
                    also = f"'{patient}' is at {root / found[patient]}, too"
                    problems.append(Problem(found=also, allowed="one release below a root", path=root / here))
                found.setdefault(patient, here)
    refuse(problems)
    return found


def read_part(root: Path, name: str) -> pd.DataFrame:
    """One of the tables: an image a row, with its labels under every policy.

    Args:
        root: the dataset's folder.
        name: of the table.

    Returns:
        Columns image_id, patient_id, study_id, view ("PA", "AP", "L", or '' where nobody says), kind ("frontal",
        "lateral"), table, those of `METADATA`, and an Int8 column for each class of each task.

    Raises:
        DataError: missing or malformed; a path of another form, a label other than 1.0, 0.0, -1.0 and empty, or a view
            that contradicts the file's name.
    """
    path = table_path(root, name, folders=unpacked(root))
    # The test set's table has no column but these.
    frame = read_table(path, required=("Path", *OBSERVATIONS, *(() if name == TEST else ("Frontal/Lateral", "AP/PA"))))
    parts = frame["Path"].str.extract(_PATH)
    allowed = "[...]/patientNNNNN/studyN/viewN_frontal.jpg, or _lateral"
    problems = list(wrong_cells(frame["Path"], parts["file"].isna(), found="path '{}'", allowed=allowed, path=path))
    projection = pd.Series("", index=frame.index, dtype=object)
    if name != TEST:
        kind = frame["Frontal/Lateral"]
        odd = (kind.str.lower() != parts["view"]) & parts["view"].notna()
        named = "'{}' of another view than its file's name says"
        problems += wrong_cells(kind, odd, found=named, allowed=", ".join(VIEWS), path=path)
        projection = frame["AP/PA"]
    refuse(problems)
    found = {
        "image_id": parts["patient"] + "/" + parts["study"] + "/" + parts["file"],
        "patient_id": parts["patient"],
        "study_id": parts["patient"] + "/" + parts["study"],
        "view": projection.where(parts["view"] == "frontal", "L"),
        "kind": parts["view"],
        "table": str(path),
    }
    return pd.DataFrame(found).join([table_metadata(frame, METADATA), _labels(frame, path)])


def _labels(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Label columns of all tasks; what is not mentioned is negative under every policy."""
    policies = {one: labels(frame, uncertain=one, blank="negative", path=path) for one in POLICIES}
    columns: dict[str, pd.Series] = {}
    for policy, found in policies.items():
        columns |= {f"findings14_{policy}:{name}": found[name] for name in OBSERVATIONS}
        columns |= {f"competition_{policy}:{name}": found[name] for name in COMPETITION}
    for policy, ones in MIXED.items():
        of = {name: policies["u_ones" if name in ones else "u_zeros"][name] for name in COMPETITION}
        columns |= {f"competition_{policy}:{name}": found for name, found in of.items()}
    return pd.DataFrame(columns)


def _split(parts: dict[str, pd.DataFrame], params: Params, roots: Mapping[str, Path]) -> pd.DataFrame:
    """The rows of all tables with their splits."""
    if isinstance(pack := params.lists, packs.Pack):
        frame, official = pd.concat(parts.values(), ignore_index=True), parts[TRAIN]["image_id"]
        frame = listed_rows(frame, pack, read_pack(pack, roots), root=roots[packs.ROOT], missing=params.missing)
        # What is in no list is the rest of the official training images, and of these alone.
        frame.loc[(frame["split"] == "train") & ~frame["image_id"].isin(official), "split"] = ""
        return frame
    if params.split == "official_valid":
        patients = parts[TRAIN]["patient_id"]
        held = patient_part(patients, dataset="chexpert", seed=params.split_seed, share=params.val_share)
        parts[TRAIN] = parts[TRAIN].assign(split=np.where(held, "val", "train"))
        parts[VALID] = parts[VALID].assign(split="test")
    else:
        splits = {TRAIN: "train", VALID: "val", TEST: "test"}
        parts = {name: part.assign(split=splits[name]) for name, part in parts.items()}
    return pd.concat(parts.values(), ignore_index=True)


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the tables that is on disk.

    Raises:
        DataError: see the functions above, `refers_bench.data.split_packs` and
            `refers_bench.data.index.finished_index`; with ``missing: refuse``, an image that is not there.
    """
    frame = _split({name: read_part(root, name) for name in params.tables}, params, lists)
    if params.views == "frontal":
        frame = frame[frame["kind"] == "frontal"].reset_index(drop=True)
    folders = patient_folders(root)
    names = zip(frame["image_id"], frame["patient_id"], strict=True)
    paths = {image: f"{folders.get(patient, '')}/{image.partition('/')[2]}.jpg" for image, patient in names}
    sizes = shared_out(file_sizes, list(paths.values()), str(root), worth=50_000)
    there = {image: path for (image, path), size in zip(paths.items(), sizes, strict=True) if size >= 0}
    frame = with_images(frame.assign(report=None), there, root=root, ending=".jpg", missing=params.missing)
    spread = packs.accepted(params.lists)
    return finished_index(frame.drop(columns="kind"), root=root, table=root, spread=spread)


def expected(params: Params) -> dict[str, int]:
    """Documented counts; how many patients and studies have a frontal radiograph is not documented."""
    noun = "frontal" if params.views == "frontal" else "images"
    images = {name: COUNTS[name][noun] for name in params.tables}
    counts = {"images": sum(images.values()), "test images": images[params.tables[-1]]}
    if params.split == "official_test":
        counts |= {"train images": images[TRAIN], "val images": images[VALID]}
    if params.views == "all":
        counts |= {of: sum(COUNTS[name][of] for name in params.tables) for of in ("patients", "studies")}
        counts |= packs.expected(params.lists)
    return counts


def _phantom_labels(study: radiographs.PhantomStudy, table: str) -> dict[str, str]:
    """What a labeller reads from the report; what radiologists see is decided throughout."""
    if table == TRAIN:
        rng = np.random.default_rng(identity.seed("chexpert phantom labels", study.number, study.report))
        row = mimic.label_row(study, rng=rng)
    else:
        seen = {name for finding in study.findings for name in mimic.LABELS[finding]} or {"No Finding"}
        row = {name: POSITIVE if name in seen else NEGATIVE for name in FINDINGS_14}
    return {name: row[name] for name in OBSERVATIONS}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as the small release, with the test set beside it: tables, ``train/patientNNNNN/...``.

    Studies of the test split are in ``valid.csv``, which tests by default.
    """
    release = "CheXpert-v1.0-small"
    places = {"train": (TRAIN, release), "test": (VALID, release), "val": (TEST, "CheXpert")}
    rows: dict[str, list[dict[str, str]]] = {TRAIN: [], VALID: [], TEST: []}
    for study in radiographs.studies(params):
        table, top = places[study.split]
        rng = np.random.default_rng(identity.seed("chexpert phantom", params.seed, study.patient))
        person = {"Sex": ("Female", "Male")[int(rng.integers(2))], "Age": str(int(rng.integers(18, 91)))}
        part = table.removesuffix("_labels.csv").removesuffix(".csv")
        place = f"{part}/patient{study.patient + 1:05d}/study{study.number - study.patient + 1}"
        (root / top / place).mkdir(parents=True)
        for number, view in enumerate(study.views, start=1):
            frontal = view.view != "L"
            file = f"{place}/view{number}_{'frontal' if frontal else 'lateral'}.jpg"
            Image.fromarray(view.pixels_HW).save(root / top / file, quality=95)
            facts = {**person, "Frontal/Lateral": VIEWS[not frontal], "AP/PA": view.view if frontal else ""}
            about = {"Path": file} if table == TEST else {"Path": f"{top}/{file}", **facts}
            rows[table].append({**about, **_phantom_labels(study, table)})
    for table, lines in rows.items():
        folder = root / ("CheXpert" if table == TEST else release)
        folder.mkdir(exist_ok=True)
        pd.DataFrame(lines).to_csv(folder / table, index=False)


_WORDS = {
    "u_zeros": "uncertain is negative",
    "u_ones": "uncertain is positive",
    "u_ignore": "uncertain is masked",
    "mrm": "uncertain as MRM: positive but for cardiomegaly, consolidation",
    "libauc": "uncertain as LibAUC: positive for atelectasis, edema",
}

DATASET = Dataset(
    label="CheXpert",
    source="stanfordaimi.azurewebsites.net: CheXpert-v1.0 or CheXpert-v1.0-small; the test set with CheXlocalize",
    licence="Stanford University research use agreement: no redistribution",
    impl=1,
    Params=Params,
    tasks={
        **{
            f"competition_{one}": Task(label=f"CheXpert, 5 classes, {words}", classes=COMPETITION)
            for one, words in _WORDS.items()
        },
        **{
            f"findings14_{one}": Task(label=f"CheXpert, 14 classes, {_WORDS[one]}", classes=OBSERVATIONS)
            for one in POLICIES
        },
    },
    formats=lambda params: ("JPEG",),
    index=index,
    lists=lambda params: params.lists,
    notes=lambda params: packs.notes(params.lists),
    source_task="findings14_u_zeros",
    expected=expected,
    citation=(
        "Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison, "
        "AAAI 2019"
    ),
    quirks=(
        "training labels were read from reports, those of valid.csv and of the test set by radiologists from images",
        "others select and test on the official valid set; here it never does both",
        "atelectasis, consolidation and pneumonia are uncertain about as often as positive, or more often: the policy "
        "decides what these classes are, so each policy is a task of its own",
        "CheXWorld declares MRM's policy, but the code that it runs (LibAUC's) counts uncertain effusions as negative",
        "U-MultiClass and U-SelfTrained are no 0/1 labels and are not offered",
        "published figures are on frontal images (GLoRIA) or on all of them (MRM), per image or, in the paper, per "
        "study (the highest score of its views); here they are per image",
        "MRM's validation list was drawn by image: its patients are in its training list",
        "the valid set has no fracture, one lung lesion and one other pleural finding",
        "17 frontal images have the projections LL and RL, one person has the sex Unknown, ages begin at 0",
        "the test set's table has neither sex, age nor projection",
    ),
    write_layout=write_layout,
)
