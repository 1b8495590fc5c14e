"""Reads what datasets know of an image besides its content: ages, numbers, web sites, the size of its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
from PIL import Image

from refers_bench.data.decode import PICTURES
from refers_bench.data.dicom import header_texts
from refers_bench.errors import DataError
from refers_bench.files import plain_file
from refers_bench.machine import shared_out

#: Index column of metadata -> the columns of a table that may hold it, the first that is there counts, and its reader.
Columns = Mapping[str, tuple[tuple[str, ...], Callable[[pd.Series], pd.Series]]]
#: Unit of an age, by its first letter -> how many of them make a year; years where no unit is given.
_IN_A_YEAR = {"y": 1.0, "m": 12.0, "w": 52.0, "d": 365.0}


def table_metadata(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The metadata that a table has, row by row; those whose column is not there are left out.

    Args:
        frame: the table.
        columns: see `Columns`.
    """
    places = {name: next((place for place in known if place in frame), None) for name, (known, _) in columns.items()}
    found = {name: columns[name][1](frame[place]) for name, place in places.items() if place is not None}
    return pd.DataFrame(found, index=frame.index)


def texts(column: pd.Series) -> pd.Series:
    """Texts as they stand."""
    return column


def numbers(column: pd.Series) -> pd.Series:
    """Numbers as float64; NaN for what is none: of metadata, that is unknown."""
    return pd.to_numeric(column, errors="coerce").astype("float64")


def ages(column: pd.Series) -> pd.Series:
    """Years, from texts such as "65", "65.0", "058Y", "male 45yrs" or "3 months"; NaN where there is no number.

    Example:
        >>> ages(pd.Series(["65.0", "058Y", "6 months", "unknown", ""])).tolist()
        [65.0, 58.0, 0.5, nan, nan]
    """
    pattern = r"(?P<number>\d+(?:\.\d+)?)\s*-?(?P<unit>y|m(?!ale)|w|d)?"
    parts = column.fillna("").astype(str).str.lower().str.extract(pattern)
    return numbers(parts["number"]) / parts["unit"].map(_IN_A_YEAR).astype("float64").fillna(1.0)


def sites(column: pd.Series) -> pd.Series:
    """The web site of each address, without "www."; None for what is no address.

    Example:
        >>> sites(pd.Series(["https://www.nejm.org/doi/full/1", "nejm.org", None])).tolist()
        ['nejm.org', None, None]
    """
    found = [_site(str(address)) if pd.notna(address) else None for address in column]
    return pd.Series(found, index=column.index, dtype=object)


def _site(address: str) -> str | None:
    try:
        return (urlsplit(address.strip()).hostname or "").removeprefix("www.") or None
    except ValueError:  # brackets that hold no address of the sixth version
        return None


def picture_sizes(paths: Sequence[str], root: Path) -> pd.DataFrame:
    """Columns ``about:width`` and ``about:height`` in pixels, from the headers of files that Pillow reads.

    Args:
        paths: relative to `root`.
        root: the dataset's folder.

    Returns:
        A row for each path; NaN for a file that is not there or has no such header, which decoding reports.
    """
    sizes = [_size(root / path) for path in paths]
    return pd.DataFrame(sizes, columns=["about:width", "about:height"], dtype="float64")


def _size(path: Path) -> tuple[float, float]:
    try:
        with Image.open(plain_file(path), formats=PICTURES) as picture:
            return picture.size
    except (DataError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # as `refers_bench.data.decode`
        return (float("nan"), float("nan"))


def header_metadata(paths: Sequence[str], root: Path) -> pd.DataFrame:
    """Columns ``view`` (text), ``about:age`` (years) and ``about:sex`` (text), from the headers of DICOM files.

    Args:
        paths: relative to `root`.
        root: the dataset's folder.

    Returns:
        A row for each path; '' and NaN for what a header lacks or a file that is not DICOM, which decoding reports.
    """
    keywords = ("ViewPosition", "PatientAge", "PatientSex")
    rows = shared_out(header_texts, paths, str(root), keywords, worth=2_000)
    frame = pd.DataFrame(rows, columns=["view", "about:age", "about:sex"], dtype=object)
    return frame.assign(**{"about:age": ages(frame["about:age"])})
