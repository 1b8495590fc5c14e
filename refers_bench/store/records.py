"""Reads the record of a result, and checks the result's files against the SHA-256 digests that the record holds.

A file is hashed once per process, at its first use. Records of version 1 have no digests: of their results only what
is missing is found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from refers_bench.errors import DataError, Problem, UserError
from refers_bench.files import sha256_of
from refers_bench.store.reading import read_json

RECORD = "run.json"
#: Version 2 holds the digest of every other file of the result.
VERSION, VERSIONS = 2, (1, 2)
#: What helps against a damaged result.
REMEDY = (
    "the file as it was written; or 'refers-bench results fsck --repair', which moves the result aside, "
    "then 'refers-bench run MANIFEST', which computes it again"
)
#: File, with its size and time of change -> its digest.
_KNOWN: dict[tuple[str, int, int], str] = {}


def digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of a result but its record."""
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != RECORD}


def read(folder: Path) -> dict[str, Any]:
    """The record of a result.

    Args:
        folder: of the result, named by its key.

    Raises:
        DataError: missing, unreadable, of another version, or that of another result.
    """
    path = folder / RECORD
    try:
        record = read_json(path)
    except UserError as error:
        raise DataError([replace(one, allowed=REMEDY) for one in error.problems]) from error
    if found := _invalid(record, folder.name):
        raise DataError(found, allowed=REMEDY, path=path)
    return record


def _invalid(record: Mapping[str, Any], key: str) -> str:
    """What is wrong with a record; '' for nothing."""
    version = record.get("version", 1)
    if version not in VERSIONS:
        return f"a record of version {version!r} instead of {' or '.join(map(str, VERSIONS))}"
    if record.get("key") != key:
        return f"the record of {record.get('key')!r}"
    listed = record.get("files", {} if version == 1 else None)
    if not isinstance(listed, dict) or not all(isinstance(digest, str) for digest in listed.values()):
        return "a record without a list of digests"
    return ""


def problem(path: Path, digest: str) -> Problem | None:
    """What is wrong with a file of a result, hashed where this process has not done so before; None for nothing.

    Args:
        path: of the file.
        digest: its recorded SHA-256; '' where none was recorded.
    """
    try:
        about = os.stat(path)  # noqa: PTH116 - reports ask this of every cell
        place = (str(path), about.st_size, about.st_mtime_ns)
        if place not in _KNOWN:
            _KNOWN[place] = sha256_of(path)
    except FileNotFoundError:
        found = "missing"
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
    else:
        if _KNOWN[place] == digest or not digest:
            return None
        found = f"changed since it was written: SHA-256 {_KNOWN[place]}, recorded {digest}"
    return Problem(found=found, allowed=REMEDY, path=path)


def checked(folder: Path, name: str) -> Path:
    """Path of a file of a result, once it is found to be what the result's job wrote.

    Raises:
        DataError: there is no such result or file, its record cannot be read, or it has changed.
    """
    path = folder / name
    if not folder.exists():
        raise DataError("no such result", allowed="run its job first", path=path)
    record = read(folder)
    if name not in record.get("files", (name,)):
        raise DataError("no file of this result", allowed=", ".join(record["files"]) or "it has none", path=path)
    if found := problem(path, record.get("files", {}).get(name, "")):
        raise DataError(found)
    return path
