"""Compares a dataset on disk with what its owners document, and reads every image of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench.data.decode import decode
from refers_bench.data.dicom import Reading
from refers_bench.data.index import label_columns
from refers_bench.data.prepare import Progress, silent
from refers_bench.data.problems import first
from refers_bench.errors import DataError, Problem
from refers_bench.machine import shared_out

#: Images that a decoding process takes at a time, and that are worth the start of another process.
CHUNK = 64
#: Documented counts that can be compared: "images", "val studies", "listed test images", "studies with text".
_COUNTABLE = re.compile(r"(?:(listed) )?(?:(train|val|test|unused) )?(images|studies|patients)( with text)?")
_LABELS = ("positive", "negative", "unknown")
_COLUMNS = {"images": "image_id", "studies": "study_id", "patients": "patient_id"}


@dataclass(frozen=True, kw_only=True)
class Documented:
    """A count documented on the dataset's card, and the one found; None where it cannot be counted."""

    what: str
    documented: int
    found: int | None

    @property
    def same(self) -> bool | None:
        """Whether as many were found; None where they cannot be counted."""
        return None if self.found is None else self.found == self.documented


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found in a dataset's folder.

    Attributes:
        dataset: id.
        label: title.
        root: its folder.
        params: of the reader.
        splits: split ("unused" for none) -> counts of images, studies, patients and studies with text.
        classes: split -> label column -> [positive, negative, unknown].
        documented: counts of the card.
        problems: refused by the reader, or unreadable images.
        missing: how many of the problems are missing files.
        skipped: rows left out, as the reader's parameters ask, because their file is missing.
        read: number of images that were decoded; None where decoding was not asked for.
    """

    dataset: str
    label: str
    root: Path
    params: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    documented: tuple[Documented, ...] = ()
    problems: tuple[Problem, ...] = ()
    missing: int = 0
    skipped: tuple[Problem, ...] = ()
    read: int | None = None

    @property
    def differing(self) -> tuple[Documented, ...]:
        """Documented counts that were not found."""
        return tuple(one for one in self.documented if one.same is False)


def count(frame: pd.DataFrame, what: str, *, listed: bool) -> int | None:
    """What a documented count is in this index; None where an index cannot give it.

    Args:
        frame: a dataset's index.
        what: such as "images", "val patients", "studies with text", "listed train images".
        listed: whether the splits come from lists.

    Example:
        >>> frame = pd.DataFrame({"image_id": ["a", "b"], "split": ["train", ""]})
        >>> count(frame, "images", listed=False), count(frame, "listed train images", listed=False)
        (2, None)
    """
    match = _COUNTABLE.fullmatch(what)
    if match is None or (match[1] and not listed):
        return None
    if match[2]:
        frame = frame[frame["split"] == ("" if match[2] == "unused" else match[2])]
    if match[4]:
        frame = frame[frame["report"].notna()]
    return int(frame[_COLUMNS[match[3]]].nunique())


def split_counts(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images, studies, patients and studies with text of each split."""
    found = {}
    for split, rows in frame.groupby("split", sort=True):
        counts = {noun: int(rows[column].nunique()) for noun, column in _COLUMNS.items()}
        counts["studies with text"] = int(rows.loc[rows["report"].notna(), "study_id"].nunique())
        found[str(split) or "unused"] = counts
    return found


def class_counts(frame: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Positive, negative and unknown labels of each split and class."""

    def counts(labels: pd.Series) -> list[int]:
        return [int((labels == 1).sum()), int((labels == 0).sum()), int(labels.isna().sum())]

    columns = label_columns(frame)
    groups = frame.groupby("split", sort=True)
    return {str(split) or "unused": {name: counts(rows[name]) for name in columns} for split, rows in groups}


def _problems(paths: Sequence[str], root: Path, reading: Mapping[str, Any]) -> list[tuple[Problem, ...]]:
    """The problems of each of these images: none for one that can be read."""
    found: list[tuple[Problem, ...]] = []
    for path in paths:
        try:
            decode(root / path, **reading)
            found.append(())
        except DataError as error:
            found.append(error.problems)
    return found


def unreadable(
    paths: list[str],
    *,
    root: Path,
    workers: int = 0,
    dicom: Reading = "standard",
    formats: Sequence[str] = (),
    progress: Progress = silent,
) -> list[Problem]:
    """Decode every image; returns what cannot be read, in the order of the paths.

    Args:
        paths: relative to `root`.
        root: the dataset's folder.
        workers: processes at most, this one among them; fewer where there are fewer cores or images.
        dicom: how DICOM files are read.
        formats: that the files may have; see `refers_bench.data.decode`.
        progress: called with (images done, images in all).
    """
    total = len(paths)

    def counted(done: int) -> None:
        if done < total:
            progress(done, total)

    pieces, processes, reading = max(1, total // CHUNK), max(1, workers), {"dicom": dicom, "formats": formats}
    found = shared_out(_problems, paths, root, reading, worth=CHUNK, pieces=pieces, processes=processes, told=counted)
    progress(total, total)
    return [problem for problems in found for problem in problems]


def record(found: Verification) -> dict[str, Any]:
    """The verification as plain values."""
    return {
        "version": 1,
        "dataset": found.dataset,
        "label": found.label,
        "root": str(found.root),
        "params": dict(found.params),
        "right": not found.problems,
        "splits": {split: dict(counts) for split, counts in found.splits.items()},
        "classes": {
            split: {name: dict(zip(_LABELS, values, strict=True)) for name, values in columns.items()}
            for split, columns in found.classes.items()
        },
        "documented": [{**asdict(one), "same": one.same} for one in found.documented],
        "images_read": found.read,
        "missing": found.missing,
        "skipped": [problem_record(problem) for problem in found.skipped],
        "problems": [problem_record(problem) for problem in found.problems],
    }


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem as plain values."""
    values = asdict(problem) | {"path": None if problem.path is None else str(problem.path)}
    return {name: value for name, value in values.items() if name != "nearest"}


def lines(found: Verification, *, whole: Path | None = None) -> Iterator[str]:
    """The verification for people, a line at a time.

    Args:
        found: what is reported.
        whole: file that lists all problems and rows left out; None lists them all here.
    """
    images = sum(count["images"] for count in found.splits.values())
    yield f"{found.label} ({found.dataset}): {images} images in {found.root}"
    if found.params:
        yield "  read with " + ", ".join(f"{name}={value}" for name, value in found.params.items())
    for split, numbers in found.splits.items():
        yield f"  {split}: " + ", ".join(f"{number} {noun}" for noun, number in numbers.items())
        for name, (positive, negative, unknown) in found.classes[split].items():
            note = "  NO POSITIVE" if split != "unused" and not positive else ""
            yield f"    {name}: {positive} positive, {negative} negative, {unknown} unknown{note}"
    for one in found.documented:
        state = {None: "not counted here", True: "found", False: f"FOUND {one.found}"}[one.same]
        yield f"  documented {one.what}: {one.documented}, {state}"
    if found.splits:
        gone = found.missing + len(found.skipped)
        files = f"{gone} FILES MISSING, their rows left out" if gone else "no file missing"
        yield f"  each image once, no patient in two splits, {files}"
    if found.read is None:
        yield "images were not read"
    elif not found.problems:
        yield "every image could be read"
    for what, problems in (("rows left out", found.skipped), ("problems", found.problems)):
        if problems:
            yield f"{len(problems)} {what}:"
            yield from (f"  {problem}" for problem in (first(problems, whole) if whole else problems))
