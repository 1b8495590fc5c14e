"""How do the results of a bundle become results here, without trusting what it says of itself?"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.analysis import bundle
from refers_bench.analysis.predictions import FILE
from refers_bench.analysis.results import Results, load
from refers_bench.errors import UserError
from refers_bench.files import publish_bytes, sha256_of
from refers_bench.manifest.checks import RESERVED
from refers_bench.store.archive import verify
from refers_bench.store.plan import LOCK
from refers_bench.store.reading import read_json
from refers_bench.store.results import RECORD, ResultStore

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes:
        name: of the plan here.
        added: results that were not here before.
        known: results that were here with the same predictions.
        left: records of jobs whose results do not travel (preparation, pre-training): they are not imported.
        recomputed: runs whose AUCs were computed again from their predictions.
    """

    name: str
    added: int
    known: int
    left: int
    recomputed: int


def opened(path: Path, folder: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Results:
    """Check an archive's files, keys and metrics, with everything written below an empty folder.

    Raises:
        UserError: see `refers_bench.store.archive.verify` and `refers_bench.analysis.bundle.check`; not a bundle.
    """
    return checked(path, folder, progress=progress)[0]


def checked(
    path: Path, folder: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Results, int]:
    """As `opened`, with the number of runs whose AUCs were computed again."""
    verify(path, into=folder)
    about = read_json(folder / bundle.ABOUT) if (folder / bundle.ABOUT).is_file() else {}
    name = about.get("name")
    if about.get("version") != bundle.VERSION or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError("no bundle of this version", allowed=f"version {bundle.VERSION}", path=path)
    if not (folder / bundle.RESULTS / name / LOCK).is_file():
        raise UserError(f"holds no plan '{name}'", allowed="one plan and its results", path=path)
    results = load(folder / bundle.RESULTS, name)
    return results, bundle.check(results, progress=progress)


def publish(
    path: Path,
    *,
    results: Path,
    scratch: Path,
    name: str | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Take the results of a bundle into the store, then write its plan.

    Args:
        path: the archive.
        results: the results folder.
        scratch: an empty folder.
        name: of the plan; None for the bundle's own.
        progress: told (done, total) while AUCs are computed again.

    Raises:
        UserError: the archive is not what it should be; a plan of that name with other content, or a result with
            other predictions, is here already.
    """
    found, recomputed = checked(path, scratch, progress=progress)
    name = name or found.name
    store = ResultStore(results)
    moved, known, left = [], 0, 0
    for key in found.records:
        folder = found.store / key
        kind = found.jobs[key].kind
        if not _complete(kind, folder):
            left += 1
        elif store.state(key) == "done":
            _same(folder, store.folder(key), path)
            known += 1
        else:
            moved.append(key)
    lock = _lock(found, path, name)
    target = results / name / LOCK
    if name in RESERVED or (target.is_file() and target.read_bytes() != lock):
        raise UserError(f"a plan '{name}' with other content is here", allowed="another name: --name", path=target)
    for key in moved:
        with store.publish(key) as stage:
            kind = found.jobs[key].kind
            for file in (found.store / key).iterdir():
                if bundle.travels(kind, file.name, checkpoints=True):
                    shutil.copyfile(file, stage / file.name)
    publish_bytes(target, lock)
    return Imported(name=name, added=len(moved), known=known, left=left, recomputed=recomputed)


def _complete(kind: str, folder: Path) -> bool:
    """Whether a folder holds all that others need of such a job: else it would count as done and be of no use."""
    if kind in bundle.WHOLE:
        return (folder / FILE).is_file() and (folder / "metrics.parquet").is_file() and (folder / RECORD).is_file()
    # Tokenizers and words do not travel, so a pre-training is complete only where weights are all it leaves.
    return kind == "pretrain" and (folder / "checkpoint.safetensors").is_file()


def _same(theirs: Path, ours: Path, path: Path) -> None:
    """Refuse a result that is here under the same key with other predictions."""
    if (theirs / FILE).is_file() and sha256_of(theirs / FILE) != sha256_of(ours / FILE):
        raise UserError(
            f"its predictions of {ours.name} are not those that are here under the same key",
            allowed="equal results of equal recipes; 'results diff' shows by how much they differ",
            path=path,
        )


def _lock(found: Results, path: Path, name: str) -> bytes:
    """The plan's file, with a word of where it comes from."""
    content: dict[str, Any] = json.loads((found.store.parent / found.name / LOCK).read_bytes())
    content["name"] = name
    content["manifest"] = {**(content.get("manifest") or {}), "bundle": {"name": found.name, "sha256": sha256_of(path)}}
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
