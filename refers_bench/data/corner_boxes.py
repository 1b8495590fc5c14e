"""Turns annotated boxes that are given by their corners in pixels into shares of their images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from refers_bench.data.dicom import size_of
from refers_bench.data.index import finished_boxes

#: Columns of the corners in the tables of VinDr-CXR and VinBigData.
CORNERS = ("x_min", "y_min", "x_max", "y_max")


def dicom_sizes(images: Iterable[str], files: Mapping[str, str], root: Path) -> dict[str, tuple[float, float]]:
    """Width and height in pixels of those of the images that are there, from their headers.

    Args:
        images: names.
        files: name -> path of a DICOM file.
        root: that the paths are relative to.

    Raises:
        DataError: a file is no DICOM image.
    """
    return {name: size_of(root / files[name]) for name in sorted(set(images) & files.keys())}


def corner_boxes(frame: pd.DataFrame, *, sizes: Mapping[str, tuple[float, float]], path: Path) -> pd.DataFrame:
    """The boxes of the images whose size is known, with the columns of `refers_bench.plugins.BOX_COLUMNS`.

    Args:
        frame: image_id, class, reader and `CORNERS`, as text or numbers.
        sizes: image -> its width and height in pixels.
        path: the file the rows come from, for messages.

    Raises:
        DataError: a box that is none, or lies outside its image.
    """
    frame = frame[frame["image_id"].isin(list(sizes))]
    wide, high = (frame["image_id"].map({name: size[side] for name, size in sizes.items()}) for side in (0, 1))
    x_min, y_min, x_max, y_max = (pd.to_numeric(frame[corner], errors="coerce") for corner in CORNERS)
    found = {
        "image_id": frame["image_id"],
        "class": frame["class"],
        "reader": frame["reader"],
        "left": x_min / wide,
        "top": y_min / high,
        "width": (x_max - x_min) / wide,
        "height": (y_max - y_min) / high,
    }
    return finished_boxes(pd.DataFrame(found), path=path)
