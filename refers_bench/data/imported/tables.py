"""Reads predictions from CSV and Parquet files of any origin.

One row per image and class. Columns: ``method, dataset, task, label_ratio, class, image_id, label, score``, and
where known ``seed`` (0), ``patient_id`` ('') and ``method_label`` (the row's title); of crossed seeds also what a seed
stands for: ``subset_seed``, ``init_seed``, ``order_seed`` (0). Label: 1, 0 or empty for unknown. Score: any real
number, higher means more likely positive. What each run's checkpoint was chosen on stands in a column
``selected_on``, or holds for the whole file. Other columns are ignored and named.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from refers_bench import plugins
from refers_bench.data.imported.predictions import ImportedRun, as_float32
from refers_bench.data.index import refuse_more_cells
from refers_bench.errors import UserError
from refers_bench.evaluations import SELECTED_ON, UNKNOWN
from refers_bench.files import plain_file, sha256_of
from refers_bench.store.plan import CROSSED, cell_name

KEYS = ("method", "dataset", "task", "label_ratio", "seed")
NEEDED = ("method", "dataset", "task", "label_ratio", "class", "image_id", "label", "score")
SELECTED = "selected_on"
CROSSED_SEEDS = tuple(f"{name}_seed" for name in CROSSED)
OPTIONAL = ("seed", "patient_id", "method_label", SELECTED, *CROSSED_SEEDS)
TEXTS = ("method", "dataset", "task", "class", "image_id", "patient_id", "method_label", SELECTED)
#: Column of numbers, its least and largest value, and the allowed values in words.
NUMBERS = (
    ("label_ratio", 0.0, 1.0, "above 0, at most 1, or a percentage such as 10%"),
    *((name, 0.0, 2.0**31, "0, 1, 2, ...") for name in ("seed", *CROSSED_SEEDS)),
    ("label", 0.0, 1.0, "1, 0 or empty"),
)
FOOTNOTE = "imported predictions: not run here"
NOT_STATED = "unknown on which images its checkpoint was chosen"
#: Longest name of a method, dataset, task or class.
LONGEST = 200


def read_table(
    path: Path,
    *,
    format: str,  # noqa: A002
    selected_on: str | None = None,
) -> tuple[tuple[ImportedRun, ...], tuple[str, ...]]:
    """The runs of a file, and the columns that were ignored.

    Args:
        path: the file.
        format: "csv" or "parquet".
        selected_on: of a file without that column, one of `SELECTED_ON`.

    Raises:
        UserError: unreadable, a column missing, a value of the wrong type or range (with its line in a CSV file), an
            image twice, or an image without a row of every class; `selected_on` not stated, or twice.
    """
    frame = _frame(path, format)
    if (SELECTED in frame.columns) == (selected_on is not None):
        stated = "stated by a column and by --selected-on" if selected_on else "not stated"
        allowed = f"a column '{SELECTED}', or --selected-on: {', '.join(SELECTED_ON)}"
        raise UserError(f"on which images the checkpoints were chosen is {stated}", allowed=allowed, path=path)
    if selected_on is not None:
        frame[SELECTED] = selected_on
    if missing := [name for name in NEEDED if name not in frame.columns]:
        allowed = f"{', '.join(NEEDED)}; optional: {', '.join(OPTIONAL)}"
        raise UserError(f"no column {', '.join(missing)}", allowed=allowed, path=path)
    ignored = tuple(str(name) for name in frame.columns if name not in (*NEEDED, *OPTIONAL))
    groups = _checked(frame, path).groupby(list(KEYS), sort=False)
    digest = {path.name: sha256_of(path)}
    return tuple(_run(where, rows, path, digest) for where, rows in groups), ignored


def _frame(path: Path, format: str) -> pd.DataFrame:  # noqa: A002
    try:
        if format == "parquet":
            return pd.read_parquet(plain_file(path))
        # As text first: a label "x" is then reported with its line, and not as an unexpected type.
        frame = pd.read_csv(plain_file(path), dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError("no such file", allowed=f"a {format} file", path=path) from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read: {error}", allowed=f"a {format} file", path=path) from error
    refuse_more_cells(frame, path)
    return frame


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns we know, with their types."""
    if frame.empty:
        raise UserError("no row", allowed="one row per image and class", path=path)
    found = pd.DataFrame(index=frame.index)
    for name in TEXTS:
        # An empty field of a Parquet file is null, whose text would be a name like any other.
        found[name] = frame[name].where(frame[name].notna(), "").astype(str) if name in frame.columns else ""
        if name in NEEDED:
            _refuse(found[name].eq(""), frame[name], path, name, "a name")
        _refuse(found[name].str.len() > LONGEST, found[name], path, name, f"at most {LONGEST} characters")
    _refuse(~found[SELECTED].isin(SELECTED_ON), found[SELECTED], path, SELECTED, ", ".join(SELECTED_ON))
    for dataset, rows in ((str(name), rows) for name, rows in found.groupby("dataset", sort=False)):
        if dataset in plugins.names("dataset") and (tasks := list(plugins.load("dataset", dataset).tasks)):
            _refuse(~rows["task"].isin(tasks), rows["task"], path, f"task of {dataset}", ", ".join(tasks))
    for name, low, high, allowed in NUMBERS:
        given = frame[name] if name in frame.columns else pd.Series("0", index=frame.index)
        values = pd.to_numeric(given, errors="coerce").astype(float)
        if name == "label_ratio":
            shares = given.astype(str).str.extract(r"^\s*(\d+(?:\.\d+)?)\s*%\s*$")[0]
            values = values.fillna((pd.to_numeric(shares) / 100).round(12))
        empty = given.isna() | given.astype(str).eq("") if name == "label" else pd.Series(False, index=frame.index)
        wrong = ~empty & ~values.between(low, high)
        wrong |= values == 0 if name == "label_ratio" else ~empty & (values % 1 != 0)
        _refuse(wrong, given, path, name, allowed)
        # Columns of crossed seeds say that there are some.
        if name in frame.columns or name not in CROSSED_SEEDS:
            found[name] = values.fillna(-1)
    scores = pd.to_numeric(frame["score"], errors="coerce").astype(float)
    nan = frame["score"].isna() | frame["score"].astype(str).str.lower().isin(("nan", "<na>", "none"))
    _refuse(scores.isna() & ~nan, frame["score"], path, "score", "a number")
    found["score"] = scores
    return found


def _refuse(wrong: Any, given: Any, path: Path, name: str, allowed: str) -> None:
    if wrong.any():
        place = int(np.argmax(wrong.to_numpy()))
        row = int(wrong.index[place])
        # The header is line 1 of a CSV file.
        text = f"{name} {given.iloc[place]!r:.80}" + ("" if path.suffix == ".csv" else f" in row {row}")
        line = row + 2 if path.suffix == ".csv" else None
        raise UserError(text, allowed=allowed, path=path, line=line)


def _run(where: Any, rows: pd.DataFrame, path: Path, files: dict[str, str]) -> ImportedRun:
    method, dataset, task, ratio, seed = where
    classes = tuple(dict.fromkeys(rows["class"]))
    images = tuple(dict.fromkeys(rows["image_id"]))
    name = cell_name(method, dataset, task, ratio, int(seed))
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
    selected = tuple(dict.fromkeys(rows[SELECTED]))
    if len(selected) > 1:
        text = f"{name}: {SELECTED} is {' and '.join(selected)}"
        raise UserError(text, allowed="one for each method, target, label ratio and seed", path=path)
    cells = rows.set_index(["image_id", "class"])[["label", "score"]].unstack()
    labels_NK, wide_NK = (cells[name].loc[list(images), list(classes)].to_numpy() for name in ("label", "score"))
    scores_NK, merged = as_float32(wide_NK)
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
        patient_ids=tuple(rows.drop_duplicates("image_id")["patient_id"]),
        labels_NK=labels_NK.astype(np.int8),
        scores_NK=scores_NK,
        merged=merged,
        files=files,
        footnotes=(FOOTNOTE, NOT_STATED) if selected == (UNKNOWN,) else (FOOTNOTE,),
        selected_on=selected[0],
        crossed=_combination(rows, name, path),
    )


def _combination(rows: pd.DataFrame, name: str, path: Path) -> tuple[int, ...]:
    """What the seed of a run stands for; () where the file does not say."""
    given = [column for column in CROSSED_SEEDS if column in rows]
    if not given:
        return ()
    found = rows[given].drop_duplicates()
    if len(found) > 1:
        raise UserError(f"{name}: {len(found)} combinations of seeds", allowed="one for each seed", path=path)
    return tuple(int(found[column].iloc[0]) if column in given else 0 for column in CROSSED_SEEDS)
