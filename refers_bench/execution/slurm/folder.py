"""Keeps the files of the arrays that were sent to Slurm, below ``<results>/work/slurm``.

``<token>/<number>/`` is an array: ``script.sh``, ``array.json`` (which jobs each task runs), ``task-<k>.json`` (its
batch), ``task-<k>.log`` (what it prints), ``task-<k>.jsonl`` (its diary), ``watch.jsonl`` (what coordinators saw happen
to its tasks), ``id`` (once Slurm has accepted it) and ``closed`` (once nothing of it is left to watch).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm.events import root
from refers_bench.execution.task import Batch
from refers_bench.files import publish_bytes, publish_json

VERSION = 1
#: Begins the name of every array in Slurm's queue.
PREFIX = "refers-bench"


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array on disk.

    Attributes:
        folder: of its files.
        token: under which its jobs are leased.
        id: Slurm's; '' until that is known.
    """

    folder: Path
    token: str
    id: str = ""

    @property
    def name(self) -> str:
        """In Slurm's queue: by it an array is found whose id was never written."""
        return f"{PREFIX}-{self.token}-{self.folder.name}"

    def task_id(self, number: int) -> str:
        """Slurm's id of a task."""
        return f"{self.id}_{number}"

    def batch(self, number: int) -> Path:
        """What a task runs."""
        return self.folder / f"task-{number}.json"

    def log(self, number: int) -> Path:
        """What it prints."""
        return self.folder / f"task-{number}.log"

    def diary(self, number: int) -> Path:
        """What it does."""
        return self.folder / f"task-{number}.jsonl"

    @property
    def watched(self) -> Path:
        """What coordinators saw."""
        return self.folder / "watch.jsonl"

    def known(self, number: str) -> Array:
        """The same once Slurm has given it an id, which is written to its folder."""
        publish_bytes(self.folder / "id", number.encode())
        return replace(self, id=number)

    def close(self) -> None:
        """Nothing of it is left to watch: its batches are removed, its logs stay."""
        (self.folder / "closed").touch()
        for path in self.folder.glob("task-*.json"):
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Slurm has not accepted it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write(
    folder: Path, *, token: str, tasks: Sequence[Sequence[Attempt]], settings: Settings, side_by_side: int = 1
) -> Array:
    """An array's files, before it is sent.

    Args:
        folder: of the array, which does not exist.
        token: under which its jobs are leased.
        tasks: attempts of each task.
        settings: of the coordinator.
        side_by_side: jobs that a task runs at a time.

    Raises:
        StorageError: they cannot be written.
    """
    array, device = Array(folder=folder, token=token), settings.device
    common = Batch(engine="slurm", token=token, device=device, settings=settings, side_by_side=side_by_side)
    for number, attempts in enumerate(tasks):
        replace(common, attempts=attempts).write(array.batch(number))
    names = [[{"key": one.job.key, "name": one.job.name} for one in attempts] for attempts in tasks]
    publish_json(folder / "array.json", {"version": VERSION, "name": array.name, "tasks": names})
    return array


def arrays(results: Path, *, closed: bool = False) -> Iterator[Array]:
    """Arrays that were sent, oldest first.

    Args:
        results: results folder.
        closed: also those of which nothing is left to watch.
    """
    for path in sorted(root(results).glob("*/*/array.json"), key=lambda path: path.stat().st_mtime):
        folder, number = path.parent, path.parent / "id"
        if closed or not (folder / "closed").exists():
            known = number.read_text(encoding="utf-8") if number.is_file() else ""
            yield Array(folder=folder, token=folder.parent.name, id=known)
