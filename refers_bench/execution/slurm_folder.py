"""Which arrays were sent to Slurm, and what has happened to their tasks? Files below ``<results>/work/slurm``.

``<token>/<number>/`` is an array: ``script.sh``, ``array.json`` (which jobs each task runs), ``task-<k>.json`` (its
batch), ``task-<k>.log`` (what it prints), ``task-<k>.jsonl`` (what it does, in its own words), ``watch.jsonl`` (what
coordinators saw happen to its tasks), ``id`` (once Slurm has it) and ``closed`` (once nothing of it is left to watch).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.task import Batch
from refers_bench.files import publish_bytes, publish_json, storage_errors

VERSION = 1
#: Begins the name of every array in Slurm's queue.
PREFIX = "refers-bench"


def root(results: Path) -> Path:
    """Folder of all arrays."""
    return results / "work" / "slurm"


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array on disk.

    Attributes:
        folder: of its files.
        token: under which its jobs are claimed.
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
        """The same once Slurm has given it a number; written down."""
        publish_bytes(self.folder / "id", number.encode())
        return Array(folder=self.folder, token=self.token, id=number)

    def close(self) -> None:
        """Nothing of it is left to watch: its batches go, its logs stay."""
        (self.folder / "closed").touch()
        for path in self.folder.glob("task-*.json"):
            path.unlink(missing_ok=True)


def write(
    folder: Path, *, token: str, tasks: Sequence[Sequence[Attempt]], device: str, settings: Settings,
    side_by_side: int = 1,
) -> Array:  # fmt: skip
    """An array's files, before it is sent.

    Args:
        folder: of the array, which does not exist.
        token: under which its jobs are claimed.
        tasks: attempts of each task.
        device: asked for.
        settings: of the coordinator.
        side_by_side: jobs that a task runs at a time.

    Raises:
        StorageError: they cannot be written.
    """
    array = Array(folder=folder, token=token)
    for number, attempts in enumerate(tasks):
        batch = Batch(
            engine="slurm", token=token, device=device, attempts=attempts, settings=settings, side_by_side=side_by_side
        )
        batch.write(array.batch(number))
    names = [[{"key": one.job.key, "name": one.job.name} for one in attempts] for attempts in tasks]
    publish_json(folder / "array.json", {"version": VERSION, "name": array.name, "tasks": names})
    return array


def arrays(results: Path, *, closed: bool = False) -> Iterator[Array]:
    """Arrays that somebody has sent, oldest first.

    Args:
        results: results folder.
        closed: also those of which nothing is left to watch.
    """
    found = sorted(root(results).glob("*/*/array.json"), key=lambda path: path.stat().st_mtime)
    for path in found:
        if closed or not (path.parent / "closed").exists():
            number = path.parent / "id"
            yield Array(
                folder=path.parent, token=path.parent.parent.name,
                id=number.read_text(encoding="utf-8") if number.is_file() else "",
            )  # fmt: skip


def note(path: Path, what: str, **facts: Any) -> dict[str, Any]:
    """Append an event to a file that one process writes, and return it.

    Raises:
        StorageError: it cannot be written.
    """
    event = {"time": round(time.time(), 3), "what": what, **facts}
    with storage_errors(path), path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(event, ensure_ascii=False) + "\n")
    return event


def events(path: Path) -> list[dict[str, Any]]:
    """Events of a file, in their order; a line that is being written is left out."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


@dataclass(frozen=True, kw_only=True)
class Diary:
    """What a task has written down of its last run.

    Attributes:
        began: whether it ever ran.
        started: keys of the jobs it began.
        running: those of them that it has not said to have ended.
        ended: key -> category, of all its runs.
        over: whether it has ended of itself, in order.
        node: it runs on.
    """

    began: bool = False
    started: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    ended: Mapping[str, str] = field(default_factory=dict)
    over: bool = False
    node: str = ""


def diary(path: Path) -> Diary:
    """What a task says; nothing where it has not begun."""
    started: set[str] = set()
    running: set[str] = set()
    ended: dict[str, str] = {}
    began, over, node = False, False, ""
    for event in events(path):
        match event["what"]:
            case "began":
                began, started, running, over, node = True, set(), set(), False, event["node"]
            case "job began":
                started.add(event["key"])
                running.add(event["key"])
            case "job ended":
                running.discard(event["key"])
                ended[event["key"]] = event["category"]
            case "over":
                over = True
    return Diary(began=began, started=frozenset(started), running=frozenset(running), ended=ended, over=over, node=node)


def history(results: Path, *, most: int = 1000) -> list[dict[str, Any]]:
    """What coordinators saw happen to tasks on Slurm (killed, requeued, lost, ...), oldest first.

    Args:
        results: results folder.
        most: events, counted from the last.
    """
    seen = [event for path in root(results).glob("*/*/watch.jsonl") for event in events(path)]
    return sorted(seen, key=lambda event: event["time"])[-most:]
