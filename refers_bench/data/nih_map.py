"""Reads which image of NIH ChestX-ray14 an image of the RSNA challenge is, and hence whose radiograph it is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from refers_bench.data.index import read_table
from refers_bench.data.official_tables import refuse, table_path, wrong_cells
from refers_bench.errors import DataError

TABLE = "rsna_to_nih.csv"
#: A data root may be the folder of all split packs.
FOLDERS = ("", "rsna-nih-map")


def nih_images(folder: Path) -> pd.Series:
    """The NIH image that each matched RSNA image is.

    Args:
        folder: holds ``rsna_to_nih.csv``, gzipped or not: ``rsna_id,nih_image``, the latter as ``00019124_092``.

    Returns:
        Its name without the ending, ``<patient>_<number>``, indexed by RSNA id.

    Raises:
        DataError: missing or malformed; an id that comes twice, or what is no name of an NIH image.

    Source: torchxrayvision, scripts/CrossReferenceWithNIH (26,586 of 26,684 training images, mean squared error < 10).
    """
    path = table_path(folder, TABLE, folders=FOLDERS)
    frame = read_table(path, required=("rsna_id", "nih_image"))
    ids, images = frame["rsna_id"], frame["nih_image"].str.removesuffix(".png")
    problems = list(wrong_cells(ids, ids.duplicated(), found="'{}' comes twice", allowed="each id once", path=path))
    wrong = ~images.str.fullmatch(r"\d{8}_\d{3}")
    problems += wrong_cells(images, wrong, found="'{}'", allowed="an NIH image, such as 00019124_092", path=path)
    refuse(problems)
    return pd.Series(images.to_numpy(), index=ids.to_numpy(), name="nih_image", dtype=object)


def nih_patients(folder: Path) -> pd.Series:
    """NIH patient, as eight digits, of each RSNA image that was matched; see `nih_images`."""
    return nih_images(folder).str[:8].rename("nih_patient")


def with_nih_patients(patients: pd.Series, images: pd.Series, folder: Path, *, prefix: str = "") -> pd.Series:
    """Patients, those of NIH in the place of the others where an image is matched.

    Args:
        patients: of each image.
        images: RSNA id of each, null for one of another collection.
        folder: as for `nih_patients`.
        prefix: of the numbers of NIH's patients.

    Raises:
        DataError: see `nih_patients`; or the map names none of these images.
    """
    known = nih_patients(folder)
    inside = images.isin(known.index)
    if images.notna().any() and not inside.any():
        found = f"a map of {len(known)} images, none of which is here (here: '{images.dropna().iloc[0]}')"
        raise DataError(found, allowed="the map of the RSNA challenge's images", path=folder)
    mapped = patients.astype(object)
    mapped[inside] = [f"{prefix}{known[image]}" for image in images[inside]]
    return mapped
