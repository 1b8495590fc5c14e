"""Records the order in which a process changes files, and ends it before any one of these changes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Calls that change what is on disk, as Python's audit events name them.
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def shown(path: str | Path, folder: Path) -> str:
    """A path below the folder, with "*" in place of what is drawn anew each time."""
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    return re.sub(r"[0-9a-f]{32}", "*", relative)


class SystemCalls:
    """Runs an action in a process of its own (a fork of this one), which tells what it does to the files of a folder.

    Args:
        folder: whose files are watched.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, action: Callable[[], Any], *, killed_before: int | None = None) -> list[str]:
        """The calls in their order: "write PATH", "fsync PATH SIZE", "rename FROM TO", "remove PATH", "rmdir PATH", ...

        Args:
            action: what the process does.
            killed_before: number of the call, from 0, before which it is killed; None lets it end.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            status = 1
            with contextlib.suppress(BaseException):
                self._watch(writing, killed_before)
                action()
                status = 0
            os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as stream:
            calls = [json.loads(line) for line in stream]
        _, status = os.waitpid(child, 0)
        expected = 0 if killed_before is None or killed_before >= len(calls) else -signal.SIGKILL
        assert os.waitstatus_to_exitcode(status) == expected, calls
        return calls[:killed_before]

    def _watch(self, pipe: int, killed_before: int | None) -> None:
        count, fsync, inside = 0, os.fsync, False

        def note(call: str) -> None:
            nonlocal count
            os.write(pipe, (json.dumps(call) + "\n").encode())
            if count == killed_before:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        def fsynced(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            status = os.fstat(number)
            place = next(
                path for path in [self.folder, *self.folder.rglob("*")] if os.path.samestat(path.stat(), status)
            )
            size = "" if place.is_dir() else f" {status.st_size}"
            note(f"fsync {shown(place, self.folder)}{size}")
            fsync(number)

        def heard(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal inside
            if inside or event not in EVENTS or not isinstance(arguments[0], str | os.PathLike):
                return
            inside = True
            try:
                self._heard(event, arguments, note)
            finally:
                inside = False

        os.fsync = os.fdatasync = fsynced
        sys.addaudithook(heard)

    def _heard(self, event: str, arguments: tuple[Any, ...], note: Callable[[str], None]) -> None:
        paths = [shown(one, self.folder) for one in arguments[: 2 if event in ("os.rename", "os.link") else 1]]
        there = os.path.lexists(arguments[0])
        idle = {
            "open": not isinstance(arguments[-1], int) or not arguments[-1] & WRITES,
            "os.mkdir": there,
            "shutil.rmtree": not there,
        }
        if paths[0].startswith("..") or idle.get(event, False):
            return
        note(" ".join([event.rpartition(".")[2].replace("open", "write"), *paths]))


@pytest.fixture
def system_calls(tmp_path: Path) -> SystemCalls:
    """`SystemCalls` on the test's own folder."""
    return SystemCalls(tmp_path)
