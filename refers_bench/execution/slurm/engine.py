"""Runs jobs on a Slurm cluster: arrays in its queue, watched from outside, which another coordinator can re-attach to.

Slurm holds back what waits for other jobs, starts tasks, enforces limits and requeues preempted ones. The store shows
what is done. For a task that ended without a record the watcher asks squeue, then scontrol, then sacct.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from refers_bench.errors import StorageError, UserError
from refers_bench.execution.engine import Attempt, Ending, Engine, Refused, Settings
from refers_bench.execution.slurm import events, folder
from refers_bench.execution.slurm.commands import WAITING, CommandFailed, Row, Slurm, id_of
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.options import SlurmOptions, options
from refers_bench.execution.slurm.sending import Sender
from refers_bench.execution.slurm.watch import Watcher, notify
from refers_bench.execution.task import Batch
from refers_bench.plan.lock import Job
from refers_bench.store.leases import RENEW_S, Leases
from refers_bench.store.results import ResultStore

#: Attempts in the queue at a time, without and with a spending limit, which counts those that run.
MOST, MOST_WITH_BUDGET = 5000, 16
#: Seconds to wait once the user may not queue more, or Slurm does not answer.
FULL_S = 30.0


class SlurmEngine(Engine):
    """Jobs as tasks of arrays.

    Args:
        settings: folders, device, threads, time limit and retries are read; there are no slots here.
        how: see `SlurmOptions`.
        slurm: its commands.
    """

    name = "slurm"
    queues = True

    def __init__(self, settings: Settings, how: SlurmOptions, *, slurm: Slurm | None = None) -> None:
        self.settings = settings
        self.token = uuid.uuid4().hex[:12]
        self.slurm = slurm or Slurm()
        self.store = ResultStore(settings.results)
        self.sender = Sender(settings, how, self.slurm, self.token)
        self.watcher = Watcher(settings, self.slurm)
        self.most = MOST if settings.budget_s is None else (how.throttle or MOST_WITH_BUDGET)
        self.full_until = 0.0
        #: An array that Slurm may have accepted or not, and the attempts of its tasks.
        self.doubt: tuple[Array, list[list[Attempt]]] | None = None
        #: Names of arrays of other coordinators that this one has re-attached to.
        self.taken: set[str] = set()

    # --- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Responsible for what it sends, and for what other coordinators have left.

        Raises:
            UserError: no Slurm here.
        """
        self.slurm.check()
        # One lease a token, which shows that its arrays are watched; jobs have leases of their own.
        self.watching = Leases(self.settings.results, stale_s=self.settings.stale_s, engine="slurm watcher")
        self.renewed = time.monotonic()
        self.watching.acquire(_watch(self.token))
        try:
            yield
        except KeyboardInterrupt:
            self._broken_off()
            raise
        except UserError:
            self._name_what_stays()
            raise
        finally:
            # Arrays of which nothing is left need no watching.
            left = {task.array.folder for task in self.watcher.tasks.values() if task.attempts}
            for array in folder.arrays(self.settings.results):
                if array.id and _watch(array.token) in self.watching.held and array.folder not in left:
                    array.close()
            for key in list(self.watching.held):
                with contextlib.suppress(StorageError):
                    self.watching.release(key)

    def _broken_off(self) -> None:
        """Ask whether what is queued or runs is to be cancelled."""
        outstanding = len(self.watcher.task_of)
        if not outstanding:
            return
        self.watching.renew()
        if not self.settings.cancel(f"{outstanding} jobs are queued or run on Slurm. Cancel them?"):
            self._name_what_stays()
            return
        notify(f"cancelling {outstanding} jobs; running ones save their state")
        self.interrupt()
        self.token = ""  # no lease of these jobs is kept

    def _name_what_stays(self) -> None:
        ids = sorted({task.array.id for task in self.watcher.tasks.values() if task.attempts}, key=int)
        if ids:
            notify(
                f"{len(self.watcher.task_of)} jobs stay on Slurm (arrays {', '.join(ids)}). The same command watches "
                f"them again; scancel {' '.join(ids)} takes them out"
            )

    def interrupt(self) -> None:
        """Cancel: Slurm signals running tasks to end, and they save their state."""
        tasks = [task for task in self.watcher.tasks.values() if task.attempts and task.over is None]
        try:
            self.slurm.cancel([task.id for task in tasks])
        except CommandFailed as error:
            notify(f"Slurm would not cancel: {error}")
            return
        for task in tasks:
            self.watcher.cancelled.add(task.id)
            message = f"Slurm task {task.id} was cancelled by who had sent it"
            self.watcher.note(task, task.row, "preempted", message, over=True)

    def take_back(self) -> None:
        """Cancel tasks that have never run."""
        waiting = (one for one in self.watcher.tasks.values() if one.row.state in WAITING and not one.row.restarts)
        if ids := [task.id for task in waiting if task.id not in self.watcher.cancelled]:
            with contextlib.suppress(CommandFailed):  # called again
                self.slurm.cancel(ids)
                self.watcher.cancelled.update(ids)

    # --- what another coordinator has left --------------------------------------------------------------------------

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """Attempts that Slurm still knows, of arrays that no coordinator watches any more."""
        found: list[Attempt] = []
        left = [
            array
            for array in folder.arrays(self.settings.results)
            if array.token != self.token and array.name not in self.taken
            if self.watching.acquire(_watch(array.token))
        ]
        if not left:
            return found
        try:
            rows = self.slurm.queue()
        except CommandFailed as error:
            if error.passing and self.sender.known:
                return found
            raise UserError(f"Slurm does not say what is queued: {error}") from error
        for array in reversed(left):  # the latest attempt at a job counts
            self.taken.add(array.name)
            number = array.id or id_of(array.name, rows)
            if number is None:  # its coordinator died while it was sent
                array.close()
                continue
            found += self._attached(array if array.id else array.known(number), jobs, rows)
        if found:
            self.sender.known = True
            count = len({self.watcher.tasks[self.watcher.task_of[one.job.key]].array.id for one in found})
            notify(f"watching {len(found)} jobs again that are on Slurm already ({count} arrays)")
        return found

    def _attached(self, array: Array, jobs: Mapping[str, Job], rows: Mapping[str, Row]) -> list[Attempt]:
        """Watch the tasks of an array that Slurm still knows; their attempts."""
        found: list[Attempt] = []
        over = {event["task"] for event in events.events(array.watched) if event["over"]}
        # A task that was cancelled while nobody watched is to run when the command is typed again. By name: another
        # Slurm, or one that counts from 1 again, may have given the array's number to another user.
        known = {one: row for one, row in rows.items() if row.name == array.name and one.startswith(f"{array.id}_")}
        left = [one for one, row in known.items() if one not in over and row.state != "CANCELLED"]
        for number in sorted(int(one.partition("_")[2]) for one in left):
            batch = array.batch(number)
            attempts = Batch.read(batch).attempts if batch.is_file() else []
            fresh = (one for one in attempts if one.job.key in jobs and one.job.key not in self.watcher.task_of)
            mine = [one for one in fresh if (self.store.failure(one.job.key) or {}).get("token") != one.token]
            self.watcher.add(array, number, mine)
            found += mine
        return found

    # --- what is sent -----------------------------------------------------------------------------------------------

    def room(self, kind: str = "") -> int:
        """How many more the queue takes."""
        if self.doubt or time.monotonic() < self.full_until:
            return 0
        return max(0, self.most - len(self.watcher.task_of))

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Send them as arrays, each after what it needs.

        Raises:
            Refused: Slurm rejects them, or what comes after the first.
            StorageError: files of an array cannot be written.
        """
        try:
            for array, tasks in self.sender.send(attempts, where=dict(self.watcher.task_of)):
                self._sent(array, tasks)
        except StorageError:
            raise
        except UserError as error:
            raise Refused(error.problems, taken=frozenset(self.watcher.task_of)) from error

    def _sent(self, array: Array | None, tasks: list[list[Attempt]]) -> None:
        """Watch an array, or put it off; see `Sender.send`."""
        if array is not None and array.id:
            for number, some in enumerate(tasks):
                self.watcher.add(array, number, some)
            return
        self.full_until = time.monotonic() + FULL_S
        if array is not None:
            self.doubt = (array, tasks)
            return
        self.watcher.endings += [Ending(key=one.job.key, category="waiting") for task in tasks for one in task]

    def _settle_doubt(self) -> None:
        if self.doubt and time.monotonic() >= self.full_until:
            (array, tasks), self.doubt = self.doubt, None
            found = self.sender.looked_up(array)
            if found is None:
                array.close()
            self._sent(found, tasks)

    # --- what happens -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> Sequence[Ending]:
        """What has ended or begun."""
        until = time.monotonic() + seconds
        while True:
            if time.monotonic() - self.renewed > RENEW_S:
                self.watching.renew()
                self.renewed = time.monotonic()
            self._settle_doubt()
            self.watcher.look()
            if self.watcher.endings or (now := time.monotonic()) >= until:
                break
            time.sleep(min(0.1, until - now))
        endings, self.watcher.endings = self.watcher.endings, []
        return endings


def _watch(token: str) -> str:
    """Key of the lease that shows that the arrays under a token are watched."""
    return f"slurm-{token}"


def engine(settings: Settings, execution: Mapping[str, Any]) -> SlurmEngine:
    """The factory by which the engine is found."""
    asked = execution.get("jobs_per_gpu", 1)
    # The memory of a cluster's GPUs is not known here.
    side_by_side = 1 if settings.device == "cpu" or asked == "auto" else asked
    return SlurmEngine(settings, options(execution.get("slurm") or {}, side_by_side))
