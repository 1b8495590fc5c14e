"""Takes the results of a bundle into the store, without trusting what the bundle says of itself."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refers_bench.analysis import bundle
from refers_bench.analysis.predictions import FILE
from refers_bench.analysis.results import Results, load
from refers_bench.errors import UserError
from refers_bench.files import publish_bytes, publish_json, sha256_of
from refers_bench.jobs.imports import soundness
from refers_bench.manifest import names
from refers_bench.manifest.part import NAME
from refers_bench.store import frozen_plan, records
from refers_bench.store.archive import verify
from refers_bench.store.fsck import NEEDED
from refers_bench.store.plan import LOCK
from refers_bench.store.reading import read_json
from refers_bench.store.results import RECORD, ResultStore


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


def checked(
    path: Path, folder: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Results, int]:
    """Check an archive's files, plan, keys, records and metrics, with everything written below an empty folder.

    Returns:
        The results, and the number of results whose metrics were computed again.

    Raises:
        UserError: see `refers_bench.store.archive.verify`, `refers_bench.store.plan.read`,
            `refers_bench.store.frozen_plan.read` and `refers_bench.jobs.imports.soundness`; not a bundle.
    """
    with _of_archive(path, folder):
        verify(path, into=folder, most=bundle.most_bytes)
        about = read_json(folder / bundle.ABOUT) if (folder / bundle.ABOUT).is_file() else {}
        name = about.get("name")
        if about.get("version") != bundle.VERSION or not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise UserError("no bundle of this version", allowed=f"version {bundle.VERSION}", path=path)
        lock = folder / bundle.RESULTS / name / LOCK
        if not lock.is_file():
            raise UserError(f"holds no plan '{name}'", allowed="one plan and its results", path=path)
        # Files of plug-ins are those of the machine that made the bundle; of this one, none may be loaded by it.
        lock.write_bytes(_changed(lock, plugins=[]))
        soundness.check_tables(folder / bundle.RESULTS / "store")
        frozen_plan.find(folder / bundle.RESULTS, name)
        results = load(folder / bundle.RESULTS, name)
        return results, soundness.check(results, progress=progress)


@contextlib.contextmanager
def _of_archive(path: Path, folder: Path) -> Iterator[None]:
    """Errors about what an archive was unpacked to name the archive, and the member below its top folder."""
    try:
        yield
    except UserError as error:
        problems = []
        for one in error.problems:
            inside = one.path is not None and Path(one.path).is_relative_to(folder)
            member = f": {Path(one.path).relative_to(folder)}" if inside and one.path else ""
            problems.append(replace(one, path=f"{path}{member}" if inside or one.path is None else one.path))
        raise type(error)(problems) from error


def publish(
    path: Path,
    *,
    results: Path,
    scratch: Path,
    name: str | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Take the results of a bundle into the store, each marked as imported, then write its plan.

    The plan comes last. Where something fails before, the results that were added are removed again; those that a
    killed import leaves are marked, so that no run takes them for its own, and a second import completes it.

    Args:
        path: the archive.
        results: the results folder.
        scratch: an empty folder.
        name: of the plan; None for the bundle's own.
        progress: called with (done, total) while metrics are computed again.

    Raises:
        UserError: the archive is not what it should be; a plan of that name with other content, or a result with
            other predictions, is here already.
    """
    if name is not None and not names.usable(name):
        raise UserError(f"the name '{name}'", allowed=names.ALLOWED)
    found, recomputed = checked(path, scratch, progress=progress)
    name = name or found.name
    target, store = results / name / LOCK, ResultStore(results)
    origin = {"imported": "bundle", "bundle": found.name, "file": path.name, "sha256": sha256_of(path)}
    moved, known, left = [], 0, 0
    for key in found.records:
        folder = found.store / key
        if not _complete(found.jobs[key].kind, folder):
            left += 1
        elif store.state(key) == "done":
            _same(folder, store.folder(key), path)
            known += 1
        else:
            moved.append(key)
    lock = _lock(found, origin, name)
    if not names.usable(name) or (target.is_file() and target.read_bytes() != lock):
        what = f"a plan '{name}' with other content is here" if target.is_file() else f"its name, '{name}'"
        raise UserError(what, allowed="another name: --name", path=target)
    frozen = _frozen(found, results, name)
    added: list[str] = []
    try:
        for key in moved:
            added.append(key)
            _store(found, key, store, origin)
        _diverged(found, store, origin)
        if frozen:
            publish_bytes(frozen_plan.path_of(results, name), frozen)
        publish_bytes(target, lock)
    except BaseException:
        for key in added:
            store.withdraw(key)
        if frozen:
            frozen_plan.path_of(results, name).unlink(missing_ok=True)
        raise
    return Imported(name=name, added=len(moved), known=known, left=left, recomputed=recomputed)


def _frozen(found: Results, results: Path, name: str) -> bytes:
    """The bundle's frozen plan, whose digest was checked; nothing where it has none, or it is here already."""
    theirs, ours = frozen_plan.path_of(found.store.parent, found.name), frozen_plan.path_of(results, name)
    content = theirs.read_bytes() if theirs.is_file() else b""
    if not content or not ours.exists():
        return content
    if ours.read_bytes() != content:
        raise UserError("another frozen plan is here", allowed="another name: --name", path=ours)
    return b""


def _store(found: Results, key: str, store: ResultStore, origin: Mapping[str, str]) -> None:
    """Publish one result, whose record says where it comes from, and where it had come from before."""
    record = dict(found.records[key])
    before = {"before": record["origin"]} if record.get("origin") else {}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with store.publish(key) as stage:
        for file in (found.store / key).iterdir():
            if bundle.travels(found.jobs[key].kind, file.name, checkpoints=True):
                shutil.copyfile(file, stage / file.name)
        # The digests are those of the files that were checked, whatever the bundle's record lists.
        own = {"version": records.VERSION, "files": records.digests(stage), "origin": {**origin, "at": at, **before}}
        publish_json(stage / RECORD, {**record, **own})


def _diverged(found: Results, store: ResultStore, origin: Mapping[str, str]) -> None:
    """Record the candidates of tuning that diverged, without which no choice between the others could be made here.

    A run here tries them again, as it does what failed here.
    """
    candidates = {cell.key for cell in found.plan.cells if cell.candidate}
    for key, failure in found.failures.items():
        if key in candidates and failure["category"] == "nan" and store.state(key) == "to do":
            store.fail(key, category="nan", record={"message": str(failure.get("message", "")), "origin": origin})


def _complete(kind: str, folder: Path) -> bool:
    """Whether a folder holds all that others need of such a job: else it would count as done and be of no use."""
    # Tokenizers and words do not travel, so a pre-training is complete only where weights are all it leaves.
    if kind not in (*bundle.WHOLE, "pretrain"):
        return False
    return all((folder / name).is_file() for name in (*NEEDED[kind], RECORD))


def _same(theirs: Path, ours: Path, path: Path) -> None:
    """Refuse a result that is here under the same key with other predictions, or with damaged ones."""
    if (theirs / FILE).is_file() and sha256_of(theirs / FILE) != sha256_of(records.checked(ours, FILE)):
        allowed = "equal results of equal recipes; 'results diff' shows by how much they differ"
        found = f"its predictions of {ours.name} are not those that are here under the same key"
        raise UserError(found, allowed=allowed, path=path)


def _lock(found: Results, origin: Mapping[str, str], name: str) -> bytes:
    """The plan's file, with a note of where it comes from."""
    about = {"name": origin["bundle"], "sha256": origin["sha256"]}
    manifest = {**found.plan.manifest, "bundle": about}
    return _changed(found.store.parent / found.name / LOCK, name=name, manifest=manifest)


def _changed(lock: Path, **parts: Any) -> bytes:
    """The content of a plan's file with other parts."""
    content = {**read_json(lock), **parts}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
