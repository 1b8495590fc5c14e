"""Runs the batch of an array task on its node, writes its diary, and saves and is requeued when Slurm ends it early.

Run as ``python -m refers_bench.execution.slurm.task FOLDER NUMBER WARNING`` by the script of the array.
"""

import contextlib
import datetime
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from refers_bench.errors import StorageError
from refers_bench.execution import task
from refers_bench.execution.background import repeat
from refers_bench.execution.engine import Outcome
from refers_bench.execution.progress import PlainView
from refers_bench.execution.slurm import events
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.script import AGAIN, CANNOT_WRITE
from refers_bench.files import publish_json, read_json
from refers_bench.jobs.interruption import SIGNALS
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore

#: Seconds by which Slurm may be early with a warning of the time limit.
_EARLY_S = 60.0


class DiaryView(PlainView):
    """Prints to the task's log, and writes to its diary when jobs begin and end.

    Args:
        total: jobs of the batch.
        path: of the task's diary.
    """

    def __init__(self, total: int, path: Path) -> None:
        super().__init__(total)
        self.path = path
        #: Keys of jobs that were preempted.
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

    0: all of it is done or recorded, or left to other coordinators; `AGAIN`: it is to be requeued; 143: it was
    cancelled or preempted.
    """
    folder, number, warning_s = Path(arguments[0]), int(arguments[1]), float(arguments[2])
    array, parent = Array(folder=folder, token=folder.parent.name), os.getppid()
    batch, diary = task.Batch.read(array.batch(number)), array.diary(number)
    came: list[int] = []
    stop = threading.Event()

    def signalled(received: int, frame: FrameType | None) -> None:
        came.append(received)
        stop.set()

    def leave_with_script() -> None:
        """End when the batch script is gone: Slurm then counts this task as ended."""
        if os.getppid() != parent:
            os._exit(70)

    for one in SIGNALS:
        signal.signal(one, signalled)
    repeat(leave_with_script, 0.5)
    node, gpus = (os.environ.get(name, "") for name in ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES"))
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    here = {"host": socket.gethostname(), "node": node, "pid": os.getpid(), "restarts": restarts, "gpus": gpus}
    events.note(diary, "began", **here)
    view = DiaryView(len(batch.attempts), diary)
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
        return 0 if near and not _get_on(batch, array, number, view.stopped, outcome) else AGAIN
    events.note(diary, "over", done=len(outcome.done), failed=len(outcome.failed), left=len(outcome.left))
    return 0


def _limit_is_near(path: Path, warning_s: float) -> bool:
    """Whether a signal came for the task's time limit.

    Args:
        path: into which the batch script wrote when Slurm would end it, as the signal came.
        warning_s: seconds before the limit at which the array has asked for a warning.
    """
    try:
        end = datetime.datetime.fromisoformat(path.read_text(encoding="utf-8").strip())
        warned = path.stat().st_mtime
    except (FileNotFoundError, ValueError):  # unlimited, or Slurm did not answer
        return False
    return end.timestamp() - warned < warning_s + _EARLY_S


def _get_on(batch: task.Batch, array: Array, number: int, stopped: Sequence[str], outcome: Outcome) -> bool:
    """Whether another run of this task helps: not, where a job has made no progress since its last time limit.

    Such a job fails, with "timeout"; otherwise it would be requeued for ever.
    """
    store, path = ResultStore(batch.settings.results), array.folder / f"task-{number}.limits.json"
    before: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError):
        before = read_json(path)
    steps = {key: int(store.said(key).get("step", 0)) for key in stopped}
    attempts = {attempt.job.key: attempt for attempt in batch.attempts}
    stuck = [key for key, step in steps.items() if key in before and step <= before[key]]
    for key in stuck:
        message = f"got no further between two time limits of its Slurm task (step {steps[key]})"
        record = {"message": message, **attempts[key].facts, "token": batch.token}
        store.fail(key, category="timeout", record=record)
    publish_json(path, {**before, **steps})
    return bool(set(outcome.left) - set(stuck))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
