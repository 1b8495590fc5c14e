"""MIMIC-CXR-JPG with the reports of MIMIC-CXR: the source dataset of the paper."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14, labels
from refers_bench.data.folders import file_sizes
from refers_bench.data.index import finished_index, leave_out, missing_images, not_there, read_table
from refers_bench.data.official_tables import refuse, table_path, wrong_cells
from refers_bench.data.phantoms import mimic
from refers_bench.data.report_files import read_reports
from refers_bench.data.report_sections import study_text, token_count
from refers_bench.errors import DataError, Problem
from refers_bench.files import plain_file
from refers_bench.machine import begun
from refers_bench.plugins import Dataset, Task

PREFIX = "mimic-cxr-2.0.0-"
SECTIONED, REPORTS_ZIP = "mimic_cxr_sectioned", "mimic-cxr-reports.zip"
#: Folders that may hold p10/p10000032/s50414267.txt, as the archives of the reports unpack.
REPORT_FOLDERS = ("files", "mimic-cxr-reports/files", "mimic-cxr-reports", "reports/files", "reports")
OFFICIAL_SPLITS = ("train", "validate", "test")
#: What the owners' view positions are called here; others (LPO, RAO, ...) keep their names.
VIEWS = {"LATERAL": "L", "LL": "L"}
#: Images, studies and patients of the official splits.
COUNTS = {"train": (368_960, 222_758, 64_586), "val": (2_991, 1_808, 500), "test": (5_159, 3_269, 293)}


class Params(BaseModel, extra="forbid", frozen=True):
    """Which texts, labels, views and splits."""

    split: Literal["paper", "official"] = Field(
        default="paper", description="paper: official validate and test are the held-out validation"
    )
    lists: str = Field(
        default="", description="data root with the released test.txt (held-out studies, a folder a line); '' for none"
    )
    reports: Literal["text", "sectioned", "none"] = Field(
        default="text",
        description="report files; mimic_cxr_sectioned.csv, written by the owners' code; none uses all studies",
    )
    min_tokens: int = Field(default=3, ge=0, description="studies with fewer words are not used; 0 uses all")
    deidentified: Literal["remove", "keep"] = Field(
        default="remove", description="what becomes of ___, the mark of a removed word"
    )
    views: tuple[str, ...] = Field(default=(), description="such as PA, AP, L; empty for all")
    labeler: Literal["chexpert", "negbio"] = Field(default="chexpert", description="whose labels")
    labels: Literal["12", "14"] = Field(
        default="12", description="findings of label-supervised pre-training; 14 adds No Finding and Support Devices"
    )
    uncertain: Literal["u_zeros", "u_ones", "u_ignore"] = Field(
        default="u_zeros", description="what an uncertain mention counts as; u_ignore masks it"
    )
    blank: Literal["negative", "unknown"] = Field(
        default="negative", description="what a finding that is not mentioned counts as"
    )
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="images and reports that are not there")


def _table(root: Path, stem: str, *, required: tuple[str, ...]) -> tuple[pd.DataFrame, Path]:
    path = table_path(root, f"{stem}.csv.gz")
    return read_table(path, required=required), path


def _twice(frame: pd.DataFrame, column: str, what: str, path: Path) -> Iterator[Problem]:
    """Of images or studies that are listed twice."""
    wrong, found, allowed = frame[column].duplicated(), f"{what} '{{}}' is listed twice", f"each {what} once"
    return wrong_cells(frame[column], wrong, found=found, allowed=allowed, path=path)


def images_of(root: Path) -> tuple[pd.DataFrame, Path]:
    """The split table with each image's view; columns dicom_id, study_id, subject_id, split, ViewPosition.

    Raises:
        DataError: a table is missing, malformed, holds an image twice, or another split; the two contradict.
    """
    keys = ("dicom_id", "study_id", "subject_id")
    split, path = _table(root, PREFIX + "split", required=(*keys, "split"))
    facts, facts_path = _table(root, PREFIX + "metadata", required=(*keys, "ViewPosition"))
    problems: list[Problem] = []
    for frame, where in ((split, path), (facts, facts_path)):
        problems += _twice(frame, "dicom_id", "image", where)
        for column in ("study_id", "subject_id"):
            # Few ids are many rows: each is looked at once.
            odd = frame[column].isin([text for text in frame[column].unique() if not re.fullmatch(r"[0-9]{8}", text)])
            problems += wrong_cells(frame[column], odd, found=f"{column} '{{}}'", allowed="eight digits", path=where)
    odd, allowed = ~split["split"].isin(OFFICIAL_SPLITS), ", ".join(OFFICIAL_SPLITS)
    problems += wrong_cells(split["split"], odd, found="unknown split '{}'", allowed=allowed, path=path)
    refuse(problems)
    # By image, then compared: a join on three columns of text takes ten times as long.
    place = pd.Index(facts["dicom_id"]).get_indexer(split["dicom_id"])
    beside = facts.iloc[place].reset_index(drop=True)
    apart = place < 0
    for column in keys[1:]:
        apart |= (beside[column] != split[column]).to_numpy()
    for row in np.flatnonzero(apart)[:5]:
        found = f"no row for image '{split['dicom_id'].iloc[row]}' of study {split['study_id'].iloc[row]}"
        problems.append(Problem(found=found, allowed=f"every image of {path.name}", path=facts_path))
    refuse(problems)
    return split.assign(ViewPosition=beside["ViewPosition"]), path


def folder_of(subject: str, study: str) -> str:
    """Where a study stands below ``files``.

    Example:
        >>> folder_of("10000032", "50414267")
        'p10/p10000032/s50414267'
    """
    return f"p{subject[:2]}/p{subject}/s{study}"


def _report_source(root: Path, places: list[str]) -> Path:
    """Where the reports are: the folder that holds one of the first, or the archive."""
    for folder in REPORT_FOLDERS:
        if any((root / folder / f"{place}.txt").is_file() for place in places[:200]):
            return root / folder
    if not (root / REPORTS_ZIP).is_file():
        allowed = f"files/{places[0]}.txt, as {REPORTS_ZIP} unpacks, or that archive; reports=none does without"
        raise DataError("no report here", allowed=allowed, path=root)
    return root / REPORTS_ZIP


def report_texts(root: Path, studies: pd.DataFrame, *, params: Params) -> dict[str, str]:
    """Study id -> cleaned text, '' where the report has nothing to read; studies whose report is missing are left out.

    Args:
        root: the dataset's folder.
        studies: unique `subject_id`, `study_id`.
        params: where texts come from, and what becomes of removed words.

    Raises:
        DataError: no reports, or one that is not text; with ``missing: refuse``, one that is not there.
    """
    if params.reports == "sectioned":
        return _sectioned(root, params=params)
    pairs = zip(studies["subject_id"].tolist(), studies["study_id"].tolist(), strict=True)
    places = [folder_of(subject, study) for subject, study in pairs]
    source = _report_source(root, places)
    try:
        found = read_reports(source, places, deidentified=params.deidentified)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"a damaged archive ({error})", allowed="a whole .zip", path=source) from error
    texts: dict[str, str] = {}
    problems, absent = [], list[str]()
    for study, place, text in zip(studies["study_id"].tolist(), places, found, strict=True):
        if isinstance(text, str):
            texts[study] = text
        elif text is None:
            absent.append(place)
        else:
            problems.append(Problem(found=f"report {place}.txt: {text.problem}", allowed="text in UTF-8", path=root))
    refuse(problems)
    leave_out(
        (Problem(found=f"no report {place}.txt", allowed="one for each study", path=root) for place in absent),
        refuse=params.missing == "refuse",
        summary=not_there(len(absent), len(studies), root, what="reports"),
    )
    return texts


def _sectioned(root: Path, *, params: Params) -> dict[str, str]:
    columns = ("study", "impression", "findings", "last_paragraph")
    frame, path = _table(root, SECTIONED, required=columns)
    names = frame["study"].str.removeprefix("s")
    refuse(list(_twice(frame.assign(study=names), "study", "study", path)))
    sections: list[Any] = frame[list(columns[1:])].to_dict("records")
    texts = (study_text(section, deidentified=params.deidentified) for section in sections)
    return dict(zip(names, texts, strict=True))


def held_out(folder: Path, studies: pd.Series) -> set[str]:
    """Study ids of the released ``test.txt``: a study's folder a line.

    Raises:
        DataError: no list, a line that names no study, or one that the split table does not hold.
    """
    path = folder / "test.txt"
    if not path.is_file():
        raise DataError("missing list", allowed="test.txt of the release", path=path)
    known, found, problems = set(studies), set[str](), []
    for number, line in enumerate(plain_file(path).read_text(encoding="utf-8").splitlines(), start=1):
        match = re.search(r"s(\d{8})/?\s*$", line)
        if match and match[1] in known:
            found.add(match[1])
        elif line.strip():
            allowed = "a study's folder, such as files/p10/p10000032/s50414267, of the split table"
            problems.append(Problem(found=f"'{line.strip()}'", allowed=allowed, path=path, line=number))
    refuse(problems)
    return found


def splits(frame: pd.DataFrame, *, params: Params, listed: set[str] | None) -> pd.Series:
    """Split of each image: "train", "val", "test", or '' for a held-out patient's study that is not listed."""
    if listed is not None:
        inside = frame["study_id"].isin(listed)
        patients = frame["subject_id"].isin(frame.loc[inside | (frame["split"] != "train"), "subject_id"])
        return pd.Series(np.where(inside, "val", np.where(patients, "", "train")), index=frame.index, dtype=object)
    test = "val" if params.split == "paper" else "test"
    return frame["split"].map({"train": "train", "validate": "val", "test": test}).astype(object)


def _labels(root: Path, frame: pd.DataFrame, *, params: Params) -> pd.DataFrame:
    """Label columns of both tasks for each image; null where the labeller has no row for the study."""
    table, path = _table(root, PREFIX + params.labeler, required=("subject_id", "study_id", *FINDINGS_14))
    refuse(list(_twice(table, "study_id", "study", path)))
    values = labels(table, uncertain=params.uncertain, blank=params.blank, path=path).set_index(table["study_id"])
    values = values.reindex(frame["study_id"]).set_index(frame.index)
    both = (values[list(FINDINGS_12)].add_prefix("findings12:"), values[list(FINDINGS_14)].add_prefix("findings14:"))
    return pd.concat(both, axis=1)


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the split table; studies without text, or of other views, are not used.

    Raises:
        DataError: see `images_of`, `report_texts`, `held_out` and `refers_bench.data.index.finished_index`.
    """
    frame, table = images_of(root)
    # Of the whole table: a held-out study counts, and its patient is held out, whatever is left of it below.
    listed = held_out(lists[params.lists], frame["study_id"]) if params.lists else None
    frame["split"] = splits(frame, params=params, listed=listed)
    if params.views:
        frame = frame[frame["ViewPosition"].replace(VIEWS).isin(params.views)].reset_index(drop=True)
    if params.missing == "skip":
        there = {path: (root / path).is_file() for path in _paths(frame)}
        leave_out(missing_images((path for path in there if not there[path]), root=root), refuse=False)
        frame = frame[list(there.values())].reset_index(drop=True)
    split = frame["split"]
    report: list[str | None] = [None] * len(frame)
    if params.reports != "none" and len(frame):
        texts = report_texts(root, frame[["subject_id", "study_id"]].drop_duplicates("study_id"), params=params)
        report = [texts.get(study) or None for study in frame["study_id"].tolist()]
        if params.min_tokens:
            enough = {study for study, text in texts.items() if token_count(text) >= params.min_tokens}
            split = split.where(frame["study_id"].isin(enough), "")
    paths = _paths(frame)
    sizes = begun(file_sizes, paths, str(root), worth=50_000)
    columns = {
        "image_id": frame["dicom_id"],
        "path": pd.Series(paths, index=frame.index, dtype=object),
        "patient_id": "p" + frame["subject_id"],
        "study_id": "s" + frame["study_id"],
        "view": frame["ViewPosition"].replace(VIEWS),
        "split": split,
        "report": pd.Series(report, index=frame.index, dtype=object),
    }
    found = pd.DataFrame(columns).join(_labels(root, frame, params=params))
    return finished_index(found, root=root, table=table, sizes=sizes)


def _paths(frame: pd.DataFrame) -> list[str]:
    rows = zip(*(frame[name].tolist() for name in ("subject_id", "study_id", "dicom_id")), strict=True)
    return [f"files/{folder_of(subject, study)}/{image}.jpg" for subject, study, image in rows]


def expected(params: Params) -> dict[str, int]:
    """Documented counts; those of the splits where no study is left out for its text."""
    counts = {"images": 377_110, "studies": 227_835, "patients": 65_379}
    if params.views or params.lists or (params.reports != "none" and params.min_tokens):
        return {} if params.views else counts
    parts = dict(COUNTS)
    if params.split == "paper":
        parts["val"] = tuple(a + b for a, b in zip(parts["val"], parts.pop("test"), strict=True))  # type: ignore[assignment]
    nouns = ("images", "studies", "patients")
    by_split = {
        f"{split} {noun}": count for split, part in parts.items() for noun, count in zip(nouns, part, strict=True)
    }
    return counts | by_split


DATASET = Dataset(
    label="MIMIC-CXR-JPG",
    source="physionet.org: MIMIC-CXR-JPG 2.0.0 (images, tables) and MIMIC-CXR 2.0.0 (mimic-cxr-reports.zip)",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    impl=1,
    Params=Params,
    tasks={
        "findings12": Task(label="CheXpert findings", classes=FINDINGS_12),
        "findings14": Task(label="CheXpert findings, with No Finding and Support Devices", classes=FINDINGS_14),
    },
    formats=lambda params: ("JPEG",),
    index=index,
    lists=lambda params: params.lists,
    source_task=lambda params: f"findings{params.labels}",
    has_reports=True,
    expected=expected,
    citation=(
        "Johnson et al., MIMIC-CXR, a de-identified publicly available database of chest radiographs with free-text "
        "reports, Scientific Data 2019; Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042"
    ),
    quirks=(
        "the paper holds out about 4,600 studies, of as many patients as official validate and test have together",
        "with the paper's split, the official test patients serve as validation",
        "test patients have more findings than others: 89.1 % of the studies against 76.5 %",
        "labels were read from one section, the impression if there is one: findings stated elsewhere are unlabelled",
        "8 studies without usable text have no labels",
        "a mention that is negated and one that is uncertain make a label uncertain, even beside a positive one",
        "the owners override 23 section names and 31 character ranges by hand; reports=sectioned takes their table",
        "removed names and dates are ___",
        "the images were inverted by their photometric interpretation and histogram-equalised by the owners",
    ),
    write_layout=mimic.write_layout,
)
