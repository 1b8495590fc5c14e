"""Finds the files below a dataset's root, in whatever folders its archives were unpacked to, and their sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from refers_bench.errors import DataError, Problem


def above(root: Path) -> set[tuple[int, int]]:
    """Device and inode of each folder that holds `root`: a link to one of them leads back."""
    found = (folder.stat() for folder in root.resolve().parents)
    return {(one.st_dev, one.st_ino) for one in found}


def walked(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder below `root`, itself included, and the names of its files, in sorted order; links are followed.

    A folder is visited once, however many links lead to it, and no link that leads to `root` or above is followed.
    """
    seen = above(root)
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 - a Path for each of 65,000 folders is slow
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield folder, sorted(files)


def checked_name(path: Path) -> Path:
    """A file's path, where tables can hold it.

    Raises:
        DataError: its name is not UTF-8.
    """
    text = str(path)
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise DataError("a name that is not UTF-8", allowed="another name", path=path)
    return path


def _below(root: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Folder ('' or with a '/' at its end, relative to `root`) and name of each file, folder by folder."""
    for folder, files in walked(root):
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inner == "." else f"{inner}/"
        for file in files:
            if file.lower().endswith(suffixes) and not file.startswith("."):
                if not file.isascii() or not prefix.isascii():
                    checked_name(root / prefix / file)
                yield prefix, file


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of these endings in any folder below `root`, sorted; hidden files are left out."""
    return sorted(root / prefix / file for prefix, file in _below(root, suffixes))


def files_by_name(
    root: Path,
    suffixes: tuple[str, ...],
    *,
    name: Callable[[str], str] = lambda stem: stem,
    wanted: Callable[[str], object] = lambda name: True,
) -> dict[str, str]:
    """Name -> path relative to `root`, '/' separated, of the files with one of these endings in any folder below it.

    Args:
        root: the dataset's folder.
        suffixes: lower-case endings, such as ``(".png",)``.
        name: of a file, from its name without ending.
        wanted: whether a name is one of the dataset's; all others may come as often as they like.

    Raises:
        DataError: two files of one name.
    """
    found: dict[str, str] = {}
    problems = []
    for prefix, file in _below(root, suffixes):
        known = name(file.rpartition(".")[0])
        if not wanted(known):
            continue
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
        except (OSError, ValueError):  # a name that no file can have
            sizes.append(-1)
    return sizes
