"""Reads released lists of images: the split and the labels of each image.

One image a line, ``name label_1 ... label_C``, separated by blanks (official-code.md 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from refers_bench.errors import DataError, Problem
from refers_bench.files import plain_file


def read_class_list(path: Path, *, classes: Sequence[str], split: str) -> pd.DataFrame:
    """One list; columns ``name`` (without folders and ending), ``split`` and one Int8 column per class.

    Args:
        path: the list.
        classes: C names, in the order of the columns.
        split: value of the column ``split``.

    Raises:
        DataError: missing, not text, or a line that has no name and C labels 0 or 1; the first 20 are named.
    """
    if not plain_file(path).is_file():
        raise DataError("missing list", allowed="a list as released", path=path)
    try:
        lines = plain_file(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8 text", allowed="a list as released", path=path) from error
    rows, problems = [], []
    values = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    for number, line in enumerate(lines, start=1):
        name, *labels = line.split() or [""]
        if len(labels) != len(classes) or any(label not in values for label in labels):
            shown = line if len(line) <= 60 else f"{line[:57]}..."
            allowed = f"a name and {len(classes)} labels, 0 or 1"
            problems.append(Problem(found=f"'{shown}'", allowed=allowed, path=path, line=number))
            continue
        file = name.rpartition("/")[2]
        rows.append((file.rpartition(".")[0] or file, split, *(values[label] for label in labels)))
    if problems:
        raise DataError(problems[:20])
    return pd.DataFrame(rows, columns=["name", "split", *classes]).astype(dict.fromkeys(classes, "Int8"))


def read_class_lists(folder: Path, files: Mapping[str, Sequence[str]], *, classes: Sequence[str]) -> pd.DataFrame:
    """The lists of a folder, concatenated.

    Args:
        folder: holds them.
        files: split -> possible names of its list; the first one that is there is read.
        classes: as `read_class_list`.

    Raises:
        DataError: as `read_class_list`; an image in two places.
    """
    frames = []
    for split, names in files.items():
        there = [folder / name for name in names if (folder / name).is_file()]
        frames.append(read_class_list(there[0] if there else folder / names[0], classes=classes, split=split))
    frame = pd.concat(frames, ignore_index=True)
    twice = frame.loc[frame["name"].duplicated(), "name"].unique()
    if len(twice):
        found = (f"'{name}' is listed twice" for name in twice[:20])
        raise DataError(Problem(found=text, allowed="each image once", path=folder) for text in found)
    return frame
