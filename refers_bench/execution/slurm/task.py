"""What does an array task do on its node: run its batch, note what happens, save and go on later when told to?

Run as ``python -m refers_bench.execution.slurm.task FOLDER NUMBER WARNING`` by the script of the array.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from refers_bench.errors import StorageError
from refers_bench.execution import task
from refers_bench.execution.engine import Outcome
from refers_bench.execution.progress import PlainView
from refers_bench.execution.slurm import events
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.script import AGAIN, CANNOT_WRITE
from refers_bench.files import publish_json, read_json
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore

#: Seconds by which Slurm may be early with a warning of the time limit.
_EARLY_S = 60.0


class Noting(PlainView):
    """Prints to the task's log, and notes when jobs begin and end.

    Args:
        total: jobs of the batch.
        path: of the task's diary.
    """

    def __init__(self, total: int, path: Path) -> None:
        super().__init__(total)
        self.path = path
        #: Keys of jobs that were told to make room.
        self.stopped: list[str] = []

    def started(self, job: Job) -> None:
        """Note it."""
        super().started(job)
        events.note(self.path, "job began", key=job.key, name=job.name)

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        """Note it."""
        super().ended(job, category, seconds, message)
        if category == "preempted":
            self.stopped.append(job.key)
        events.note(self.path, "job ended", key=job.key, name=job.name, category=category, message=message[:500])


def main(arguments: Sequence[str]) -> int:
    """Run the task ``FOLDER NUMBER``, warned so many seconds before its time limit; returns its exit status.

    0: all of it is done or recorded, or left to others; `AGAIN`: it wants to go on in a new run; 143: it was told to
    leave, by a cancellation or a preemption.
    """
    folder, number, warning_s = Path(arguments[0]), int(arguments[1]), float(arguments[2])
    array = Array(folder=folder, token=folder.parent.name)
    batch, diary = task.Batch.read(array.batch(number)), array.diary(number)
    came: list[int] = []
    stop = threading.Event()

    def told(received: int, frame: FrameType | None) -> None:
        came.append(received)
        stop.set()

    for one in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(one, told)
    _leave_with(os.getppid())
    events.note(
        diary,
        "began",
        host=socket.gethostname(),
        node=os.environ.get("SLURMD_NODENAME", ""),
        pid=os.getpid(),
        restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    )
    view = Noting(len(batch.attempts), diary)
    try:
        outcome = task.run(batch, stop=stop, view=view)
    except StorageError as error:
        view.write(str(error))
        return CANNOT_WRITE
    if came and outcome.left:
        events.note(diary, "told", signal=signal.Signals(came[0]).name, left=len(outcome.left))
        if came[0] == signal.SIGTERM:
            return 128 + signal.SIGTERM
        near = _limit_is_near(array.folder / f"task-{number}.end", warning_s)
        if near and not _get_on(batch, array, number, view.stopped, outcome):
            return 0
        return AGAIN
    events.note(diary, "over", done=len(outcome.done), failed=len(outcome.failed), left=len(outcome.left))
    return 0


def _leave_with(parent: int) -> None:
    """End when the batch script is gone: Slurm then counts this task as ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(70)

    threading.Thread(target=watch, daemon=True, name="script watch").start()


def _limit_is_near(path: Path, warning_s: float) -> bool:
    """Whether a signal came for the task's time limit.

    Args:
        path: into which the batch script wrote when Slurm would end it, as the signal came.
        warning_s: seconds before the limit that the array has asked to be warned.
    """
    try:
        end = datetime.datetime.fromisoformat(path.read_text(encoding="utf-8").strip())
        warned = path.stat().st_mtime
    except (FileNotFoundError, ValueError):  # unlimited, or Slurm did not answer
        return False
    return end.timestamp() - warned < warning_s + _EARLY_S


def _get_on(batch: task.Batch, array: Array, number: int, stopped: Sequence[str], outcome: Outcome) -> bool:
    """Whether another run of this task helps: not, where a job got no further than at its last time limit.

    Such a job has failed, with "timeout"; without this it would go back to the queue for ever.
    """
    store, path = ResultStore(batch.settings.results), array.folder / f"task-{number}.limits.json"
    before: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError):
        before = read_json(path)
    steps = {key: int(store.said(key).get("step", 0)) for key in stopped}
    attempts = {attempt.job.key: attempt for attempt in batch.attempts}
    stuck = [key for key, step in steps.items() if key in before and step <= before[key]]
    for key in stuck:
        job = attempts[key].job
        store.fail(
            key,
            category="timeout",
            record={
                "message": f"got no further between two time limits of its Slurm task (step {steps[key]})",
                "name": job.name,
                "kind": job.kind,
                "attempts": attempts[key].number,
                "token": batch.token,
            },
        )
    publish_json(path, {**before, **steps})
    return bool(set(outcome.left) - set(stuck))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
