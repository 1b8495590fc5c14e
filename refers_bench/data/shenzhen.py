"""Reads the radiographs of the Shenzhen collection: labels from their names, clinical readings, the released splits."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from refers_bench.data.clinical_readings import reading_lines
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import read_table
from refers_bench.data.metadata import ages, picture_sizes
from refers_bench.errors import DataError

#: Column of the label.
LABEL = "tuberculosis:Tuberculosis"
#: Kaggle's table of readings; the NLM has a text file for each image instead.
METADATA = "shenzhen_metadata.csv"
_NAME = re.compile(r"CHNCXR_(\d{4})_([01])")
#: Highest numbers of the training and validation images of the released lists, normal and ill (official-code.md 4.3).
RELEASED = {0: (228, 261), 1: (561, 595)}


def label_of(name: str) -> tuple[int, int] | None:
    """(number, 1 for tuberculosis) of an image's name; None for other files.

    Example:
        >>> label_of("CHNCXR_0327_1"), label_of("Thumbs")
        ((327, 1), None)
    """
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def released_split(number: int, label: int) -> str:
    """Split of an image in the released lists.

    Example:
        >>> released_split(228, 0), released_split(229, 0), released_split(596, 1)
        ('train', 'val', 'test')
    """
    train, val = RELEASED[label]
    return "train" if number <= train else "val" if number <= val else "test"


def readings(root: Path) -> dict[str, tuple[str, str]]:
    """Image -> what its clinical reading says of the person (sex and age), and of the radiograph; '' for nothing.

    Raises:
        DataError: Kaggle's table is malformed, or two readings of one image.
    """
    found: dict[str, tuple[str, str]] = {}
    table = root / METADATA
    if table.is_file():
        frame = read_table(table, required=("study_id", "findings"))
        people = frame.reindex(columns=["sex", "age"], fill_value="").agg(" ".join, axis=1)
        found = {
            str(name).removesuffix(".png"): (person, " ".join(text.split()))
            for name, person, text in zip(frame["study_id"], people, frame["findings"], strict=True)
        }
    for name, path in files_by_name(root, (".txt",), wanted=label_of).items():
        lines = reading_lines(root / path)
        found[name] = ("".join(lines[:1]), " ".join(" ".join(lines[1:]).split()))
    return found


def rows(root: Path) -> pd.DataFrame:
    """One row per image; its number is its patient's, its last digit its label, its reading its report.

    The columns are those of an index, with the split of the released lists; images of other collections below `root`
    are left alone.

    Raises:
        DataError: no image, two of one name, and see `readings`.
    """
    files = files_by_name(root, (".png",), wanted=label_of)
    if not files:
        allowed = "CHNCXR_<number>_<label>.png in any folder, as the NLM or Kaggle archives unpack"
        raise DataError("no radiograph here", allowed=allowed, path=root)
    texts = readings(root)
    found = []
    for name, path in files.items():
        number, label = label_of(name) or (0, 0)
        person, text = texts.get(name, ("", ""))
        found.append(
            {
                "image_id": name,
                "path": path,
                "patient_id": f"{number:04d}",
                "study_id": f"{number:04d}",
                "view": "PA",
                "split": released_split(number, label),
                "report": text or None,
                "about:age": person,
                "about:sex": person,
                LABEL: label,
            }
        )
    frame = pd.DataFrame(found).astype({LABEL: "Int8", "report": object})
    frame["about:age"] = ages(frame["about:age"])
    frame["about:sex"] = frame["about:sex"].str.lower().str.extract(r"\b((?:fe)?male)\b")[0]
    return frame.join(picture_sizes(frame["path"].tolist(), root))
