"""Programs in the background whose processes, and all that these start, are found again by a mark in their environment.

Linux only: processes are read from ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

#: The variable that holds the mark.
MARK = "MARKED_BY_A_TEST"


class Marked:
    """The command line in a process of its own, in a new session.

    Args:
        arguments: of ``refers-bench``.
        cwd: working folder.
        environment: further variables.
    """

    def __init__(self, *arguments: str, cwd: Path, environment: Mapping[str, str]) -> None:
        value = uuid.uuid4().hex
        self._mark = f"{MARK}={value}".encode()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "refers_bench", *arguments], cwd=cwd, start_new_session=True,
            env={**os.environ, **environment, MARK: value}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def alive(self) -> dict[int, str]:
        """Processes with the mark that are no zombies, by number; their command lines."""
        return {number: command for number, (command, _) in self._facts().items()}

    def _facts(self) -> dict[int, tuple[str, bool]]:
        """Of each process, its command line, and whether it has several threads or children with the mark."""
        commands, threads, parents = {}, {}, set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if self._mark in (folder / "environ").read_bytes().split(b"\0") and fields[0] not in (b"Z", b"X"):
                    number = int(folder.name)
                    commands[number] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    threads[number] = int(fields[17])
                    parents.add(int(fields[1]))
        return {number: (commands[number], threads[number] > 1 or number in parents) for number in commands}

    def stop_others(self) -> None:
        """SIGSTOP to those that have started others or begun to watch, but for the first and the keeper of semaphores."""
        for number, (_, watches) in self._facts().items():
            if watches and number != self.process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGSTOP)

    def killed(self, *, within_s: float) -> tuple[int, float, list[str]]:
        """SIGKILL the first process alone; how many others there were, seconds until all were gone, and who was not.

        Args:
            within_s: seconds after which whoever is left is killed.
        """
        others, since = len(self.alive()) - 1, time.monotonic()
        self.process.kill()
        self.process.wait()
        while (left := self.alive()) and time.monotonic() - since < within_s:
            time.sleep(0.02)
        seconds = time.monotonic() - since
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return others, seconds, list(left.values())
