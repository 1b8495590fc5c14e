"""Finds the files below a dataset's root, in whatever folders its archives were unpacked to, and their sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from refers_bench.errors import DataError, Problem


def _below(root: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Folder ('' or with a '/' at its end, relative to `root`) and name of each file, folder by folder."""
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inner == "." else f"{inner}/"
        for file in sorted(files):
            if file.lower().endswith(suffixes) and not file.startswith("."):
                yield prefix, file


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of these endings in any folder below `root`, sorted; hidden files are left out."""
    return sorted(root / prefix / file for prefix, file in _below(root, suffixes))


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
    for prefix, file in _below(root, suffixes):
        known = name(file.rpartition(".")[0])
        if known in found:
            also, here = f"'{known}' is at {root / found[known]}, too", root / prefix / file
            problems.append(Problem(found=also, allowed="one file", path=here))
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
        except (OSError, ValueError):  # the latter of a name with a NUL
            sizes.append(-1)
    return sizes
