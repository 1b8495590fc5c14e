"""Reads the scores that a run gave to each test image and class, in an order in which runs can be compared."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.placements import Units
from refers_bench.errors import UserError

FILE = "predictions.parquet"
#: Label of an image whose label is not known.
UNKNOWN = -1
#: Bytes of predictions that `read_once` keeps, about 100 runs on the test images of NIH ChestX-ray14; and bytes that an
#: image's two ids take where no other run has the same ones.
MOST_KEPT, _OF_IDS = 256 << 20, 150
_Row = TypeVar("_Row")


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Scores of one run on one split, images sorted by id and classes in the order of the task.

    Attributes:
        classes: K names.
        image_ids: N distinct ids.
        patient_ids: N ids; '' where unknown.
        labels_NK: int8, 1, 0 or `UNKNOWN`.
        scores_NK: float32, higher means more likely positive; NaN only in imported files.
    """

    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels_NK: npt.NDArray[np.int8]
    scores_NK: npt.NDArray[np.float32]

    @property
    def patients_known(self) -> bool:
        """Whether the patient of every image is known."""
        return bool(self.patient_ids) and all(self.patient_ids)

    @cached_property
    def units(self) -> Units:
        """What was drawn independently: patients where they are known, else images."""
        return Units.of(len(self.image_ids), self.patients)

    @property
    def patients(self) -> tuple[str, ...] | None:
        """The patient of each image, where all are known and there is more than one; else None."""
        return self.patient_ids if self.patients_known and len(set(self.patient_ids)) > 1 else None

    def differs(self, other: Predictions) -> str:
        """Why the figures of two runs do not compare: other classes, images or labels; '' where they do."""
        if set(self.classes) != set(other.classes):
            return "predictions of other classes"
        if self.image_ids != other.image_ids:
            return "predictions on another list of test images"
        if not np.array_equal(self.labels_NK, other.sorted(self.classes).labels_NK):
            return "other labels of the test images"
        return ""

    def sorted(self, classes: Sequence[str] | None = None) -> Predictions:
        """The same with images sorted by id, and classes in the given order.

        Raises:
            KeyError: a class is not there.
        """
        names = tuple(self.classes if classes is None else classes)
        columns = [self.classes.index(name) for name in names]
        order = sorted(range(len(self.image_ids)), key=self.image_ids.__getitem__)
        return Predictions(
            classes=names,
            image_ids=tuple(self.image_ids[row] for row in order),
            patient_ids=tuple(self.patient_ids[row] for row in order),
            labels_NK=np.ascontiguousarray(self.labels_NK[order][:, columns]),
            scores_NK=np.ascontiguousarray(self.scores_NK[order][:, columns]),
        )


def stacked(
    runs: Mapping[_Row, Sequence[Predictions]], classes: Sequence[str]
) -> tuple[npt.NDArray[np.float32], dict[_Row, list[int]]]:
    """Scores of R runs on the same images, and each row's places in them.

    Args:
        runs: row -> its runs, at least one run in all.
        classes: their order in the result.

    Returns:
        (scores_RNK, row -> places).
    """
    several = [one if one.classes == tuple(classes) else one.sorted(classes) for some in runs.values() for one in some]
    ends = accumulate(map(len, runs.values()), initial=0)
    places = {row: list(range(start, end)) for row, (start, end) in zip(runs, pairwise(ends), strict=True)}
    return np.stack([one.scores_NK for one in several]), places


def read(path: Path, *, split: str = "test", classes: Sequence[str] | None = None) -> Predictions:
    """The stored predictions of one run.

    Args:
        path: ``predictions.parquet`` of the run.
        split: "test" or "val".
        classes: their order; by default as they first occur in the file.

    Raises:
        UserError: unreadable, of another schema, an image twice, or an image without one of the classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from refers_bench.store.schemas import read_table

    table = read_table(path, "predictions", as_dictionaries=["image_id", "patient_id", "class", "split"])
    table = table.filter(pc.equal(pc.cast(table["split"], pa.string()), split))
    return _pivot(table, path=path, classes=classes)


#: File, with its size and time of change -> its test predictions and what they weigh, the last used at the end.
_KEPT: dict[tuple[str, int, int], tuple[Predictions, int]] = {}
_LOCK = threading.Lock()


def read_once(path: Path) -> Predictions:
    """The stored test predictions of one run, shared by all that ask: treat them as read-only.

    The runs that were used last are kept, up to `MOST_KEPT` bytes, so that the tables and figures of a report read each
    file once. Runs on the same images share the ids.

    Raises:
        UserError: as `read`.
    """
    with _LOCK:
        try:
            about = path.stat()
        except OSError:
            return read(path)  # says what is wrong
        key = (str(path), about.st_size, about.st_mtime_ns)
        found, weight = _KEPT.pop(key) if key in _KEPT else _shared(read(path))
        _KEPT[key] = found, weight
        while len(_KEPT) > 1 and sum(weight for _, weight in _KEPT.values()) > MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
        return found


def _shared(found: Predictions) -> tuple[Predictions, int]:
    """Predictions with the ids of the run used last, where they are the same; and what they weigh, in bytes."""
    weight = found.labels_NK.nbytes + found.scores_NK.nbytes
    last = next(reversed(_KEPT.values()), (None, 0))[0]
    if last is not None and (last.image_ids, last.patient_ids) == (found.image_ids, found.patient_ids):
        return replace(found, image_ids=last.image_ids, patient_ids=last.patient_ids), weight
    return found, weight + _OF_IDS * len(found.image_ids)


def _codes(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """(values, index of each row's value) of a dictionary column."""
    whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not len(whole):
        return [], np.zeros(0, np.int64)
    return whole.dictionary.to_pylist(), np.asarray(whole.indices).astype(np.int64)


def _pivot(table: Any, *, path: Path, classes: Sequence[str] | None) -> Predictions:
    """Rows of image x class as matrices, images sorted by id."""
    images, image_of_row = _codes(table["image_id"])
    names, class_of_row = _codes(table["class"])
    patients, patient_of_row = _codes(table["patient_id"])
    # A dictionary may hold values that only rows of another split use.
    used = np.unique(image_of_row)
    used = used[np.argsort(np.array([images[code] for code in used], dtype=object))]
    place = np.full(len(images), -1, np.int64)
    place[used] = np.arange(len(used))
    wanted = (
        tuple(classes) if classes is not None else tuple(dict.fromkeys(names[c] for c in dict.fromkeys(class_of_row)))
    )
    column = np.array([wanted.index(name) if name in wanted else -1 for name in names], np.int64)
    rows, columns = place[image_of_row], column[class_of_row]
    if len(columns) and (columns < 0).any():
        stray = names[int(class_of_row[int(np.argmax(columns < 0))])]
        raise UserError(f"holds the class '{stray}'", allowed=", ".join(wanted), path=path)
    shape = (len(used), len(wanted))
    times = np.bincount(rows * len(wanted) + columns, minlength=shape[0] * shape[1])
    if (times != 1).any():
        row, wrong = divmod(int(np.argmax(times != 1)), len(wanted))
        text = f"image '{images[used[row]]}' has {times[row * len(wanted) + wrong]} rows of the class '{wanted[wrong]}'"
        raise UserError(text, allowed="one row per image and class", path=path)
    labels = np.full(shape, UNKNOWN, np.int8)
    given = np.asarray(table["label"].combine_chunks().fill_null(UNKNOWN))
    if len(given) and not UNKNOWN <= int(given.min()) <= int(given.max()) <= 1:
        raise UserError(f"labels from {given.min()} to {given.max()}", allowed="1, 0 or null", path=path)
    labels[rows, columns] = given
    scores = np.full(shape, np.nan, np.float32)
    scores[rows, columns] = np.asarray(table["logit"].combine_chunks())
    patient = np.zeros(len(used), np.int64)
    patient[rows] = patient_of_row
    return Predictions(
        classes=wanted,
        image_ids=tuple(images[code] for code in used),
        patient_ids=tuple(patients[code] for code in patient),
        labels_NK=labels,
        scores_NK=scores,
    )
