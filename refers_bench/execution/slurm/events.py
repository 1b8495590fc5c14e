"""Keeps the events of array tasks: those that a task writes itself, and those that its coordinators observe.

Each file of events has one writer; a line is an event: ``{"time": seconds since 1970, "what": ..., ...}``.
"""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench.files import storage_errors


def root(results: Path) -> Path:
    """Folder of all arrays."""
    return results / "work" / "slurm"


def note(path: Path, what: str, **facts: Any) -> None:
    """Append an event to a file that one process writes.

    Raises:
        StorageError: it cannot be written.
    """
    event = {"time": round(time.time(), 3), "what": what, **facts}
    with storage_errors(path), path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(event, ensure_ascii=False) + "\n")


def events(path: Path) -> list[dict[str, Any]]:
    """Events of a file, in their order; a line that is being written is left out."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


@dataclass(kw_only=True)
class Diary:
    """What a task has written about its last run.

    Attributes:
        began: whether it ever ran.
        started: keys of the jobs it began.
        running: those of them whose end it has not written.
        ended: key -> category, of all its runs.
        over: whether it has ended normally.
        node: it runs on.
        restarts: of the task when that run began.
    """

    began: bool = False
    started: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)
    over: bool = False
    node: str = ""
    restarts: int = 0


def diary(path: Path) -> Diary:
    """The diary of a task; an empty one where it has not begun."""
    found = Diary()
    for event in events(path):
        match event["what"]:
            case "began":
                restarts = event.get("restarts", 0)
                found = Diary(began=True, ended=found.ended, node=event["node"], restarts=restarts)
            case "job began":
                found.started.add(event["key"])
                found.running.add(event["key"])
            case "job ended":
                found.running.discard(event["key"])
                found.ended[event["key"]] = event["category"]
            case "over":
                found.over = True
    return found


def history(results: Path) -> list[dict[str, Any]]:
    """What coordinators saw happen to tasks on Slurm (killed, requeued, lost, ...), oldest first.

    Args:
        results: results folder.
    """
    seen = [event for path in root(results).glob("*/*/watch.jsonl") for event in events(path)]
    return sorted(seen, key=lambda event: event["time"])
