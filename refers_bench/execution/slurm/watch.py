"""Watches the tasks that Slurm holds: begun, done, killed, requeued, lost, cancelled."""

import contextlib
import getpass
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.slurm import endings
from refers_bench.execution.slurm import events as slurm_events
from refers_bench.execution.slurm.commands import ALIVE, CommandFailed, Row, Slurm
from refers_bench.execution.slurm.events import Diary
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.task import ending_in_store
from refers_bench.printable import printable
from refers_bench.store.results import ResultStore

#: Seconds between two checks of the store, and of the queue; a slow queue is asked less often.
STORE_S, QUEUE_S, SLOWEST_S = 1.0, 3.0, 10.0
#: Seconds that a result may take to be visible here once Slurm reports that its task has ended.
SETTLE_S = 60.0
#: Queries of the queue that a task may be missing from before it counts as forgotten.
MISSES = 3
#: Events of a task in a failure's record.
EVENTS = 20
#: Seconds that a node gets to clear away a task before its next run is hastened: too early, and Slurm fails that run.
CLEAR_S = 4.0


@dataclass(kw_only=True)
class Watched:
    """A task that Slurm holds.

    Attributes:
        array: it belongs to.
        number: of the task.
        attempts: by key, those that have not ended.
        row: as it was last shown, or as earlier coordinators wrote down.
        misses: queries of the queue since it was last shown.
        begun: keys of the jobs that the coordinator knows to have begun.
        over: when it was first seen to have ended.
        back: when it was seen to have been requeued.
    """

    array: Array
    number: int
    attempts: dict[str, Attempt]
    row: Row
    misses: int = 0
    begun: set[str] = field(default_factory=set)
    over: float | None = None
    back: float = -math.inf

    @property
    def id(self) -> str:
        """Slurm's id of it."""
        return self.array.task_id(self.number)

    def diary(self) -> Diary:
        """What it has written about its last run."""
        return slurm_events.diary(self.array.diary(self.number))

    def seen(self) -> list[dict[str, Any]]:
        """What coordinators saw happen to it."""
        return [event for event in slurm_events.events(self.array.watched) if event.get("task") == self.id]


class Watcher:
    """Checks store and queue, and reports which attempts have begun or ended.

    Args:
        settings: of the coordinator.
        slurm: its commands.
    """

    def __init__(self, settings: Settings, slurm: Slurm) -> None:
        self.settings, self.slurm = settings, slurm
        self.store = ResultStore(settings.results)
        #: By Slurm's id of the task, and which task a job is in.
        self.tasks: dict[str, Watched] = {}
        self.task_of: dict[str, str] = {}
        #: What has not been reported to the coordinator yet.
        self.endings: list[Ending] = []
        #: Tasks that this coordinator has cancelled.
        self.cancelled: set[str] = set()
        self.looked_store = self.looked_queue = 0.0
        #: Whether the queue answered when it was last asked.
        self.answers = True

    def add(self, array: Array, number: int, attempts: Sequence[Attempt]) -> None:
        """Watch a task with these attempts."""
        by_key = {attempt.job.key: attempt for attempt in attempts}
        for key in by_key.keys() & self.task_of.keys():  # left of an attempt that another coordinator took over
            self.tasks[self.task_of[key]].attempts.pop(key)
        if by_key:
            one = Watched(array=array, number=number, attempts=by_key, row=Row(id=array.task_id(number)))
            one.row = replace(one.row, restarts=max((event["restarts"] for event in one.seen()), default=0))
            self.tasks[one.id] = one
            self.task_of.update(dict.fromkeys(by_key, one.id))

    def look(self) -> None:
        """Check the store and the queue, when it is time."""
        now = time.monotonic()
        if now - self.looked_store >= STORE_S:
            self._look_at_store()
            self.looked_store = time.monotonic()
        if now - self.looked_queue >= min(SLOWEST_S, max(QUEUE_S, 10 * self.slurm.took_s)):
            self._look_at_queue()
            self.looked_queue = time.monotonic()

    def _end(self, task: Watched, ending: Ending) -> None:
        task.attempts.pop(ending.key)
        self.task_of.pop(ending.key)
        self.endings.append(ending)

    def _look_at_store(self) -> None:
        """Results and failures that tasks have recorded."""
        listing = self.store.listing()
        for key in [key for key in self.task_of if key in listing.done or key in listing.failed]:
            task = self.tasks[self.task_of[key]]
            if ending := ending_in_store(task.attempts[key], self.settings):
                self._end(task, ending)

    def _look_at_queue(self) -> None:
        try:
            rows = self.slurm.queue()
        except CommandFailed as error:
            if self.answers:
                notify(f"Slurm does not answer, its jobs go on: {error.in_line}")
            self.answers = False
            return
        self.answers = True
        details: dict[str, dict[str, Row]] = {}
        for task in list(self.tasks.values()):
            row = rows.get(task.id)
            if row is not None and row.name != task.array.name:  # a Slurm that was set up anew counts from 1 again
                row = None
            task.misses = 0 if row else task.misses + 1
            if row is not None and row.state in ALIVE:
                self._seen(task, row)
            elif row is not None or task.misses >= MISSES:
                if task.array.id not in details:
                    details[task.array.id] = self.slurm.details(task.array.id)
                shown = details[task.array.id].get(task.id)
                self._ended(task, shown or row or task.row, forgotten=row is None and shown is None)
        self.tasks = {one: task for one, task in self.tasks.items() if task.attempts}

    def _seen(self, task: Watched, row: Row) -> None:
        """A task that waits or runs."""
        before, task.row = task.row, row
        if row.restarts > before.restarts:
            node = before.node or task.diary().node
            down = self.slurm.down(node) if node else ""
            self.note(task, row, *endings.back_in_queue(row, node, down, task.array.log(task.number)))
            task.begun.clear()
            task.back = time.monotonic()
            self.endings += [Ending(key=key, category="queued") for key in sorted(task.attempts)]
        ready = time.monotonic() - task.back >= CLEAR_S
        if ready and row.state == "PENDING" and row.restarts and row.reason == "BeginTime":
            with contextlib.suppress(CommandFailed):  # it starts two minutes later, then
                self.slurm.hasten(task.id)
        if row.state == "RUNNING":
            begun = (task.diary().started & task.attempts.keys()) - task.begun
            task.begun |= begun
            self.endings += [Ending(key=key, category="running") for key in sorted(begun)]

    def _ended(self, task: Watched, row: Row, *, forgotten: bool) -> None:
        """A task that Slurm has ended: whatever it ran has ended, too."""
        now = time.monotonic()
        task.over = task.over or now
        self._look_at_store()
        diary = task.diary()
        if any(diary.ended.get(key) == "ok" for key in task.attempts) and now - task.over < SETTLE_S:
            return  # its result is not visible here yet
        if not task.attempts:
            return
        category, message = ("waiting", "") if diary.over else self._why(task, row, diary, forgotten=forgotten)
        if category != "waiting" and task.id not in self.cancelled:
            self.note(task, row, category, message, over=True)
        # A task that died before or between jobs fails all the jobs it had left: the task itself is at fault.
        whole = category in ("cancelled", "preempted", "storage") or not (diary.running & task.attempts.keys())
        for key in list(task.attempts):
            if category == "waiting" or not (whole or key in diary.running):
                ending = Ending(key=key, category="waiting")
            else:
                facts = {"slurm": self._facts(task, row)}
                ending = Ending(key=key, category=category, message=message, facts=facts)
            self._end(task, ending)

    def _why(self, task: Watched, row: Row, diary: Diary, *, forgotten: bool) -> tuple[str, str]:
        """Category and message of a task that did not end normally."""
        asked = task.id in self.cancelled
        if asked and not diary.began:
            return "waiting", ""
        if forgotten and (row.state == "PENDING" or not diary.began):
            # Of a task of an array that is cancelled before it starts Slurm keeps nothing.
            return endings.category(replace(row, state="CANCELLED"), "", asked=asked)
        if forgotten:
            return "lost", f"Slurm task {task.id} is gone, and Slurm has forgotten how it ended"
        tail = endings.log_tail(task.array.log(task.number))
        category, message = endings.category(row, tail, asked=asked)
        if category == "crash" and diary.began and row.restarts > diary.restarts:
            return "lost", f"{message} before restart {row.restarts} began"
        if category == "crash" and not diary.started and (words := endings.last_words(tail)):
            message += f": {words}"
        return category, message

    def note(self, task: Watched, row: Row, category: str, message: str, *, over: bool = False) -> None:
        """Write down what happened to a task."""
        names = {one.job.key: one.job.name for one in task.attempts.values()}
        running = [names[key] for key in task.diary().running if key in names] or list(names.values())
        facts = {"state": row.state, "node": row.node, "restarts": row.restarts, "message": message}
        slurm_events.note(task.array.watched, category, task=task.id, **facts, jobs=running[:50], over=over)

    def _facts(self, task: Watched, row: Row) -> dict[str, Any]:
        """For the record of a failure."""
        return {
            "task": task.id,
            "state": row.state,
            "reason": row.reason,
            "exit_status": row.code,
            "signal": row.signal,
            "node": row.node,
            "restarts": row.restarts,
            "user": getpass.getuser(),
            "log": str(task.array.log(task.number)),
            "events": task.seen()[-EVENTS:],
        }


def notify(text: str) -> None:
    """A line for the user who started the run."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()
