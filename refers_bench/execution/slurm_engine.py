"""How do jobs run on a Slurm cluster: arrays in its queue, watched from outside, found again by another coordinator?

Slurm holds back what waits for other jobs, starts tasks, enforces limits and sends preempted ones back to the queue.
The store says what is done. For a task that ended without a word the watcher asks squeue, then scontrol, then sacct.
"""

from __future__ import annotations

import contextlib
import getpass
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refers_bench.errors import Problem, StorageError, UserError
from refers_bench.execution import slurm_endings, slurm_folder
from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.slurm_commands import ALIVE, CommandFailed, Row, Slurm
from refers_bench.execution.slurm_folder import Array
from refers_bench.execution.slurm_options import Options
from refers_bench.execution.slurm_sending import Sender
from refers_bench.execution.task import Batch, ending_in_store
from refers_bench.plan.lock import Job
from refers_bench.store.claims import RENEW_S, Claims
from refers_bench.store.results import ResultStore

#: Seconds between looks at the store and at the queue; a slow queue is asked less often.
STORE_S, QUEUE_S, SLOWEST_S = 1.0, 3.0, 10.0
#: Attempts in the queue at a time, and with a budget, which is spent by those that run.
MOST, MOST_WITH_BUDGET = 5000, 16
#: Seconds that a result may take to be seen here once Slurm says that its task has ended.
SETTLE_S = 60.0
#: Seconds to wait once the user may not queue more.
FULL_S = 30.0
#: Looks at the queue that a task may be missing from before it counts as forgotten.
MISSES = 3
#: Events of a task in a failure's record.
EVENTS = 20


def engine(settings: Settings, execution: Mapping[str, Any]) -> SlurmEngine:
    """The factory by which the engine is found."""
    side_by_side = execution.get("jobs_per_gpu", 1) if settings.device != "cpu" else 1
    return SlurmEngine(settings, Options(section=execution.get("slurm") or {}), side_by_side=side_by_side)


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
    """

    array: Array
    number: int
    attempts: dict[str, Attempt]
    row: Row
    misses: int = 0
    begun: set[str] = field(default_factory=set)
    over: float | None = None

    @property
    def id(self) -> str:
        """Slurm's id of it."""
        return self.array.task_id(self.number)


class SlurmEngine:
    """Jobs as tasks of arrays.

    Args:
        settings: folders, device, threads, time limit and retries are read; there are no slots here.
        options: see `Options`.
        side_by_side: jobs that a task runs at a time.
        slurm: its commands.
    """

    name = "slurm"
    queues = True

    def __init__(
        self, settings: Settings, options: Options, *, side_by_side: int = 1, slurm: Slurm | None = None
    ) -> None:
        self.settings, self.options = settings, options
        self.token = uuid.uuid4().hex[:12]
        self.slurm = slurm or Slurm()
        self.store = ResultStore(settings.results)
        self.sender = Sender(settings, options, self.slurm, token=self.token, side_by_side=side_by_side)
        #: By Slurm's id of the task, and which task a job is in.
        self.tasks: dict[str, Watched] = {}
        self.task_of: dict[str, str] = {}
        self.endings: list[Ending] = []
        self.most = MOST if settings.budget_s is None else (options.throttle or MOST_WITH_BUDGET)
        self.looked_store = self.looked_queue = 0.0
        self.full_until = 0.0
        self.silent_since: float | None = None
        self.cancelled: set[str] = set()
        #: Names of arrays of others that were looked at.
        self.taken: set[str] = set()

    # --- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """In charge of what it sends, and of what others have left.

        Raises:
            UserError: no Slurm here.
        """
        self.slurm.check()
        # Says that somebody watches an array; jobs have claims of their own.
        self.watching = Claims(self.settings.results, stale_s=self.settings.stale_s, engine="slurm watcher")
        self.renewed = time.monotonic()
        self.watching.acquire(_watch(self.token))
        try:
            yield
        except KeyboardInterrupt:
            self._broken_off()
            raise
        finally:
            self._close()
            for key in list(self.watching.held):
                with contextlib.suppress(StorageError):
                    self.watching.release(key)

    def _broken_off(self) -> None:
        """Ask whether what is queued or runs is to be cancelled."""
        outstanding = sum(len(task.attempts) for task in self.tasks.values())
        if not outstanding:
            return
        self.watching.renew()
        if self.settings.cancel(f"{outstanding} jobs are queued or run on Slurm. Cancel them?"):
            _say(f"cancelling {outstanding} jobs; running ones save their state")
            self._cancel()
            self.token = ""  # nobody need wait for what was claimed
            return
        ids = sorted({task.array.id for task in self.tasks.values()}, key=int)
        _say(
            f"{outstanding} jobs stay on Slurm (arrays {', '.join(ids)}). The same command watches them again; "
            f"scancel {' '.join(ids)} takes them out"
        )

    def _close(self) -> None:
        """Arrays of which nothing is left need no watching."""
        left = {task.array.folder for task in self.tasks.values() if task.attempts}
        for array in slurm_folder.arrays(self.settings.results):
            if array.id and _watch(array.token) in self.watching.held and array.folder not in left:
                array.close()

    def interrupt(self) -> None:
        """Cancel: Slurm tells running tasks to leave, and they save their state."""
        self._cancel()

    def _cancel(self) -> None:
        ids = [task.id for task in self.tasks.values() if task.attempts and task.over is None]
        self.cancelled.update(ids)
        try:
            self.slurm.cancel(ids)
        except CommandFailed as error:
            _say(f"Slurm would not cancel: {error}")

    # --- what a coordinator that is gone has left -------------------------------------------------------------------

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """Attempts that Slurm still knows, of arrays that nobody watches any more."""
        found: list[Attempt] = []
        left = [
            array for array in slurm_folder.arrays(self.settings.results)
            if array.token != self.token and array.name not in self.taken and self._watched_by_nobody(array)
        ]  # fmt: skip
        if not left:
            return found
        try:
            rows = self.slurm.queue()
        except CommandFailed as error:
            raise UserError(Problem(found=f"Slurm does not say what is queued: {error}")) from error
        for array in reversed(left):  # the latest attempt at a job counts
            self.taken.add(array.name)
            if not array.id:  # its coordinator died while it was sent
                ids = {row.id.partition("_")[0] for row in rows.values() if row.name == array.name}
                if not ids:
                    array.close()
                    continue
                array = array.known(ids.pop())
            found += self._taken_over(array, jobs, rows)
        if found:
            count = len({self.tasks[self.task_of[one.job.key]].array.id for one in found})
            _say(f"watching {len(found)} jobs again that are on Slurm already ({count} arrays)")
        return found

    def _watched_by_nobody(self, array: Array) -> bool:
        return self.watching.acquire(_watch(array.token))

    def _taken_over(self, array: Array, jobs: Mapping[str, Job], rows: Mapping[str, Row]) -> list[Attempt]:
        found: list[Attempt] = []
        over = {event["task"] for event in slurm_folder.events(array.watched) if event.get("over")}
        known = (one.rpartition("_") for one in rows if one not in over)
        numbers = sorted(int(number) for number_of_array, _, number in known if number_of_array == array.id)
        for number in numbers:
            batch = array.batch(number)
            if not batch.is_file():
                continue
            mine = {
                one.job.key: one for one in Batch.read(batch).attempts
                if one.job.key in jobs and one.job.key not in self.task_of
                and (self.store.failure(one.job.key) or {}).get("token") != one.token
            }  # fmt: skip
            self._watch(array, number, mine)
            found += mine.values()
        return found

    def _watch(self, array: Array, number: int, attempts: dict[str, Attempt]) -> None:
        for key in attempts.keys() & self.task_of.keys():  # what was left of an attempt that somebody else took over
            self.tasks[self.task_of[key]].attempts.pop(key)
        if attempts:
            seen = [event for event in slurm_folder.events(array.watched) if event["task"] == array.task_id(number)]
            restarts = max((event["restarts"] for event in seen), default=0)
            row = Row(id=array.task_id(number), restarts=restarts)
            one = Watched(array=array, number=number, attempts=attempts, row=row)
            self.tasks[one.id] = one
            self.task_of.update(dict.fromkeys(attempts, one.id))

    # --- what is sent -----------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more the queue takes."""
        return 0 if time.monotonic() < self.full_until else max(0, self.most - len(self.task_of))

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Send them as arrays, each after what it needs.

        Raises:
            UserError: Slurm refuses them.
        """
        for array, tasks in self.sender.send(attempts, where=dict(self.task_of)):
            if array is None:  # the user may not queue more now
                held = [one for task in tasks for one in task]
                self.full_until = time.monotonic() + FULL_S
                self.endings += [Ending(key=one.job.key, category="waiting") for one in held]
                continue
            for number, some in enumerate(tasks):
                self._watch(array, number, {one.job.key: one for one in some})

    # --- what happens -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> Sequence[Ending]:
        """What has ended or begun."""
        until = time.monotonic() + seconds
        while True:
            self._look()
            if self.endings or (now := time.monotonic()) >= until:
                break
            time.sleep(min(0.1, until - now))
        endings, self.endings = self.endings, []
        return endings

    def _look(self) -> None:
        now = time.monotonic()
        if now - self.renewed > RENEW_S:
            self.watching.renew()
            self.renewed = now
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
                _say(f"Slurm does not answer, its jobs go on: {' '.join(str(error).split())}")
            return
        self.silent_since = None
        details: dict[str, dict[str, Row]] = {}
        for task in list(self.tasks.values()):
            row = rows.get(task.id)
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
            node = before.node or slurm_folder.diary(task.array.diary(task.number)).node
            down = self.slurm.down(node) if node else ""
            self._note(task, row, *slurm_endings.back_in_queue(row, node, down, task.array.log(task.number)))
            task.begun.clear()
        if row.state == "PENDING" and row.restarts and row.reason == "BeginTime":
            with contextlib.suppress(CommandFailed):  # it starts two minutes later, then
                self.slurm.hasten(task.id)
        if row.state == "RUNNING":
            diary = slurm_folder.diary(task.array.diary(task.number))
            for key in sorted((diary.started & task.attempts.keys()) - task.begun):
                task.begun.add(key)
                self.endings.append(Ending(key=key, category="running"))

    def _ended(self, task: Watched, row: Row, *, forgotten: bool) -> None:
        """A task that Slurm has ended: whatever it ran has ended, too."""
        now = time.monotonic()
        task.over = task.over or now
        self._look_at_store()
        diary = slurm_folder.diary(task.array.diary(task.number))
        if any(diary.ended.get(key) == "ok" for key in task.attempts) and now - task.over < SETTLE_S:
            return  # its result is not seen here yet
        if not task.attempts:
            return
        if diary.over:
            category, message = "waiting", ""
        elif forgotten:
            category, message = "lost", f"Slurm task {task.id} is gone, and Slurm has forgotten how it ended"
        else:
            tail = slurm_endings.log_tail(task.array.log(task.number))
            category, message = slurm_endings.category(row, tail, asked=task.id in self.cancelled)
            if category == "crash" and not diary.started and (said := slurm_endings.last_words(tail)):
                message += f": {said}"
        if category != "waiting":
            self._note(task, row, category, message, over=True)
        # A task that died before or between jobs says the same of all it had left: something is wrong with it.
        whole = category in ("cancelled", "preempted", "storage") or not (diary.running & task.attempts.keys())
        for key in list(task.attempts):
            one = category if whole or key in diary.running else "waiting"
            facts = {} if one == "waiting" else {"slurm": self._facts(task, row)}
            self._end(task, Ending(key=key, category=one, message=message if one != "waiting" else "", facts=facts))

    def _note(self, task: Watched, row: Row, category: str, message: str, *, over: bool = False) -> None:
        """Write down what happened to a task."""
        diary = slurm_folder.diary(task.array.diary(task.number))
        names = {one.job.key: one.job.name for one in task.attempts.values()}
        running = [names[key] for key in diary.running if key in names] or list(names.values())
        slurm_folder.note(
            task.array.watched, category, task=task.id, state=row.state, node=row.node, restarts=row.restarts,
            message=message, jobs=running[:50], over=over,
        )  # fmt: skip

    def _facts(self, task: Watched, row: Row) -> dict[str, Any]:
        """For the record of a failure."""
        events = [one for one in slurm_folder.events(task.array.watched) if one.get("task") == task.id]
        return {
            "task": task.id, "state": row.state, "reason": row.reason, "exit_status": row.code, "signal": row.signal,
            "node": row.node, "restarts": row.restarts, "user": getpass.getuser(),
            "log": str(task.array.log(task.number)),
            "events": events[-EVENTS:],
        }  # fmt: skip


def _watch(token: str) -> str:
    """Key of the claim that says that somebody watches the arrays under a token."""
    return f"slurm-{token}"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
