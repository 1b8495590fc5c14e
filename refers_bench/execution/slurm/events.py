"""What has happened to the tasks of arrays, in their own words and in those of who watched them?

Each file of events has one writer; a line is an event: ``{"time": seconds since 1970, "what": ..., ...}``.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench.files import storage_errors


def root(results: Path) -> Path:
    """Folder of all arrays."""
    return results / "work" / "slurm"


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
        restarts: of the task when that run began.
    """

    began: bool = False
    started: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    ended: Mapping[str, str] = field(default_factory=dict)
    over: bool = False
    node: str = ""
    restarts: int = 0


def diary(path: Path) -> Diary:
    """What a task says; nothing where it has not begun."""
    started: set[str] = set()
    running: set[str] = set()
    ended: dict[str, str] = {}
    began, over, node, restarts = False, False, "", 0
    for event in events(path):
        match event["what"]:
            case "began":
                began, started, running, over, node = True, set(), set(), False, event["node"]
                restarts = event.get("restarts", 0)
            case "job began":
                started.add(event["key"])
                running.add(event["key"])
            case "job ended":
                running.discard(event["key"])
                ended[event["key"]] = event["category"]
            case "over":
                over = True
    return Diary(
        began=began,
        started=frozenset(started),
        running=frozenset(running),
        ended=ended,
        over=over,
        node=node,
        restarts=restarts,
    )


def history(results: Path, *, most: int = 1000) -> list[dict[str, Any]]:
    """What coordinators saw happen to tasks on Slurm (killed, requeued, lost, ...), oldest first.

    Args:
        results: results folder.
        most: events, counted from the last.
    """
    seen = [event for path in root(results).glob("*/*/watch.jsonl") for event in events(path)]
    return sorted(seen, key=lambda event: event["time"])[-most:]
