"""Which files lie below a dataset's root, in whatever folders its archives were unpacked to, and how large are they?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from refers_bench.errors import DataError, Problem


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of these endings in any folder below `root`, sorted; hidden files are left out."""
    return sorted(
        Path(folder) / name
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.lower().endswith(suffixes) and not name.startswith(".")
    )


def files_by_name(
    root: Path, suffixes: tuple[str, ...], *, name: Callable[[str], str] = lambda stem: stem
) -> dict[str, str]:
    """Name -> path relative to `root`, '/' separated, of the files with one of these endings in any folder below it.

    Args:
        root: the dataset's folder.
        suffixes: lower-case endings, such as ``(".png",)``.
        name: of a file, from its name without ending.

    Raises:
        DataError: two files of one name.
    """
    found: dict[str, str] = {}
    problems = []
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inner == "." else f"{inner}/"
        for file in sorted(files):
            stem, _, ending = file.rpartition(".")
            if f".{ending.lower()}" not in suffixes or file.startswith("."):
                continue
            known = name(stem)
            if known in found:
                problems.append(
                    Problem(
                        found=f"'{known}' is at {root / found[known]}, too",
                        allowed="one file",
                        path=root / f"{prefix}{file}",
                    )
                )
            found[known] = f"{prefix}{file}"
    if problems:
        raise DataError(problems[:20])
    return found


def file_sizes(paths: Sequence[str], base: str) -> list[int]:
    """Bytes of files below a folder, -1 of one that is not there."""
    sizes = []
    for path in paths:
        try:
            sizes.append(os.stat(f"{base}/{path}").st_size)  # noqa: PTH116 - a Path for each of 377,110 images is slow
        except OSError:
            sizes.append(-1)
    return sizes
