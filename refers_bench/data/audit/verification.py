"""Is a dataset on disk what its owners document, and can every image of it be read?"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench.data.decode import decode
from refers_bench.data.dicom import Reading
from refers_bench.data.problems import first
from refers_bench.errors import DataError, Problem

#: Images that a decoding process takes at a time.
CHUNK = 64
#: Documented counts that can be compared: "images", "val studies", "listed test images", "studies with text".
_COUNTABLE = re.compile(r"(?:(listed) )?(?:(train|val|test|unused) )?(images|studies|patients)( with text)?")
_LABELS = ("positive", "negative", "unknown")
_COLUMNS = {"images": "image_id", "studies": "study_id", "patients": "patient_id"}


@dataclass(frozen=True, kw_only=True)
class Documented:
    """A count of the card, and what was found; None when it cannot be counted with these parameters."""

    what: str
    documented: int
    found: int | None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found out about a dataset's folder.

    Attributes:
        dataset: id.
        label: title.
        root: its folder.
        params: of the reader.
        splits: split ("unused" for none) -> counts of images, studies, patients and studies with text.
        classes: split -> label column -> [positive, negative, unknown].
        documented: counts of the card.
        problems: what is wrong: refused by the reader, or unreadable images.
        missing: how many of the problems are files that are not there.
        skipped: rows that the reader was told to leave out, since their file is not there.
        read: images that were decoded; None when they were not to be.
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
        return tuple(one for one in self.documented if one.found not in (None, one.documented))


def count(frame: pd.DataFrame, what: str, *, listed: bool) -> int | None:
    """What a documented count is here; None when `what` is nothing that an index tells.

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
    return {
        str(split) or "unused": {
            **{noun: int(rows[column].nunique()) for noun, column in _COLUMNS.items()},
            "studies with text": int(rows.loc[rows["report"].notna(), "study_id"].nunique()),
        }
        for split, rows in frame.groupby("split", sort=True)
    }


def class_counts(frame: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Positive, negative and unknown labels of each split and class."""
    columns = [name for name in frame.columns if ":" in name]
    return {
        str(split) or "unused": {
            name: [int((rows[name] == 1).sum()), int((rows[name] == 0).sum()), int(rows[name].isna().sum())]
            for name in columns
        }
        for split, rows in frame.groupby("split", sort=True)
    }


def _unreadable(paths: list[str], *, root: str, dicom: Reading) -> list[Problem]:
    problems: list[Problem] = []
    for path in paths:
        try:
            decode(Path(root) / path, dicom=dicom)
        except DataError as error:
            problems += error.problems
    return problems


def unreadable(
    paths: list[str],
    *,
    root: Path,
    workers: int = 0,
    dicom: Reading = "standard",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Problem]:
    """Decode every image; returns what cannot be read, in the order of the paths.

    Args:
        paths: relative to `root`.
        root: the dataset's folder.
        workers: processes; 0 decodes in this one.
        dicom: how DICOM files are read.
        progress: called with (images done, images in all).
    """
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    check, problems, done = functools.partial(_unreadable, root=str(root), dicom=dicom), list[Problem](), 0

    def results() -> Iterator[list[Problem]]:
        if workers and len(chunks) > workers:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
                yield from pool.map(check, chunks)
        else:
            yield from map(check, chunks)

    for chunk, found in zip(chunks, results(), strict=True):
        problems += found
        done += len(chunk)
        progress(done, len(paths))
    return problems


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
        "documented": [
            {
                "what": one.what,
                "documented": one.documented,
                "found": one.found,
                "same": None if one.found is None else one.found == one.documented,
            }
            for one in found.documented
        ],
        "images_read": found.read,
        "missing": found.missing,
        "skipped": [problem_record(problem) for problem in found.skipped],
        "problems": [problem_record(problem) for problem in found.problems],
    }


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem as plain values."""
    return {
        "found": problem.found,
        "allowed": problem.allowed,
        "path": None if problem.path is None else str(problem.path),
        "line": problem.line,
        "column": problem.column,
    }


def lines(found: Verification, *, whole: Path | None = None) -> Iterator[str]:
    """The verification for people, a line at a time.

    Args:
        found: what is told.
        whole: file that names all problems and rows left out, where only the first ones are to be told here.
    """
    counts = list(found.splits.values())
    images = sum(count["images"] for count in counts)
    yield f"{found.label} ({found.dataset}): {images} images in {found.root}"
    if found.params:
        yield "  read with " + ", ".join(f"{name}={value}" for name, value in found.params.items())
    for split, numbers in found.splits.items():
        yield f"  {split}: " + ", ".join(f"{number} {noun}" for noun, number in numbers.items())
        for name, (positive, negative, unknown) in found.classes[split].items():
            note = "  NO POSITIVE" if split != "unused" and not positive else ""
            yield f"    {name}: {positive} positive, {negative} negative, {unknown} unknown{note}"
    for one in found.documented:
        state = (
            "not counted here"
            if one.found is None
            else "found"
            if one.found == one.documented
            else f"FOUND {one.found}"
        )
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
