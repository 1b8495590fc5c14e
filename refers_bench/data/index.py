"""Checks what every dataset's index must obey, whatever layout it was read from, and splits patients."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from refers_bench import identity, plugins
from refers_bench.data.folders import file_sizes
from refers_bench.data.table_files import table_source
from refers_bench.errors import DataError, Problem, nearest
from refers_bench.machine import shared_out
from refers_bench.plugins import ABOUT, BOX_COLUMNS, INDEX_COLUMNS, SUBSETS, Dataset

if TYPE_CHECKING:
    from pydantic import BaseModel

SPLITS = ("train", "val", "test", "")
#: Stands for an unknown label among int8 numbers.
_UNKNOWN = -128
#: A cell that holds one of these is put in quotation marks.
_QUOTED_FOR = (",", '"', "\n")


@dataclass(frozen=True, kw_only=True)
class Absent:
    """Rows without a file that a reader met.

    Attributes:
        refused: of a reader that refuses them.
        skipped: of one whose parameters ask to leave them out.
    """

    refused: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)


_NOTED: ContextVar[Absent | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def absent_noted() -> Iterator[Absent]:
    """Within this block readers leave out the rows whose file is missing, and note them in the value yielded."""
    noted = Absent()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def leave_out(rows: Iterable[Problem], *, refuse: bool, summary: Problem | None = None) -> None:
    """Refuse, or note, the rows whose file is missing; the reader then leaves them out.

    Args:
        rows: a problem for each; only read where it is raised or noted.
        refuse: whether such rows are an error.
        summary: comes first in the error.

    Raises:
        DataError: `refuse`, and there is a row; not within `absent_noted`.
    """
    noted = _NOTED.get()
    if noted is not None:
        (noted.refused if refuse else noted.skipped).extend(rows)
    elif refuse and (problems := list(rows)):
        raise DataError([summary, *problems] if summary else problems)


def read_table(path: Path, *, required: Iterable[str]) -> pd.DataFrame:
    """A CSV as text columns; empty cells are ''.

    Raises:
        DataError: missing, empty, not UTF-8, malformed, or without a required column.
    """
    try:
        # Plain str objects: the readers go through cells one by one, which columns of Arrow make slow.
        source = table_source(path)
        frame = pd.read_csv(source, dtype=object, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("missing table", allowed="the dataset's folder as downloaded", path=path) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable CSV ({error})", allowed="UTF-8, comma separated", path=path) from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"a damaged file ({error})", allowed="a whole .csv or .csv.gz", path=path) from error
    refuse_more_cells(frame, path)
    required = list(required)
    missing = [name for name in required if name not in frame.columns]
    if missing:
        found = f"no column {', '.join(map(repr, missing))}"
        close = nearest(missing[0], set(frame.columns) - set(required)) if len(missing) == 1 else ""
        raise DataError(found, allowed=", ".join(frame.columns), nearest=close, path=path, line=1)
    return frame


def refuse_more_cells(frame: pd.DataFrame, path: Path) -> None:
    """Refuse a CSV whose rows hold more cells than its first line: pandas takes the first ones for names of rows.

    Raises:
        DataError: it is one; all other cells would stand under the name of the column before theirs.
    """
    if more := frame.index.nlevels if not isinstance(frame.index, pd.RangeIndex) else 0:
        width = len(frame.columns)
        raise DataError(f"{width + more} cells", allowed=f"{width}, as in line 1", path=path, line=2)


def read_index(dataset: Dataset, root: Path, params: BaseModel, lists: Mapping[str, Path]) -> pd.DataFrame:
    """The index that a dataset's reader makes, with the columns that its card promises.

    Args:
        dataset: its card.
        root: its folder.
        params: of its reader.
        lists: name -> folder of the further roots.

    Raises:
        DataError: what the reader refuses; or a column that is missing, unknown or holds something else than labels.
    """
    frame: Any = dataset.index(root, params, lists)
    if not isinstance(frame, pd.DataFrame):
        found = f"the reader of {dataset.label} gives a {type(frame).__name__}"
        raise DataError(found, allowed="a DataFrame, from finished_index()", path=root)
    tasks = {name: task for name, task in dataset.tasks.items() if not task.any_of}
    labels = [f"{name}:{one}" for name, task in tasks.items() for one in task.classes]
    labels += [column for name, task in tasks.items() if not task.classes for column in label_columns(frame, name)]
    wanted = [*INDEX_COLUMNS, "bytes", *labels]
    problems = []

    def wrong(found: str, allowed: str) -> None:
        problems.append(Problem(found=f"the index of {dataset.label} {found}", allowed=allowed, path=root))

    for name in wanted:
        if name not in frame.columns:
            wrong(f"has no column '{name}'", "the columns of refers_bench.plugins.INDEX_COLUMNS and one for each label")
    for name in label_columns(frame):
        if name not in wanted:
            wrong(f"has a column '{name}', which is no class of a task", ", ".join(labels) or "no label")
    for name in (name for name in labels if name in frame.columns):
        values = sorted(map(str, frame[name].dropna().unique()))
        if str(frame[name].dtype) != "Int8" or not set(values) <= {"0", "1"}:
            wrong(f"has a column '{name}' of {frame[name].dtype} with {', '.join(values[:5])}", "Int8 with 0, 1, null")
    if problems:
        raise DataError(problems)
    found_index: pd.DataFrame = frame
    return found_index


def limited(index: pd.DataFrame, *, dataset: str, limit: int) -> pd.DataFrame:
    """At most so many images of each split, the same whenever and wherever they are chosen.

    Each split is put in an order that begins with images which, between them, have every label value that there is, so
    that few images suffice for an AUC. The others follow, patient by patient, by a hash of their names. A lower limit
    gives a part of what a higher one gives.

    Args:
        index: as `read_index` gives it.
        dataset: id, which the order depends on.
        limit: images of each split.
    """
    labels = label_columns(index)
    kept: list[int] = []
    for _, rows in index.groupby("split", sort=True):
        places = {name: identity.seed("limit", dataset, str(name)) for name in rows["patient_id"].unique()}
        order = rows.assign(place=rows["patient_id"].map(places)).sort_values(["place", "image_id"])
        values = [(order[name] == value).fillna(False) for name in labels for value in (1, 0)]
        first = [order.index[one.to_numpy(bool)][0] for one in values if one.any()]
        kept += list(dict.fromkeys((*first, *order.index)))[:limit]
    return index.loc[sorted(kept)]


def finished_index(
    frame: pd.DataFrame, *, root: Path, table: Path, sizes: Callable[[], list[int]] | None = None, spread: bool = False
) -> pd.DataFrame:
    """Check an index, add file sizes, sort it by image.

    Args:
        frame: `INDEX_COLUMNS`, Int8 label columns, and columns of metadata: numbers, or text; perhaps `SUBSETS`.
        root: the dataset's folder.
        table: the file the rows come from, for messages.
        sizes: gives the bytes of each row's file, see `file_sizes`, where a reader has begun to ask for them.
        spread: whether published lists may put a patient into two splits, as a user accepted; tables then say so.

    Raises:
        DataError: no row, duplicate ids, a path outside the root, an unknown split, a patient in two splits, or
            a file that is not there (see `leave_out`).
    """
    problems = []

    def wrong(found: str, allowed: str) -> None:
        problems.append(Problem(found=found, allowed=allowed, path=table))

    if frame.empty:
        raise DataError("no usable row", allowed="at least one image with its row", path=table)
    for image_id in frame.loc[frame["image_id"].duplicated(), "image_id"].unique()[:5]:
        wrong(f"image '{image_id}' is listed twice", "each image once")
    paths = frame["path"].tolist()
    for path in paths:
        if path.startswith("/") or (".." in path and ".." in path.split("/")):
            wrong(f"path '{path}' leads outside the root", f"below {root}")
    for split in sorted(set(frame["split"].unique()) - set(SPLITS)):
        wrong(f"unknown split '{split}'", ", ".join(SPLITS[:3]))
    used = frame[frame["split"] != ""]
    places = used.groupby("patient_id")["split"].nunique()
    for patient in places[places > 1].index[:5] if not spread else ():
        splits = ", ".join(sorted(used.loc[used["patient_id"] == patient, "split"].unique()))
        wrong(f"patient '{patient}' is in {splits}", "one split per patient")
    if problems:
        raise DataError(problems)
    found = sizes() if sizes else shared_out(file_sizes, paths, str(root), worth=50_000)
    gone = [path for path, size in zip(paths, found, strict=True) if size < 0]
    leave_out(missing_images(gone, root=root), refuse=True)
    if gone:
        frame = frame[~frame["path"].isin(gone)]
    labels, about = sorted(label_columns(frame)), sorted(metadata_columns(frame))
    frame = frame.assign(bytes=pd.Series([size for size in found if size >= 0], index=frame.index, dtype="int64"))
    named = [SUBSETS] if SUBSETS in frame.columns else []
    frame = frame[[*INDEX_COLUMNS, *named, "bytes", *labels, *about]].sort_values("image_id", ignore_index=True)
    return frame.astype(dict.fromkeys(labels, "Int8")).assign(**{name: _known(frame[name]) for name in about})


def label_columns(frame: pd.DataFrame, task: str = "") -> list[str]:
    """Names of an index's columns of labels, ``"<task>:<class>"``; those of one task, or of all."""
    names = [name for name in frame.columns if ":" in name and not name.startswith(ABOUT)]
    return [name for name in names if not task or name.startswith(f"{task}:")]


def rows_of_task(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Rows of an index with at least one known label of a task."""
    return frame[frame[label_columns(frame, task)].notna().any(axis=1)]


def metadata_columns(frame: pd.DataFrame) -> list[str]:
    """Names of an index's columns of metadata, ``"about:<name>"``."""
    return [name for name in frame.columns if name.startswith(ABOUT)]


def _known(column: pd.Series) -> pd.Series:
    """Metadata as float64 or as text without blanks around it; null where nothing is known."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype("float64")
    return pd.Series([str(value).strip() or None if pd.notna(value) else None for value in column], dtype=object)


def not_there(count: int, total: int, root: Path, *, what: str = "images") -> Problem:
    """How many of all are missing, and what the user can do about it."""
    found = f"{count} of {total} {what} are not there (missing=skip leaves them out)"
    return Problem(found=found, path=root)


def missing_images(paths: Iterable[str], *, root: Path) -> Iterator[Problem]:
    """A problem for each of these paths below the root."""
    return (Problem(found="missing image", path=root / path) for path in paths)


def finished_boxes(frame: pd.DataFrame, *, path: Path) -> pd.DataFrame:
    """Check annotated boxes and sort them.

    Args:
        frame: `BOX_COLUMNS`; numbers may be text.
        path: the file the rows come from, for messages.

    Raises:
        DataError: a value that is no number, an empty box, or one that leaves its image by more than 2 % of its side.
    """
    sides = list(BOX_COLUMNS[3:])
    values = frame[sides].apply(pd.to_numeric, errors="coerce")
    right, bottom = values["left"] + values["width"], values["top"] + values["height"]
    good = (values["width"] > 0) & (values["height"] > 0) & (values[["left", "top"]].min(axis=1) >= -0.02)
    good &= (right <= 1.02) & (bottom <= 1.02)
    problems = []
    for _, row in frame[~good].head(20).iterrows():
        found = f"box of '{row['image_id']}' at {', '.join(str(row[side]) for side in sides)}"
        allowed = "left, top, width, height within the image, as shares of its sides"
        problems.append(Problem(found=found, allowed=allowed, path=path))
    if problems:
        raise DataError(problems)
    frame = frame.assign(**{side: values[side].astype(float) for side in sides})
    return frame[list(BOX_COLUMNS)].sort_values(list(BOX_COLUMNS), ignore_index=True)


def leak(frame: pd.DataFrame) -> dict[str, int]:
    """Test images, and test patients, whose patient is also trained on; {} for none.

    Args:
        frame: as `finished_index` returns it with ``spread=True``.

    Returns:
        "images" of "of_images", "patients" of "of_patients".
    """
    train = set(frame.loc[frame["split"] == "train", "patient_id"])
    test = frame.loc[frame["split"] == "test", "patient_id"]
    inside = test[test.isin(train)]
    if inside.empty:
        return {}
    counts = {"images": len(inside), "of_images": len(test)}
    return {**counts, "patients": int(inside.nunique()), "of_patients": int(test.nunique())}


def patient_split(patients: pd.Series, *, dataset: str, seed: int, train: float = 0.7, val: float = 0.1) -> pd.Series:
    """A seeded patient-wise split, 70/10/20 by default: each patient's place is a hash of its own name."""
    names = sorted(patients.unique(), key=lambda name: identity.seed("patient split", dataset, seed, str(name)))
    cuts = (round(train * len(names)), round((train + val) * len(names)))
    where = {name: "train" if i < cuts[0] else "val" if i < cuts[1] else "test" for i, name in enumerate(names)}
    return patients.map(where)


def patient_part(patients: pd.Series, *, dataset: str, seed: int, share: float) -> pd.Series:
    """Whether each image belongs to a seeded share of the patients, such as those of a validation split."""
    names = sorted(patients.unique(), key=lambda name: identity.seed("patient part", dataset, seed, str(name)))
    return patients.isin(names[: round(share * len(names))])


def digest(frame: pd.DataFrame) -> str:
    """Identity of an index or of annotated boxes: all rows and values; not where the folder stands, nor metadata.

    Args:
        frame: as `finished_index` or `finished_boxes` returns it.
    """
    index = set(INDEX_COLUMNS) <= set(frame.columns)
    frame = frame.drop(columns=metadata_columns(frame))
    text = csv_text(frame) if index else frame.to_csv(index=False, lineterminator="\n")
    return identity.key({"columns": list(frame.columns), "rows": text})


def with_task(frame: pd.DataFrame, dataset: str, task: str) -> pd.DataFrame:
    """An index with the label columns of a task, which it lacks where they follow from another task's.

    Args:
        frame: index rows.
        dataset: id of the plug-in that reads it.
        task: of the dataset; see `refers_bench.plugins.Task.any_of`.
    """
    one = plugins.load("dataset", dataset).tasks[task]
    if not one.any_of:
        return frame
    labels = frame[label_columns(frame, one.any_of)]
    positive = labels.eq(1).fillna(False).any(axis=1)
    label = positive.astype("Int8").where(positive | labels.notna().all(axis=1))
    return frame.assign(**{f"{task}:{one.classes[0]}": label})


def metadata_digest(frame: pd.DataFrame) -> str:
    """Identity of an index's metadata, image by image; '' where it has none.

    Args:
        frame: as `finished_index` returns it.
    """
    columns = ["image_id", *metadata_columns(frame)]
    text = frame[columns].to_csv(index=False, lineterminator="\n")
    return identity.key({"columns": columns, "rows": text}) if columns[1:] else ""


def csv_text(frame: pd.DataFrame) -> str:
    """An index as `DataFrame.to_csv` writes it (no row names, lines end with a newline), several times faster.

    Metadata are left out.

    Args:
        frame: text and integers, then Int8 label columns, as `finished_index` returns it.
    """
    labels = label_columns(frame)
    head = [name for name in frame.columns if ":" not in name]
    lines = list(map(",".join, zip(*(_cells(frame[name]) for name in head), strict=True)))
    if labels:
        # Images share few combinations of labels: each is written once.
        content = frame[labels].to_numpy(dtype=np.int8, na_value=_UNKNOWN).tobytes()
        rows = [content[start : start + len(labels)] for start in range(0, len(content), len(labels))]
        endings: dict[bytes, str] = {}
        for values in set(rows):
            cells = np.frombuffer(values, np.int8).tolist()
            endings[values] = "".join("," if cell == _UNKNOWN else f",{cell}" for cell in cells)
        lines = list(map(str.__add__, lines, map(endings.__getitem__, rows)))
    return "\n".join([",".join(_quoted([*head, *labels])), *lines, ""])


def _cells(column: pd.Series) -> list[str]:
    """The cells of a column as a CSV shows them; '' for a missing one."""
    if pd.api.types.is_integer_dtype(column.dtype):
        return list(map(str, column.tolist()))
    return _quoted(column.where(column.notna(), "").tolist())


def _quoted(texts: list[str]) -> list[str]:
    """With quotation marks around those texts that need them."""
    everything = "".join(texts)
    if not any(sign in everything for sign in _QUOTED_FOR):
        return texts
    doubled = (text.replace('"', '""') if any(sign in text for sign in _QUOTED_FOR) else None for text in texts)
    return [text if inner is None else f'"{inner}"' for text, inner in zip(texts, doubled, strict=True)]
