"""Keeps the list of explained cells of a manifest, in a small file beside its plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from refers_bench.errors import UserError
from refers_bench.files import publish_json

LOCK = "explain.lock.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One cell that was explained.

    Attributes:
        cell: key of its fine-tuning.
        name: of the cell.
        attend: key of the maps.
        localise: key of the boxes and overlaps.
        maps: kinds of maps, of "rollout" and "class".
        threshold: cut of the stretched maps.
        images: radiographs that a report shows.
    """

    cell: str
    name: str
    attend: str
    localise: str
    maps: tuple[str, ...]
    threshold: float
    images: int


def read(results: Path, name: str) -> tuple[Explained, ...]:
    """The explanations of a manifest's cells; empty where none was made.

    Raises:
        UserError: the file is damaged, or of another version.
    """
    path = results / name / LOCK
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}")
        return tuple(Explained(**{**one, "maps": tuple(one["maps"])}) for one in content["explained"])
    except (ValueError, TypeError, KeyError) as error:
        found = f"no readable list of explanations ({error})"
        raise UserError(found, allowed="explain the cells again", path=path) from error


def add(results: Path, name: str, new: Sequence[Explained]) -> None:
    """List explanations; an earlier one of the same cell is no longer listed (its result stays in the store).

    Raises:
        StorageError: the results folder cannot be written.
    """
    kept = {one.cell: one for one in (*read(results, name), *new)}
    listed = sorted(kept.values(), key=lambda one: (one.name, one.cell))
    publish_json(results / name / LOCK, {"version": VERSION, "explained": [asdict(one) for one in listed]})
