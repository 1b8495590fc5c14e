"""Groups jobs into arrays and tasks, and sends the arrays to Slurm in the order of their needs."""

import time
from collections.abc import Iterator, Mapping, Sequence

from refers_bench.errors import UserError
from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm import events
from refers_bench.execution.slurm import folder as slurm_folder
from refers_bench.execution.slurm.commands import CommandFailed, Slurm, id_of
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.options import Resources, SlurmOptions
from refers_bench.execution.slurm.script import script
from refers_bench.execution.slurm.watch import notify
from refers_bench.files import publish_bytes

#: Tasks that a dependency names one by one; for more, whole arrays are waited for.
MOST_NAMED = 50
#: Times that the first array is sent while the controller does not answer, and seconds between them; later ones are put
#: off at once, so that the jobs that run meanwhile stay watched.
TRIES, PAUSE_S = 6, 5.0
#: Seconds within which smaller and smaller arrays are sent while the user may queue no more.
SMALLER_S = 20.0

#: Attempts that may be one array: resources of its tasks, keys of jobs on Slurm that must end before, and the attempts.
Group = tuple[Resources, frozenset[str], list[Attempt]]


class Sender:
    """Writes arrays and sends them.

    Args:
        settings: of the coordinator.
        options: of manifest and site.
        slurm: its commands.
        token: under which jobs are leased.
    """

    def __init__(self, settings: Settings, options: SlurmOptions, slurm: Slurm, token: str) -> None:
        self.settings, self.options, self.slurm, self.token = settings, options, slurm, token
        self.sent = 0
        #: Tasks that an array may have, and those of the next one: fewer, once that was more than the user may queue.
        self.largest = self.size = 0
        #: Whether Slurm has accepted or shown jobs of this run.
        self.known = False
        #: Whether the last array was more than the user may queue, and whether the user was notified.
        self.full = self.notified = False

    def groups(self, attempts: Sequence[Attempt], where: Mapping[str, str]) -> list[Group]:
        """Attempts by what they ask for and wait for; those that others wait for first.

        Args:
            attempts: needed ones before those that need them.
            where: key of a job on Slurm -> its task's id.
        """
        level: dict[str, int] = {}
        found: dict[tuple[int, Resources, frozenset[str]], list[Attempt]] = {}
        for one in attempts:
            job = one.job
            level[job.key] = 1 + max((level.get(need, 0) for need in job.needs), default=0)
            needs = frozenset(need for need in job.needs if need in level or need in where)
            found.setdefault((level[job.key], self.options.resources(job, self.settings), needs), []).append(one)
        return [(*key[1:], found[key]) for key in sorted(found, key=lambda key: key[0])]

    def send(
        self, attempts: Sequence[Attempt], *, where: dict[str, str]
    ) -> Iterator[tuple[Array | None, list[list[Attempt]]]]:
        """Send arrays; yields each with the attempts of its tasks.

        An array without an id is one that Slurm may have accepted or not; None stands for what is to be sent later.

        Args:
            attempts: needed ones before those that need them.
            where: key of a job on Slurm -> its task's id; completed here.

        Raises:
            UserError: Slurm rejects an array.
            StorageError: its files cannot be written.
        """
        self.known = self.known or bool(where)
        later, until = not self._measured(), time.monotonic() + SMALLER_S
        for resources, needs, group in self.groups(attempts, where):
            cells = resources.cells
            tasks = [group[i : i + cells] for i in range(0, len(group), cells)]
            after = sorted({where[need] for need in needs if need in where})
            while tasks:
                some = tasks if later else tasks[: self.size]
                array = None if later else self._array(resources, some, after)
                if array is None and not later:
                    later = not self.full or len(some) == 1 or time.monotonic() > until
                    self.size = max(1, len(some) // 2) if self.full else self.size
                    continue
                if array is not None and array.id:
                    self.size = min(2 * self.size, self.largest)
                    where.update({one.job.key: array.task_id(i) for i, task in enumerate(some) for one in task})
                later = array is None or not array.id
                yield array, some
                tasks = tasks[len(some) :]

    def _measured(self) -> bool:
        """Whether it is known how many tasks an array may have."""
        if not self.largest:
            try:
                self.size = self.largest = self.slurm.largest_array()
            except CommandFailed as error:
                if not (error.passing and self.known):
                    raise _rejected(error) from error
        return bool(self.largest)

    def _array(self, resources: Resources, tasks: Sequence[Sequence[Attempt]], after: Sequence[str]) -> Array | None:
        """An array that was sent, as `send` yields it."""
        folder = events.root(self.settings.results.absolute()) / self.token / f"{self.sent}"
        self.sent += 1
        settings, options = self.settings, self.options
        array = slurm_folder.write(
            folder, token=self.token, tasks=tasks, settings=settings, side_by_side=options.side_by_side
        )
        if len(after) > MOST_NAMED:
            after = sorted({one.partition("_")[0] for one in after})
        text = script(folder, name=array.name, tasks=len(tasks), resources=resources, options=options, after=after)
        publish_bytes(folder / "script.sh", text.encode())
        for left in reversed(range(TRIES)):
            try:
                number = self.slurm.submit(folder / "script.sh")
            except CommandFailed as error:
                self.full = error.full
                later = error.full or (error.passing and self.known)
                if not later and not (error.passing and left):
                    array.close()
                    raise _rejected(error) from error
                if not later:
                    time.sleep(PAUSE_S)
                found = self.looked_up(array) if error.passing else None
                if found is None and later:
                    self._put_off(array, error)
                if later or (found is not None and found.id):
                    return found
            else:
                self.known = True
                return array.known(number)
        raise AssertionError("the last try returns or raises")

    def looked_up(self, array: Array) -> Array | None:
        """An array that Slurm may have accepted although it did not answer, as `send` yields it."""
        try:
            rows = self.slurm.queue()
        except CommandFailed:
            return array
        number = id_of(array.name, rows)
        self.known = self.known or number is not None
        return None if number is None else array.known(number)

    def _put_off(self, array: Array, error: CommandFailed) -> None:
        """Slurm has not accepted an array, which is resubmitted later; prints why, once: it may be permanent."""
        # What Slurm accepts after all, too late to be seen, finds no batches and ends at once.
        array.close() if error.passing else array.discard()
        if not self.notified:
            notify(f"Slurm takes no more jobs now, the rest is sent later: {error.in_line}")
        self.notified = True


def _rejected(error: CommandFailed) -> UserError:
    where = "under execution.slurm of the manifest or slurm of the user config file"
    allowed = f"partition, account, qos, time and memory that this cluster has, {where}"
    return UserError(f"Slurm refuses the jobs: {error.in_line}", allowed=allowed)
