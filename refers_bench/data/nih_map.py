"""Reads which image of NIH ChestX-ray14 an image of the RSNA challenge is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from refers_bench.data.index import read_table
from refers_bench.data.official_tables import refuse, table_path, wrong_cells

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
