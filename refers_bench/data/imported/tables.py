"""Reads predictions from anybody's CSV or Parquet file.

One row per image and class. Columns: ``method, dataset, task, label_ratio, class, image_id, label, score``, and
where known ``seed`` (0), ``patient_id`` ('') and ``method_label`` (the row's title). Label: 1, 0 or empty for unknown.
Score: any real number, higher means more likely positive. Other columns are ignored and named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refers_bench.data.imported.predictions import ImportedRun, as_float32
from refers_bench.errors import UserError
from refers_bench.files import sha256_of

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("method", "dataset", "task", "label_ratio", "class", "image_id", "label", "score")
OPTIONAL = ("seed", "patient_id", "method_label")
TEXTS = ("method", "dataset", "task", "class", "image_id", "patient_id", "method_label")
FORMATS = ("csv", "parquet")
FOOTNOTE = "imported predictions: not run here"
#: Longest name of a method, dataset, task or class.
LONGEST = 200


def read_table(path: Path, *, format: str) -> tuple[tuple[ImportedRun, ...], tuple[str, ...]]:  # noqa: A002
    """The runs of a file, and the columns that were ignored.

    Raises:
        UserError: unreadable, a column missing, a value of the wrong type or range (with its line in a CSV file), an
            image twice, or an image without a row of every class.
    """
    frame = _frame(path, format)
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise UserError(
            f"no column {', '.join(missing)}",
            allowed=f"{', '.join(NEEDED)}; optional: {', '.join(OPTIONAL)}",
            path=path,
        )
    ignored = tuple(str(name) for name in frame.columns if name not in (*NEEDED, *OPTIONAL))
    frame = _checked(frame, path)
    digest = {path.name: sha256_of(path)}
    runs = []
    for where, rows in frame.groupby(["method", "dataset", "task", "label_ratio", "seed"], sort=False):
        runs.append(_run(where, rows, path, digest))
    return tuple(runs), ignored


def _frame(path: Path, format: str) -> pd.DataFrame:  # noqa: A002
    import pandas as pd

    try:
        if format == "parquet":
            return pd.read_parquet(path)
        # As text first: a label "x" is then reported with its line instead of a type nobody asked for.
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError("no such file", allowed=f"a {format} file", path=path) from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read: {error}", allowed=f"a {format} file", path=path) from error


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns we know, with their types."""
    import pandas as pd

    if frame.empty:
        raise UserError("no row", allowed="one row per image and class", path=path)
    found = pd.DataFrame(index=frame.index)
    for name in TEXTS:
        # An empty field of a Parquet file is null, whose text would be a name like any other.
        found[name] = frame[name].where(frame[name].notna(), "").astype(str) if name in frame.columns else ""
        if name in NEEDED:
            _refuse(found[name].eq(""), frame[name], path, name, "a name")
        _refuse(found[name].str.len() > LONGEST, found[name], path, name, f"at most {LONGEST} characters")
    for name, low, high in (("label_ratio", 0.0, 1.0), ("seed", 0.0, 2.0**31), ("label", 0.0, 1.0)):
        given = frame[name] if name in frame.columns else pd.Series("0", index=frame.index)
        values = pd.to_numeric(given, errors="coerce").astype(float)
        empty = given.isna() | given.astype(str).eq("") if name == "label" else pd.Series(False, index=frame.index)
        wrong = ~empty & ~values.between(low, high)
        if name == "label_ratio":
            wrong |= values == 0
        else:
            wrong |= ~empty & (values % 1 != 0)
        allowed = {"label_ratio": "above 0, at most 1", "seed": "0, 1, 2, ...", "label": "1, 0 or empty"}[name]
        _refuse(wrong, given, path, name, allowed)
        found[name] = values.fillna(-1)
    scores = pd.to_numeric(frame["score"], errors="coerce").astype(float)
    nan = frame["score"].isna() | frame["score"].astype(str).str.lower().isin(("nan", "<na>", "none"))
    _refuse(scores.isna() & ~nan, frame["score"], path, "score", "a number")
    found["score"] = scores
    return found


def _refuse(wrong: Any, given: Any, path: Path, name: str, allowed: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        # The header is line 1 of a CSV file.
        text = f"{name} {given.iloc[row]!r:.80}" + ("" if path.suffix == ".csv" else f" in row {row}")
        line = row + 2 if path.suffix == ".csv" else None
        raise UserError(text, allowed=allowed, path=path, line=line)


def _run(where: Any, rows: pd.DataFrame, path: Path, files: dict[str, str]) -> ImportedRun:
    method, dataset, task, ratio, seed = where
    classes = tuple(dict.fromkeys(rows["class"]))
    images = tuple(dict.fromkeys(rows["image_id"]))
    name = f"{method}.{dataset}.{task}.{ratio * 100:g}%.s{int(seed)}"
    twice = rows.duplicated(["image_id", "class"])
    if twice.any():
        first = rows[twice].iloc[0]
        text = f"{name}: image '{first['image_id']}' has two rows of the class '{first['class']}'"
        raise UserError(text, allowed="one row per image and class", path=path)
    if len(rows) != len(classes) * len(images):
        held = rows.groupby("image_id")["class"].nunique()
        short = held.index[held.to_numpy() < len(classes)][0]
        text = f"{name}: image '{short}' has rows of {int(held[short])} of {len(classes)} classes"
        raise UserError(text, allowed="every image with every class", path=path)
    row = rows["image_id"].map({image: place for place, image in enumerate(images)}).to_numpy()
    column = rows["class"].map({label: place for place, label in enumerate(classes)}).to_numpy()
    labels_NK = np.full((len(images), len(classes)), -1, np.int8)
    labels_NK[row, column] = rows["label"].to_numpy().astype(np.int8)
    wide_NK = np.zeros(labels_NK.shape)
    wide_NK[row, column] = rows["score"].to_numpy()
    stored = [as_float32(wide_NK[:, place]) for place in range(len(classes))]
    patients = rows.drop_duplicates("image_id")["patient_id"]
    titles = [title for title in dict.fromkeys(rows["method_label"]) if title]
    return ImportedRun(
        method=str(method),
        label=titles[0] if titles else str(method),
        dataset=str(dataset),
        task=str(task),
        label_ratio=float(ratio),
        seed=int(seed),
        classes=classes,
        image_ids=images,
        patient_ids=tuple(patients),
        labels_NK=labels_NK,
        scores_NK=np.stack([scores for scores, _ in stored], axis=1),
        merged=sum(merged for _, merged in stored),
        files=files,
        footnotes=(FOOTNOTE,),
    )
