"""Finds the files of one's own images: PNG, JPEG and DICOM, the latter with any ending or none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from refers_bench.data.dicom import is_dicom
from refers_bench.data.folders import file_sizes
from refers_bench.machine import shared_out

#: Endings of files that can be read.
ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
#: Endings of images that cannot.
FOREIGN = (".bmp", ".gif", ".heic", ".mha", ".nii", ".nrrd", ".tif", ".tiff", ".webp")
ALLOWED = ", ".join(ENDINGS)
#: Names that a message compares with a misspelt one.
_COMPARED = 2000


def readable(path: Path) -> bool:
    """Whether a file is called like an image that can be read, or is a DICOM file.

    Raises:
        OSError: it cannot be opened.
    """
    return path.suffix.lower() in ENDINGS or is_dicom(path)


def found_files(names: Sequence[str], root: Path) -> tuple[list[str], list[int]]:
    """The file of each name, and its bytes; -1 where there is none.

    Args:
        names: paths relative to `root`, '/' separated, with or without the ending of an image.
        root: the folder.
    """
    paths = list(names)
    sizes = shared_out(file_sizes, paths, str(root), worth=50_000)
    for place, size in enumerate(sizes):
        if size >= 0:
            continue
        for ending in ENDINGS:
            (found,) = file_sizes([paths[place] + ending], str(root))
            if found >= 0:
                paths[place], sizes[place] = paths[place] + ending, found
                break
    return paths, sizes


def siblings(name: str, root: Path) -> list[str]:
    """Paths of files in the folder where a name should be, for a message that compares them with it."""
    folder = os.path.dirname(name)  # noqa: PTH120 - of a relative text
    try:
        with os.scandir(root / folder) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(_COMPARED), strict=False))
    except OSError:
        return []
    return [f"{folder}/{one}" if folder else one for one in names]


def folders_of(root: Path) -> list[Path]:
    """Folders directly in a folder, by name; hidden ones are left out."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def files_directly(root: Path) -> Iterator[Path]:
    """Files directly in a folder, by name; hidden ones are left out."""
    return (path for path in sorted(root.iterdir()) if path.is_file() and not path.name.startswith("."))
