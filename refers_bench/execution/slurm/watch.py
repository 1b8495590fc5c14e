"""What has happened to the tasks in Slurm's hands: begun, done, killed, requeued, lost, cancelled?"""

from __future__ import annotations

import contextlib
import getpass
import math
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.slurm import endings
from refers_bench.execution.slurm import events as slurm_events
from refers_bench.execution.slurm.commands import ALIVE, CommandFailed, Row, Slurm
from refers_bench.execution.slurm.events import Diary
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.task import ending_in_store
from refers_bench.store.results import ResultStore

#: Seconds between looks at the store and at the queue; a slow queue is asked less often.
STORE_S, QUEUE_S, SLOWEST_S = 1.0, 3.0, 10.0
#: Seconds that a result may take to be seen here once Slurm says that its task has ended.
SETTLE_S = 60.0
#: Looks at the queue that a task may be missing from before it counts as forgotten.
MISSES = 3
#: Events of a task in a failure's record.
EVENTS = 20
#: Seconds that a node gets to clear away a task before its next run is hastened: too early, and Slurm fails that run.
CLEAR_S = 4.0


@dataclass(kw_only=True)
class Watched:
    """A task in Slurm's hands.

    Attributes:
        array: it belongs to.
        number: of the task.
        attempts: by key, those that have not ended.
        row: as it was last shown, or as coordinators before wrote down.
        misses: looks at the queue since it was last shown.
        begun: keys of the jobs that the coordinator knows to have begun.
        over: when it was first seen to have ended.
        back: when it was seen to have gone back to the queue.
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


class Watcher:
    """Looks at store and queue, and says which attempts have begun or ended.

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
        #: What the coordinator has not been told yet.
        self.endings: list[Ending] = []
        #: Tasks that this coordinator has cancelled.
        self.cancelled: set[str] = set()
        self.looked_store = self.looked_queue = 0.0
        self.silent_since: float | None = None

    def add(self, array: Array, number: int, attempts: dict[str, Attempt]) -> None:
        """Watch a task with these attempts, by key."""
        for key in attempts.keys() & self.task_of.keys():  # what was left of an attempt that somebody else took over
            self.tasks[self.task_of[key]].attempts.pop(key)
        if attempts:
            seen = [event for event in slurm_events.events(array.watched) if event["task"] == array.task_id(number)]
            restarts = max((event["restarts"] for event in seen), default=0)
            row = Row(id=array.task_id(number), restarts=restarts)
            one = Watched(array=array, number=number, attempts=attempts, row=row)
            self.tasks[one.id] = one
            self.task_of.update(dict.fromkeys(attempts, one.id))

    def look(self) -> None:
        """At the store and the queue, when it is time."""
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
            if self.silent_since is None:
                self.silent_since = time.monotonic()
                say(f"Slurm does not answer, its jobs go on: {' '.join(str(error).split())}")
            return
        self.silent_since = None
        details: dict[str, dict[str, Row]] = {}
        for task in list(self.tasks.values()):
            row = rows.get(task.id)
            if row is not None and row.name != task.array.name:  # a Slurm that began anew counts from 1 again
                row = None
            task.misses = 0 if row else task.misses + 1
            if row is None and task.misses < MISSES:
                continue
            if row is None or row.state not in ALIVE:
                if task.array.id not in details:
                    details[task.array.id] = self.slurm.details(task.array.id)
                shown = details[task.array.id].get(task.id) or row or task.row
                self._ended(task, shown, forgotten=row is None and task.id not in details[task.array.id])
            else:
                self._seen(task, row)
        self.tasks = {one: task for one, task in self.tasks.items() if task.attempts}

    def _seen(self, task: Watched, row: Row) -> None:
        """A task that waits or runs."""
        before, task.row = task.row, row
        if row.restarts > before.restarts:
            node = before.node or slurm_events.diary(task.array.diary(task.number)).node
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
            diary = slurm_events.diary(task.array.diary(task.number))
            for key in sorted((diary.started & task.attempts.keys()) - task.begun):
                task.begun.add(key)
                self.endings.append(Ending(key=key, category="running"))

    def _ended(self, task: Watched, row: Row, *, forgotten: bool) -> None:
        """A task that Slurm has ended: whatever it ran has ended, too."""
        now = time.monotonic()
        task.over = task.over or now
        self._look_at_store()
        diary = slurm_events.diary(task.array.diary(task.number))
        if any(diary.ended.get(key) == "ok" for key in task.attempts) and now - task.over < SETTLE_S:
            return  # its result is not seen here yet
        if not task.attempts:
            return
        category, message = ("waiting", "") if diary.over else self._why(task, row, diary, forgotten=forgotten)
        if category != "waiting" and task.id not in self.cancelled:
            self.note(task, row, category, message, over=True)
        # A task that died before or between jobs says the same of all it had left: something is wrong with it.
        whole = category in ("cancelled", "preempted", "storage") or not (diary.running & task.attempts.keys())
        for key in list(task.attempts):
            one = category if whole or key in diary.running else "waiting"
            facts = {} if one == "waiting" else {"slurm": self._facts(task, row)}
            self._end(task, Ending(key=key, category=one, message=message if one != "waiting" else "", facts=facts))

    def _why(self, task: Watched, row: Row, diary: Diary, *, forgotten: bool) -> tuple[str, str]:
        """Category and message of a task that did not end of itself."""
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
        if category == "crash" and not diary.started and (said := endings.last_words(tail)):
            message += f": {said}"
        return category, message

    def note(self, task: Watched, row: Row, category: str, message: str, *, over: bool = False) -> None:
        """Write down what happened to a task."""
        diary = slurm_events.diary(task.array.diary(task.number))
        names = {one.job.key: one.job.name for one in task.attempts.values()}
        running = [names[key] for key in diary.running if key in names] or list(names.values())
        slurm_events.note(
            task.array.watched,
            category,
            task=task.id,
            state=row.state,
            node=row.node,
            restarts=row.restarts,
            message=message,
            jobs=running[:50],
            over=over,
        )

    def _facts(self, task: Watched, row: Row) -> dict[str, Any]:
        """For the record of a failure."""
        events = [one for one in slurm_events.events(task.array.watched) if one.get("task") == task.id]
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
            "events": events[-EVENTS:],
        }


def say(text: str) -> None:
    """A line for whoever started the run."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
