"""Remembers which files of a dataset were left out of its prepared images as unreadable, so that keys tell them apart.

`data prepare --allow-missing` notes the files beside the prepared images. Planning then puts them into the
specification of the preparation: what was computed without them has a key of its own, and is not taken for what is
computed with them once they can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.files import publish_json, read_json, storage_errors
from refers_bench.store.context import prepared_folder


def prepared(cache: Path, spec: Mapping[str, Any]) -> Path:
    """Folder of the prepared images of a specification."""
    return prepared_folder(cache, identity.key(spec))


def without(spec: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The specification of the same preparation that leaves files out.

    Args:
        spec: of the preparation of all images.
        paths: of files, relative to the data root; none gives `spec`.
    """
    return {**spec, **({"left_out": sorted(paths)} if paths else {})}


def count(spec: Mapping[str, Any]) -> int:
    """How many files a preparation leaves out."""
    return len(spec.get("left_out", ()))


def recall(cache: Path | None, spec: Mapping[str, Any]) -> list[str]:
    """Paths of the files that were left out when the images of an index were last prepared.

    Args:
        cache: the user's cache folder; None knows of none.
        spec: of the preparation of all images.
    """
    if cache is None:
        return []
    try:
        paths: list[str] = read_json(_note(cache, spec))
    except FileNotFoundError:
        return []
    return paths


def note(cache: Path, spec: Mapping[str, Any], paths: Sequence[str]) -> None:
    """Keep which files were left out; none forgets earlier ones.

    Raises:
        StorageError: the cache cannot be written.
    """
    path = _note(cache, spec)
    if paths:
        publish_json(path, sorted(paths))
    else:
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _note(cache: Path, spec: Mapping[str, Any]) -> Path:
    whole = prepared(cache, spec)
    return whole.with_name(f"{whole.name}.left_out.json")
