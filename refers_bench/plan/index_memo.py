"""What was a dataset's index when it was last read, if nothing at its root has changed since?

Reading the index of a large dataset takes seconds to minutes, and planning needs two numbers of it. They are
remembered under a fingerprint of the root: the tables at its top and the times of its folders. A file that was
changed in place deeper down is not seen here; `prepare` reads the whole index, finds it, and forgets the memo.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import StorageError
from refers_bench.files import publish_json, read_json

#: Levels of folders whose times are looked at; deeper ones are too many (65,000 patients of MIMIC-CXR).
LEVELS = 2


def fingerprint(root: Path) -> str:
    """Identity of a folder's top: names, sizes and times of its files, times of its folders two levels down."""
    return identity.key(list(_marks(root, 0)))


def _marks(folder: Path, level: int) -> Iterator[list[str | int]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir():
                yield [str(Path(entry.path).name), level, entry.stat().st_mtime_ns]
                if level + 1 < LEVELS:
                    yield from _marks(Path(entry.path), level + 1)
            elif level == 0:
                status = entry.stat()
                yield [entry.name, status.st_size, status.st_mtime_ns]


def _path(cache: Path, dataset: str, what: Mapping[str, Any], roots: Mapping[str, Path]) -> Path:
    places = {name: [str(path.resolve()), fingerprint(path)] for name, path in roots.items()}
    return cache / "index" / f"{dataset}-{identity.key({'what': what, 'roots': places})}.json"


def recall(cache: Path | None, dataset: str, what: Mapping[str, Any], roots: Mapping[str, Path]) -> Any:
    """What was remembered, or None.

    Args:
        cache: the user's cache folder; None remembers nothing.
        dataset: id.
        what: reader's revision and parameters.
        roots: name -> folder.
    """
    if cache is None:
        return None
    try:
        return read_json(_path(cache, dataset, what, roots))
    except (OSError, ValueError):
        return None


def remember(cache: Path | None, dataset: str, what: Mapping[str, Any], roots: Mapping[str, Path], found: Any) -> None:
    """Keep what was read; a cache that cannot be written is no reason to fail a plan."""
    if cache is not None:
        with contextlib.suppress(StorageError, OSError):
            publish_json(_path(cache, dataset, what, roots), found)
