"""Reads what the official tables of datasets have in common: where they are, wrong cells, and the image of each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from refers_bench.data.index import leave_out, not_there
from refers_bench.errors import DataError, Problem


def table_path(root: Path, name: str, *, folders: Sequence[str] = ("",)) -> Path:
    """A table, gzipped or not, in the first of these folders that has it.

    Args:
        root: the dataset's folder.
        name: of the table as it is distributed.
        folders: below the root.

    Returns:
        Its path; ``root / name`` where it is in none of them.
    """
    plain = name.removesuffix(".gz")
    places = (root / folder / file for folder in folders for file in (plain, f"{plain}.gz"))
    return next((path for path in places if path.is_file()), root / name)


def wrong_cells(column: pd.Series, wrong: pd.Series, *, found: str, allowed: str, path: Path) -> Iterator[Problem]:
    """A problem for each of the first five wrong cells of a table.

    Args:
        column: of the whole table.
        wrong: whether a cell is wrong.
        found: what stands there, with {} for the cell.
        allowed: what may stand there.
        path: of the table.
    """
    for row in np.flatnonzero(wrong.to_numpy())[:5]:
        yield Problem(found=found.format(column.iloc[row]), allowed=allowed, path=path, line=int(row) + 2)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise the first 20 problems, if there are any.

    Raises:
        DataError: there are.
    """
    if problems:
        raise DataError(problems[:20])


def with_images(
    frame: pd.DataFrame, files: Mapping[str, str], *, root: Path, ending: str = "", missing: str
) -> pd.DataFrame:
    """The rows whose image is there, with its path.

    Args:
        frame: `image_id`, and `table`, the file that a row comes from.
        files: image -> its path.
        root: the dataset's folder, for messages.
        ending: of the images, for messages.
        missing: "skip" leaves rows without an image out, "refuse" does not.

    Raises:
        DataError: images are missing that may not be, or all of them.
    """
    paths = frame["image_id"].map(files)
    gone = frame[paths.isna()]
    rows = zip(gone["image_id"], gone["table"], strict=True)
    leave_out(
        (Problem(found=f"image '{name}{ending}' is not below {root}", path=table) for name, table in rows),
        refuse=missing == "refuse" or len(gone) == len(frame),
        summary=not_there(len(gone), len(frame), root),
    )
    return frame.assign(path=paths)[paths.notna()]
