"""Paediatric radiographs of Kermany et al., as Kaggle or Mendeley distributes them: normal, bacterial, viral."""

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
from refers_bench.data.folders import file_sizes, files_below
from refers_bench.data.identical_files import identical_files, joined_groups
from refers_bench.data.index import finished_index, patient_part, patient_split
from refers_bench.data.metadata import picture_sizes
from refers_bench.data.official_tables import refuse
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError, Problem
from refers_bench.plugins import Dataset, Task

KINDS = ("Normal", "Bacterial", "Viral")
#: Folder of a class -> the kinds of its images.
FOLDERS: Mapping[str, tuple[str, ...]] = {"NORMAL": ("Normal",), "PNEUMONIA": ("Bacterial", "Viral")}
PARTS = ("train", "val", "test")
#: Kaggle's names of an image with pneumonia and of a normal one; Mendeley's name of either.
_NAMES = (
    re.compile(r"(?P<group>person\d+)_(?P<kind>bacteria|virus)_\d+(?:_\d+)?"),
    re.compile(r"(?P<group>(?:(?P<kind>NORMAL)2-)?IM-\d+)-\d+(?:-\d+)?"),
    re.compile(r"(?P<kind>NORMAL|BACTERIA|VIRUS)-(?P<group>\d+)-\d+"),
)
_KIND_OF = {"bacteria": "Bacterial", "virus": "Viral", "normal": "Normal"}


class Params(BaseModel, extra="forbid", frozen=True):
    """Where the splits come from."""

    split: Literal["seeded", "official"] = Field(
        default="seeded",
        description="seeded: 70/10/20 of the groups of all images; official: the folder test/, and a seeded "
        "validation part of the groups of the rest",
    )
    val_share: float = Field(
        default=0.125, gt=0, lt=1, description="share of the groups outside test/ that validate (split: official)"
    )
    split_seed: int = Field(default=0, ge=0, description="of the seeded split, or of the validation part")


def kind_and_group(name: str) -> tuple[str, str] | None:
    """(kind, group) of an image's name without ending; None for other names.

    Bacterial and viral images of one person number are a group, whether or not they show one child.

    Example:
        >>> kind_and_group("person447_virus_921_1"), kind_and_group("NORMAL2-IM-0587-0001-0002")
        (('Viral', 'person447'), ('Normal', 'NORMAL2-IM-0587'))
        >>> kind_and_group("BACTERIA-1008087-0001"), kind_and_group("Thumbs")
        (('Bacterial', '1008087'), None)
    """
    for pattern in _NAMES:
        if match := pattern.fullmatch(name):
            return _KIND_OF[(match["kind"] or "normal").lower()], match["group"]
    return None


def image_folders(root: Path) -> list[tuple[str, str]]:
    """(part, folder of a class relative to `root`) of the first layout found; the part is '' where there is none.

    Archives of Kaggle that hold all images a second time have them in a folder of the same name further inside: these
    are not read.

    Raises:
        DataError: no layout is found, or a class has no folder.
    """
    for base in ("", "chest_xray/"):
        for parts in (("",), PARTS):
            places = {part: [f"{base}{part}/{name}".lstrip("/") for name in FOLDERS] for part in parts}
            there = {part: two for part, two in places.items() if any((root / place).is_dir() for place in two)}
            pairs = [(part, place) for part, two in there.items() for place in two]
            refuse([Problem(found="missing folder", path=root / at) for _, at in pairs if not (root / at).is_dir()])
            if pairs:
                return pairs
    allowed = "chest_xray/{train,val,test}/{NORMAL,PNEUMONIA} as downloaded, or NORMAL and PNEUMONIA"
    raise DataError("no radiograph here", allowed=allowed, path=root)


def _images(root: Path) -> pd.DataFrame:
    """Columns part, path, kind and group of every image.

    Raises:
        DataError: no image, or one whose name is unknown or contradicts its folder.
    """
    rows, problems = [], []
    for part, folder in image_folders(root):
        kinds = FOLDERS[folder.rpartition("/")[2]]
        for path in files_below(root / folder, (".jpeg", ".jpg", ".png")):
            known = kind_and_group(path.stem)
            if known is None:
                allowed = "personN_bacteria_N, personN_virus_N, IM-N-N, NORMAL2-IM-N-N, or (NORMAL|BACTERIA|VIRUS)-N-N"
                problems.append(Problem(found=f"unknown image name '{path.stem}'", allowed=allowed, path=path))
            elif known[0] not in kinds:
                found, allowed = f"{known[0].lower()} by its name", " or ".join(kinds).lower()
                problems.append(Problem(found=found, allowed=allowed, path=path))
            else:
                rows.append((part, path.relative_to(root).as_posix(), *known))
    refuse(problems)
    if not rows:
        raise DataError("no radiograph here", allowed="JPEG files in NORMAL and PNEUMONIA", path=root)
    return pd.DataFrame(rows, columns=["part", "path", "kind", "group"])


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; its patient is its group, joined with those groups that hold a file of the same bytes.

    Person numbers begin again in the folder test/: the seeded split keeps images of one number together wherever they
    lie, and the official one takes the two for different children, as its owners say. Training images whose bytes are
    those of a test image then stay unused.

    Raises:
        DataError: see the functions above and `refers_bench.data.index.finished_index`.
    """
    frame = _images(root)
    test = frame["part"] == "test"
    if params.split == "official":
        if not test.any():
            raise DataError("no image in test/", allowed="chest_xray as downloaded, or split: seeded", path=root)
        frame.loc[test, "group"] = "test-" + frame.loc[test, "group"]
    paths = frame["path"].tolist()
    sizes = file_sizes(paths, str(root))
    patients = pd.Series(joined_groups(frame["group"].tolist(), identical_files(paths, sizes=sizes, root=root)))
    if params.split == "official":
        share = params.val_share
        held = patient_part(patients[~test], dataset="kermany_pneumonia", seed=params.split_seed, share=share)
        split = pd.Series("test", index=frame.index, dtype=object)
        split[~test] = np.where(held, "val", "train")
        split[~test & patients.isin(patients[test])] = ""
    else:
        split = patient_split(patients, dataset="kermany_pneumonia", seed=params.split_seed)
    # Names may come twice, in test/ and elsewhere.
    image = np.where(test, "test-", "") + frame["path"].str.extract(r"([^/]+)\.\w+$")[0]
    kind = frame["kind"]
    columns = {
        "image_id": image,
        "path": frame["path"],
        "patient_id": patients,
        "study_id": image,
        "view": "AP",
        "split": split,
        "report": None,
        "pneumonia:Pneumonia": (kind != "Normal").astype(float),
        "viral_vs_bacterial:Viral": kind.map({"Viral": 1.0, "Bacterial": 0.0}),
        **{f"findings:{name}": (kind == name).astype(float) for name in KINDS},
    }
    finished = pd.DataFrame(columns).join(picture_sizes(paths, root))
    return finished_index(finished, root=root, table=root, sizes=lambda: sizes)


#: Kind of a phantom -> its procedural findings, its share, and its word in Kaggle's names.
_PHANTOM = {
    "Normal": (frozenset[str](), 0.3, ""),
    "Bacterial": (frozenset({"Consolidation"}), 0.4, "bacteria"),
    "Viral": (frozenset({"Interstitial"}), 0.3, "virus"),
}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies in Kaggle's layout, without its folder val/."""
    shares = [share for _, share, _ in _PHANTOM.values()]
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("kermany phantom", params.seed, number))
        kind = str(rng.choice(KINDS, p=shares))
        findings, _, word = _PHANTOM[kind]
        study = radiographs.study(params, number, findings=findings)
        part = "test" if study.split == "test" else "train"
        folder = root / "chest_xray" / part / ("PNEUMONIA" if word else "NORMAL")
        folder.mkdir(parents=True, exist_ok=True)
        for place, view in enumerate(study.views):
            count = number * params.views + place + 1
            normal = f"{'NORMAL2-' * (number % 2)}IM-{study.patient + 1:04d}-{count:04d}"
            name = f"person{study.patient + 1}_{word}_{count}" if word else normal
            Image.fromarray(view.pixels_HW).save(folder / f"{name}.jpeg", quality=95)


DATASET = Dataset(
    label="Kermany pneumonia",
    source="kaggle.com: paultimothymooney/chest-xray-pneumonia (chest_xray.zip); or data.mendeley.com: rscbjbr9sj",
    licence="CC BY 4.0",
    impl=1,
    Params=Params,
    tasks={
        "pneumonia": Task(label="Pneumonia vs normal (children)", classes=("Pneumonia",)),
        "viral_vs_bacterial": Task(label="Viral vs bacterial (children)", classes=("Viral",)),
        "findings": Task(label="Normal, bacterial, viral (children)", classes=KINDS),
    },
    formats=lambda params: ("JPEG", "PNG"),
    index=index,
    source_task="findings",
    expected=lambda params: {"images": 5_856, **({"test images": 624} if params.split == "official" else {})},
    citation=(
        "Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning, Cell 2018; "
        "data: doi 10.17632/rscbjbr9sj"
    ),
    quirks=(
        "children of one to five years, one hospital; no metadata beside the file names, which hold the label",
        "5,216 images in train/ (1,341 normal, 2,530 bacterial, 1,345 viral), 16 in val/, 624 in test/",
        "808 of the 1,635 person numbers of train/ occur with bacteria and with viruses: a group, not surely a patient",
        "person numbers begin again in test/, so that names cannot show whether children of train/ are there, too",
        "24 groups of byte-identical files in train/; groups that share a file are joined",
        "normal images and images with pneumonia differ in file size and shape: AUCs near 1 need no anatomy",
        "val/ has 16 images; validation is a share of the groups instead",
    ),
    write_layout=write_layout,
)
