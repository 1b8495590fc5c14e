"""COVIDx (CXR-3 and CXR-4), as Kaggle distributes them: lists of images from many sources, in folders of splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.audit.naming import short
from refers_bench.data.folders import checked_name
from refers_bench.data.index import finished_index
from refers_bench.data.metadata import picture_sizes
from refers_bench.data.official_tables import refuse, with_images
from refers_bench.data.phantoms import radiographs
from refers_bench.data.split_packs import listed_rows, read_pack, with_nih_patients, with_validation
from refers_bench.errors import DataError, Problem, unknown
from refers_bench.files import plain_file
from refers_bench.manifest import packs
from refers_bench.plugins import SUBSETS, Dataset, Task

#: Version -> split (and folder of its images) -> list.
LISTS: Mapping[str, Mapping[str, str]] = {
    "cxr3": {"train": "train_COVIDx9A.txt", "test": "test_COVIDx9A.txt"},
    "cxr4": {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
}
#: Version -> word of its lists -> class.
WORDS: Mapping[str, Mapping[str, str]] = {
    "cxr3": {"COVID-19": "COVID-19", "pneumonia": "Pneumonia", "normal": "Normal"},
    "cxr4": {"positive": "COVID-19", "negative": ""},
}
CLASSES = ("COVID-19", "Pneumonia", "Normal")
#: Source of the images that are the RSNA challenge's, and how 199 lines of CXR-3 spell it.
RSNA, _MISSPELT = "rsna", {"rnsa": "rsna"}
#: A person's images are those of the first of these splits that has one.
_ORDER = ("test", "val", "train")
#: Published lists -> the version whose images they name.
PACKS = {"covidx-cxr3-evax": "cxr3", "covidx-cxr4-benchx": "cxr4"}
#: Lines of BenchX's lists, some of which repeat a name that several images have.
BENCHX = {"listed train images": 67_862, "listed val images": 8_472, "listed test images": 8_481}


class Params(BaseModel, extra="forbid", frozen=True):
    """Which version, and whose radiographs they are."""

    version: Literal["cxr3", "cxr4"] = Field(
        default="cxr3",
        description="cxr3: Kaggle's version 5, three classes, lists 9A, no validation list; cxr4: version 9, COVID-19 "
        "against the rest, three lists",
    )
    val_share: float = Field(
        default=0.1, gt=0, lt=1, description="share of the training patients that validate (version: cxr3)"
    )
    split_seed: int = Field(default=0, ge=0, description="of that part")
    nih_map: str = Field(
        default="",
        description="data root with rsna_to_nih.csv (split pack rsna-nih-map): patients of the RSNA images are NIH "
        "ChestX-ray14's; '': each of these images is its own patient",
    )
    missing: Literal["skip", "refuse"] = Field(
        default="refuse", description="lines of the lists without an image; of published ones, without an official line"
    )
    # It came later: without lists it is in no key.
    lists: packs.Named = Field(
        default="",
        description="{pack: NAME} of published lists of the version, in place of the official ones: covidx-cxr3-evax "
        "(cxr3), covidx-cxr4-benchx (cxr4)",
        exclude_if=lambda value: value == "",
    )

    @model_validator(mode="after")
    def _lists_fit(self) -> Params:
        packs.fitting(self.lists, "covidx")
        version = PACKS.get(self.lists.pack, self.version) if isinstance(self.lists, packs.Pack) else self.version
        if version != self.version:
            raise ValueError(f"version: {version} for these lists, or other lists")
        return self


def read_lists(root: Path, version: str) -> pd.DataFrame:
    """Lines of a version's lists: columns patient, image_id (the file, with its ending), word, source, split, table.

    A file keeps its ending: two images of CXR-3 differ in it alone. A name may hold several dots, a patient blanks.

    Raises:
        DataError: a missing list, a malformed line, an unknown class, or a file in two places.
    """
    rows, problems, seen = [], [], dict[str, str]()
    words = WORDS[version]
    for split, name in LISTS[version].items():
        path = plain_file(root / name)
        if not path.is_file():
            allowed = f"{', '.join(LISTS[version].values())} ({version}, as downloaded); or another version"
            raise DataError("missing list", allowed=allowed, path=path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError("not UTF-8 text", allowed="a list as downloaded", path=path) from error
        for line, text in enumerate(lines, start=1):
            parts = text.strip().rsplit(maxsplit=3)
            if len(parts) != 4 or "/" in parts[1]:
                allowed = "'patient file class source', the file without a folder"
                problems.append(Problem(found=f"'{text.strip()[:80]}'", allowed=allowed, path=path, line=line))
                continue
            patient, file, word, source = parts
            if word not in words:
                problems.append(unknown("class", word, words, path=path, line=line))
            if file in seen:
                found = f"'{file}' is in {seen[file]}, too"
                problems.append(Problem(found=found, allowed="each file once", path=path, line=line))
            seen[file] = name
            rows.append((patient, file, word, _MISSPELT.get(source, source), split, str(path)))
    refuse(problems)
    return pd.DataFrame(rows, columns=["patient", "image_id", "word", "source", "split", "table"])


def _patients(frame: pd.DataFrame, folder: Path | None) -> pd.Series:
    """Person of each image: a source's own number, or the NIH patient of an RSNA image."""
    own = frame["source"] + "/" + frame["patient"]
    if folder is None:
        return own
    rsna = frame["image_id"].str.rpartition(".")[0].where(frame["source"] == RSNA)
    return with_nih_patients(own, rsna, folder, prefix="nih/")


def _cut(name: str) -> str:
    """Folder and name of an image up to its first dot, as BenchX writes it."""
    return (PurePosixPath(name).parent / short(name)).as_posix()


def _packed(frame: pd.DataFrame, pack: packs.Pack, roots: Mapping[str, Path], *, missing: str) -> pd.DataFrame:
    """The rows with splits and label subsets of published lists.

    A name of BenchX's that is cut at its first dot is that of each image of its folder that begins with it. Lists hold
    all of these, as often as there are; which of them a label subset means is not known, so they are in none.
    """
    if PACKS.get(pack.pack) != "cxr4":
        return listed_rows(frame, pack, read_pack(pack, roots), root=roots[packs.ROOT], missing=missing)
    ids = (frame["split"] + "/" + frame["image_id"]).map(_cut)
    listed = read_pack(pack, roots, image=_cut)
    frame = listed_rows(frame, pack, listed, root=roots[packs.ROOT], missing=missing, ids=ids)
    frame.loc[ids.duplicated(keep=False), SUBSETS] = ""
    return frame


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per line of the version's lists.

    Images of a person who is in several lists stay in the test list, else in the validation list; the others are not
    used, unless published lists that have them are accepted.

    Raises:
        DataError: see `read_lists`, `refers_bench.data.split_packs` and `refers_bench.data.index.finished_index`; with
            ``missing: refuse``, an image that is not there.
    """
    frame = read_lists(root, params.version)
    frame["patient_id"] = _patients(frame, lists[params.nih_map] if params.nih_map else None)
    if isinstance(params.lists, packs.Pack):
        frame = _packed(frame, params.lists, lists, missing=params.missing)
    else:
        rank = frame["split"].map({split: place for place, split in enumerate(_ORDER)})
        frame.loc[rank > rank.groupby(frame["patient_id"]).transform("min"), "split"] = ""
    if "val" not in LISTS[params.version]:
        frame = with_validation(frame, dataset="covidx", seed=params.split_seed, share=params.val_share)
    kind = frame["word"].map(WORDS[params.version])
    frame["covid19:COVID-19"] = (kind == "COVID-19").astype("Int8")
    for name in CLASSES:
        known = kind == name if params.version == "cxr3" else pd.Series(pd.NA, index=frame.index)
        frame[f"three_classes:{name}"] = known.astype("Int8")
    frame = frame.assign(study_id=frame["image_id"], view="", report=None, **{"about:source": frame["source"]})
    files = {
        path.name: f"{folder}/{path.name}"
        for folder in LISTS[params.version]
        if (root / folder).is_dir()
        for path in map(checked_name, (root / folder).iterdir())
    }
    frame = with_images(frame, files, root=root, missing=params.missing).reset_index(drop=True)
    frame = frame.join(picture_sizes(frame["path"].tolist(), root))
    table = root / LISTS[params.version]["train"]
    return finished_index(frame, root=root, table=table, spread=packs.accepted(params.lists))


#: Word of CXR-3 -> findings of a phantom, its share, and the sources that such images come from.
_PHANTOM = {
    "COVID-19": (frozenset({"Interstitial"}), 0.4, ("stonybrook", "ricord", "sirm")),
    "pneumonia": (frozenset({"Consolidation"}), 0.3, (RSNA, "cohen")),
    "normal": (frozenset[str](), 0.3, (RSNA, "rnsa")),
}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies with the lists of both versions; CXR-3 does not name the images of ``val/``."""
    lines: dict[str, list[str]] = {name: [] for lists in LISTS.values() for name in lists.values()}
    for split in LISTS["cxr4"]:
        (root / split).mkdir()
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("covidx phantom", params.seed, number))
        word = str(rng.choice(list(_PHANTOM), p=[share for _, share, _ in _PHANTOM.values()]))
        findings, _, sources = _PHANTOM[word]
        source = str(rng.choice(sources))
        study = radiographs.study(params, number, findings=findings)
        code = hashlib.sha256(f"covidx phantom {params.seed} {study.patient}".encode()).hexdigest()[:12]
        for place, view in enumerate(view for view in study.views if view.view != "L"):
            # Several dots, as in the names of some sources.
            file = f"{code}-8.{number}-{place}.{'png' if source in (RSNA, 'rnsa') else 'jpg'}"
            Image.fromarray(view.pixels_HW).save(root / study.split / file)
            if study.split in LISTS["cxr3"]:
                lines[LISTS["cxr3"][study.split]].append(f"{code} {file} {word} {source}")
            binary = "positive" if word == "COVID-19" else "negative"
            lines[LISTS["cxr4"][study.split]].append(f"{code} {file} {binary} {source}")
    for name, text in lines.items():
        (root / name).write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def _expected(params: Params) -> Mapping[str, int]:
    """Counts of the lists; a map of patients takes training images of test patients out."""
    if isinstance(params.lists, packs.Pack):
        images = {"images": 30_530 if params.version == "cxr3" else 84_818}
        # Part of the training images of CXR-3 validates, and BenchX's names are those of several images.
        return {**images, **({"test images": 400} if params.version == "cxr3" else BENCHX)}
    if params.version == "cxr3":
        return {"images": 30_530, "test images": 400}
    train = {} if params.nih_map else {"train images": 67_863, "val images": 8_473}
    return {"images": 84_818, "test images": 8_482, **train}


DATASET = Dataset(
    label="COVIDx",
    source="kaggle.com: andyczhao/covidx-cxr2, version 5 (CXR-3) or version 9 (CXR-4)",
    licence="each source's own",
    impl=1,
    Params=Params,
    tasks={
        "covid19": Task(label="COVIDx COVID-19 vs rest", classes=("COVID-19",)),
        "three_classes": Task(label="COVIDx CXR-3 (three classes)", classes=CLASSES),
    },
    formats=lambda params: ("PNG", "JPEG"),
    index=index,
    lists=lambda params: (params.nih_map, params.lists),
    source_task="covid19",
    expected=_expected,
    citation=(
        "Wang, Lin, Wong, COVID-Net, Scientific Reports 2020; Pavlova et al., COVIDx CXR-3, 2022; "
        "Wu et al., COVIDx CXR-4, arXiv 2311.17677, 2023"
    ),
    quirks=(
        "the class can be read from the source: most COVID-19 images are one hospital's, nearly all others are RSNA's",
        "COVIDx without a version names no split: CXR-3 has three classes, CXR-4 two, and three_classes is empty there",
        "13,588 training images and 200 of the 400 test images of CXR-3 are RSNA's, hence NIH ChestX-ray14's",
        "129 of these 200 test images are of NIH patients who have training images (nih_map keeps these unused)",
        "CXR-3 has no validation list: a share of the training patients validates",
        "images of the source cohen are those of covid19_idc: neither is a clean test for models of the other",
        "file names hold several dots, and two of CXR-3 differ in their ending alone: an image is its whole name",
        "199 lines of CXR-3 spell the source rsna as rnsa",
        "patients are each source's own numbers; of RSNA images, which it does not number, the images",
    ),
    notes=lambda params: (
        f"version {params.version.upper().replace('CXR', 'CXR-')}",
        *packs.notes(params.lists, validates=params.val_share),
    ),
    write_layout=write_layout,
)
