"""Runs jobs one after the other in the command's own process, where `breakpoint()` and debuggers reach them.

What jobs print stays on the terminal and is not kept in their logs. The command is not protected from its jobs: one
that ends its process ends the run, no time limit is enforced, and a request to stop is read between two jobs. Leaving
the debugger with ``quit`` interrupts the run, as Ctrl-C does.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from refers_bench.execution import worker
from refers_bench.execution.engine import Attempt, Ending, Engine, Settings
from refers_bench.printable import printable_lines


class DebugEngine(Engine):
    """One job at a time, in this process.

    Args:
        settings: folders, roots, threads and the first of the slots are read.
        execution: not read.
    """

    name = "debug"
    here = in_command = True

    def __init__(self, settings: Settings, execution: Mapping[str, Any]) -> None:
        # Images are decoded in this process, too.
        self.settings = replace(settings, processes=1)
        self.waiting: list[Attempt] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Sets the environment of the slot, which torch reads when the first job loads it."""
        worker.limit_threads(self.settings.threads)
        os.environ.update(self.settings.slots[0].environment)
        yield

    def room(self, kind: str = "") -> int:
        """One job at a time."""
        return 1 - len(self.waiting)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Keeps the job for the next call of `wait`."""
        self.waiting += attempts

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Runs the job to its end, and shows the traceback where it failed."""
        attempt = self.waiting.pop()
        context = self.settings.context(attempt, self.settings.slots[0].device)
        facts = worker.attempted(self.settings.entry, vars(attempt.job), context)
        sys.stderr.writelines(f"{printable_lines(line)}\n" for line in facts.get("traceback", ()))
        return [Ending.of(attempt.job.key, facts)]

    def interrupt(self) -> None:
        """Nothing runs between two calls of `wait`."""


#: The factory by which the engine is found.
engine = DebugEngine
