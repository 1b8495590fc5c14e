"""Remembers what planning needs of a dataset's index, until a file that the index is read from changes.

Reading the index of a large dataset takes seconds to minutes, and planning needs two numbers of it. They are
remembered under a fingerprint of the root: sizes and times of its tables, lists, reports and archives, in whatever
folder, and times of folders. It does not see:

- an image changed in place (only that one comes or goes);
- what lies in more folders than can be looked at: the reports of MIMIC-CXR, in a folder for each of 65,000 patients;
- files beyond the first 20,000, and a file that kept its size and time.

A preparation that runs, and each `data prepare`, reads the whole index and forgets what was remembered.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.data.folders import above
from refers_bench.errors import StorageError
from refers_bench.files import publish_json, read_json, sha256_of

#: Folders that are looked into: a level of folders as a whole, or not at all where there would be more.
FOLDERS = 2000
#: Files whose sizes and times are looked at.
FILES = 20_000
#: Endings of files that only decoding reads.
IMAGES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp")


def fingerprint(root: Path) -> str:
    """Identity of what an index is read from, as far as it can be seen quickly; see above. Of a file, its content."""
    return sha256_of(root) if root.is_file() else identity.key(list(_marks(str(root))))


def _marks(root: str) -> Iterator[list[str | int]]:
    """Folders with their times and numbers of images, then the other files in each, level by level."""
    level, folders, files, seen = [root], 0, 0, above(Path(root))
    while level and folders + len(level) <= FOLDERS:
        folders += len(level)
        below: list[str] = []
        for folder in level:
            try:
                status = os.stat(folder)  # noqa: PTH116
            except OSError:  # gone meanwhile
                continue
            if (status.st_dev, status.st_ino) in seen:  # a link leads back
                continue
            seen.add((status.st_dev, status.st_ino))
            others, images = [], 0
            for entry in _entries(folder):
                if _is_folder(entry):
                    below.append(entry.path)
                elif entry.name.lower().endswith(IMAGES):
                    images += 1
                else:
                    others.append(entry)
            yield [os.path.relpath(folder, root), status.st_mtime_ns, images, len(others)]
            for entry in others[: max(0, FILES - files)]:
                with contextlib.suppress(OSError):  # a link to nowhere
                    yield [entry.name, entry.stat().st_size, entry.stat().st_mtime_ns]
            files += len(others)
        level = sorted(below)
    yield [len(level)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing in one that may not be read, as for the readers."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda one: one.name)
    except OSError:
        return []


def recall(
    cache: Path | None, dataset: str, what: Mapping[str, Any], roots: Mapping[str, Path]
) -> tuple[Path | None, Any]:
    """What was remembered.

    Args:
        cache: the user's cache folder; None remembers nothing.
        dataset: id.
        what: revision, parameters and source of the reader.
        roots: name -> folder.

    Returns:
        The file for `keep`, as the roots are now: it is asked for before reading, since files may change meanwhile;
        None for none. Then what it holds, None for nothing.
    """
    if cache is None:
        return None, None
    path = None
    with contextlib.suppress(OSError, ValueError):
        path = _path(cache, dataset, what, roots)
        return path, read_json(path)
    return path, None


def keep(path: Path | None, found: Any) -> None:
    """Remember what was read.

    Args:
        path: as `recall` gave it; a folder that cannot be written is no failure.
        found: JSON values.
    """
    if path is not None:
        with contextlib.suppress(StorageError, OSError):
            publish_json(path, found)


def forget(cache: Path, dataset: str) -> None:
    """Let the next plan read the index again.

    Args:
        cache: the user's cache folder.
        dataset: id.
    """
    for memo in (cache / "index").glob(f"{dataset}-*.json"):
        memo.unlink(missing_ok=True)


def _path(cache: Path, dataset: str, what: Mapping[str, Any], roots: Mapping[str, Path]) -> Path:
    places = {name: [str(path.resolve()), fingerprint(path)] for name, path in roots.items()}
    return cache / "index" / f"{dataset}-{identity.key({'what': what, 'roots': places})}.json"
