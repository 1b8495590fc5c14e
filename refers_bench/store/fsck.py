"""Checks the results of a store, file by file, and moves aside what is damaged, so that it counts as not done."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import Problem, UserError
from refers_bench.files import storage_errors
from refers_bench.machine import cores
from refers_bench.store import records
from refers_bench.store.reading import read_json
from refers_bench.store.records import RECORD, REMEDY
from refers_bench.store.results import FAILURE, ResultStore

#: Kind of job -> files that every result of it has.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "prepare": ("index.parquet",),
    "discover": ("words.parquet",),
    "pretrain": ("checkpoint.safetensors",),
    "heads": ("heads.safetensors", "heads.json"),
    **dict.fromkeys(("finetune", "frozen", "out_of_fold", "import"), ("predictions.parquet", "metrics.parquet")),
    "attend": ("maps.safetensors", "annotated.parquet"),
    "localise": ("predicted.parquet", "overlaps.parquet"),
}
#: What a record holds besides the digests.
_FIELDS = {"kind": str, "name": str, "spec": dict, "facts": dict}
#: Name of what was moved aside: no listing of the store shows it, and no run removes it.
ASIDE = "damaged"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of one result.

    Attributes:
        key: of the result.
        kind: of its job; '' where its record cannot be read.
        digests: whether its record holds digests.
        problems: each makes the result unusable.
        extra: files that its job did not write; the result itself is sound.
    """

    key: str
    kind: str = ""
    digests: bool = True
    problems: tuple[Problem, ...] = ()
    extra: tuple[Problem, ...] = ()


def check(
    store: ResultStore, keys: Iterable[str] | None, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Found]:
    """Check results, several at a time.

    Args:
        store: of the results.
        keys: of jobs, done or not; None for every result of the store.
        progress: called with (done, total) after each result.
    """
    listing = store.listing()
    there = listing.done | listing.failed
    wanted = sorted(there if keys is None else there & set(keys))
    found: list[Found] = []
    with ThreadPoolExecutor(max_workers=cores()) as threads:
        looks = threads.map(lambda key: _result(store, key) if key in listing.done else _failure(store, key), wanted)
        for one in looks:
            found.append(one)
            progress(len(found), len(wanted))
    return found


def _failure(store: ResultStore, key: str) -> Found:
    """The record of a failed attempt."""
    path = store.root / f"{key}{FAILURE}"
    try:
        read_json(path)
    except UserError as error:
        allowed = "the record of a failure; 'refers-bench run' tries the job again"
        return Found(key=key, problems=(Problem(found=error.problems[0].found, allowed=allowed, path=path),))
    return Found(key=key)


def _result(store: ResultStore, key: str) -> Found:
    folder = store.folder(key)
    if not folder.is_dir():
        return Found(key=key, problems=(Problem(found="a file instead of a folder", allowed=REMEDY, path=folder),))
    try:
        record = records.read(folder)
    except UserError as error:
        return Found(key=key, problems=error.problems)
    problems = list(_in_record(folder / RECORD, record))
    listed = record.get("files")
    needed = NEEDED.get(str(record.get("kind")), ())
    names = [path.name for path in sorted(folder.iterdir()) if path.name != RECORD and path.name[0] != "."]
    if listed is None:
        missing = [name for name in needed if name not in names]
        problems += [Problem(found="missing", allowed=REMEDY, path=folder / name) for name in missing]
        problems += [one for name in names if (one := _unreadable(folder / name))]
        return Found(key=key, kind=str(record.get("kind")), digests=False, problems=tuple(problems))
    unlisted = [name for name in needed if name not in listed]
    problems += [Problem(found=f"lists no {name}", allowed=REMEDY, path=folder / RECORD) for name in unlisted]
    problems += [one for name in listed if (one := records.problem(folder / name, listed[name]))]
    allowed = "the files that its job wrote: move it elsewhere, which 'refers-bench results fsck --repair' does"
    extra = [
        Problem(found="a file beside them", allowed=allowed, path=folder / name) for name in names if name not in listed
    ]
    return Found(key=key, kind=str(record.get("kind")), problems=tuple(problems), extra=tuple(extra))


def _in_record(path: Path, record: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the content of a record that could be read."""
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind):
            yield Problem(found=f"no '{name}' in this record", allowed=REMEDY, path=path)
            return
    try:
        key = identity.key(record["spec"])
    except (TypeError, ValueError) as error:
        key = str(error)
    if key != record["key"]:
        yield Problem(found=f"its specification is that of another job ({key})", allowed=REMEDY, path=path)


def _unreadable(path: Path) -> Problem | None:
    """Why a file without a recorded digest cannot be read; None where it can, or is of an unknown kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                file.read()
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy"):
                pass
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        return None
    except (OSError, ValueError, RecursionError, pa.ArrowException, SafetensorError) as error:
        return Problem(found=f"cannot be read: {error}", allowed=REMEDY, path=path)


def move_aside(store: ResultStore, found: Iterable[Found]) -> list[tuple[Path, Path]]:
    """Move what is damaged to names in the store that count for nothing; nothing is deleted.

    Args:
        store: of the results.
        found: what `check` found.

    Returns:
        What was moved, and where it is now.

    Raises:
        StorageError: the store cannot be written.
    """
    moved = []
    for one in found:
        failed = [problem.path for problem in one.problems if str(problem.path).endswith(FAILURE)]
        paths = failed or ([store.folder(one.key)] if one.problems else [problem.path for problem in one.extra])
        for path in (Path(str(given)) for given in paths):
            aside = store.root / f".{one.key}.{uuid.uuid4().hex}.{ASIDE}"
            with storage_errors(path):
                path.rename(aside)
            moved.append((path, aside))
    return moved
