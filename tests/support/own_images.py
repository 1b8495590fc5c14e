"""Images of one's own with labels that can be learned, described by a table or by folders."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

#: Columns of the table.
COLUMNS = ("file", "patient", "spot", "stripe", "split", "report", "view", "sex", "age", "site")


def picture(number: int, *, spot: bool, stripe: bool) -> Image.Image:
    """A noisy grey square, with a bright spot at the upper left or a bright stripe below."""
    pixels_HW = np.random.default_rng(number).normal(90, 12, (48, 48))
    if spot:
        pixels_HW[8:20, 8:20] += 90
    if stripe:
        pixels_HW[34:40, :] += 90
    return Image.fromarray(pixels_HW.clip(0, 255).astype(np.uint8))


def rows(count: int = 200) -> list[dict[str, str]]:
    """A row for each image, two of each patient; every ninth label is unknown, every split of a patient the same."""
    found = []
    for number in range(count):
        patient, spot, stripe = number // 2, number % 4 < 2, number % 6 < 2
        found.append(
            {
                "file": f"{number:03d}.png",
                "patient": f"p{patient:03d}",
                "spot": "" if number % 9 == 8 else str(int(spot)),
                "stripe": "-1" if number % 9 == 7 else str(int(stripe)),
                "split": ("Train", "train", "training", "valid", "TEST")[patient % 5],
                "report": f"{'A spot' if spot else 'No spot'}, {'a stripe' if stripe else 'no stripe'}, on the left.",
                "view": ("PA", "AP")[patient // 3 % 2],
                "sex": ("F", "M")[patient // 2 % 2],
                "age": str(20 + patient % 60),
                "site": ("north", "south")[patient // 5 % 2],
            }
        )
    return found


def write_images(folder: Path, table: list[dict[str, str]]) -> None:
    """The image of each row."""
    folder.mkdir(parents=True)
    for number, row in enumerate(table):
        picture(number, spot=number % 4 < 2, stripe=number % 6 < 2).save(folder / row["file"])


def write_table(path: Path, table: list[dict[str, str]], *, separator: str = ",") -> None:
    """A CSV or TSV with these rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def write_folders(root: Path, *, count: int = 200, splits: bool = False) -> None:
    """A folder for each class, spot and plain; below train, val and test where `splits`."""
    for number in range(count):
        spot = number % 4 < 2
        name = ("train", "train", "train", "val", "test")[number // 2 % 5] if splits else ""
        folder = root / name / ("spot" if spot else "plain")
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, spot=spot, stripe=False).save(folder / f"person{number // 2:03d}_{number}.png")
