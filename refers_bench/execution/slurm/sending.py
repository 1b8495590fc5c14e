"""Which jobs become one array, one task, and in which order are arrays sent?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from refers_bench.errors import UserError
from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm import events
from refers_bench.execution.slurm import folder as slurm_folder
from refers_bench.execution.slurm.commands import CommandFailed, Slurm, id_of
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.options import Options, Resources
from refers_bench.execution.slurm.script import script
from refers_bench.execution.slurm.watch import say
from refers_bench.files import publish_bytes

#: Tasks that a dependency names one by one; for more, whole arrays are waited for.
MOST_NAMED = 50
#: Times that the first array is sent while the controller does not answer, and seconds between them; later ones wait,
#: so that whoever watches jobs meanwhile goes on watching them.
TRIES, PAUSE_S = 6, 5.0
#: Seconds within which smaller and smaller arrays are sent while the user may queue no more.
SMALLER_S = 20.0


@dataclass(kw_only=True)
class Group:
    """Attempts that may be one array.

    Attributes:
        resources: of its tasks.
        needs: keys of jobs on Slurm that must end before.
        attempts: in their order.
    """

    resources: Resources
    needs: frozenset[str]
    attempts: list[Attempt] = field(default_factory=list)


class Sender:
    """Writes arrays and sends them.

    Args:
        settings: of the coordinator.
        options: of manifest and site.
        slurm: its commands.
        token: under which jobs are claimed.
        side_by_side: jobs that a task runs at a time.
    """

    def __init__(self, settings: Settings, options: Options, slurm: Slurm, *, token: str, side_by_side: int) -> None:
        self.settings, self.options, self.slurm = settings, options, slurm
        self.token, self.side_by_side = token, side_by_side
        self.sent = 0
        self.largest = 0
        #: Tasks of the next array: fewer, once so many were more than the user may queue.
        self.size = 0
        #: Whether Slurm has taken or shown jobs of this run.
        self.known = False
        #: Whether the last array was more than the user may queue, and whether anybody was told.
        self.full = self.said = False

    def groups(self, attempts: Sequence[Attempt], where: Mapping[str, str]) -> list[Group]:
        """Attempts by what they ask for and wait for; those that others wait for first.

        Args:
            attempts: needed ones before those that need them.
            where: key of a job on Slurm -> its task's id.
        """
        level: dict[str, int] = {}
        found: dict[tuple[int, Resources, frozenset[str]], Group] = {}
        for one in attempts:
            job = one.job
            level[job.key] = 1 + max((level.get(need, 0) for need in job.needs), default=0)
            needs = frozenset(need for need in job.needs if need in level or need in where)
            asks = self.options.resources(
                job, device=self.settings.device, threads=self.settings.threads, side_by_side=self.side_by_side
            )
            group = found.setdefault((level[job.key], asks, needs), Group(resources=asks, needs=needs))
            group.attempts.append(one)
        return [found[key] for key in sorted(found, key=lambda key: key[0])]

    def send(
        self, attempts: Sequence[Attempt], *, where: dict[str, str]
    ) -> Iterator[tuple[Array | None, list[list[Attempt]]]]:
        """Send arrays; gives each with the attempts of its tasks.

        An array without an id is one that Slurm may have taken or not; None stands for what is to be sent later.

        Args:
            attempts: needed ones before those that need them.
            where: key of a job on Slurm -> its task's id; completed here.

        Raises:
            UserError: Slurm refuses an array.
            StorageError: its files cannot be written.
        """
        self.known = self.known or bool(where)
        later, until = not self._measured(), time.monotonic() + SMALLER_S
        for group in self.groups(attempts, where):
            cells = group.resources.cells
            tasks = [list(group.attempts[i : i + cells]) for i in range(0, len(group.attempts), cells)]
            while tasks:
                some = tasks if later else tasks[: self.size]
                array = None if later else self._array(group, some, where)
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
                    raise _refused(error) from error
        return bool(self.largest)

    def _array(self, group: Group, tasks: Sequence[Sequence[Attempt]], where: Mapping[str, str]) -> Array | None:
        folder = events.root(self.settings.results.absolute()) / self.token / f"{self.sent}"
        self.sent += 1
        array = slurm_folder.write(
            folder,
            token=self.token,
            tasks=tasks,
            device=self.settings.device,
            settings=self.settings,
            side_by_side=self.side_by_side,
        )
        after = sorted({where[need] for need in group.needs if need in where})
        if len(after) > MOST_NAMED:
            after = sorted({one.partition("_")[0] for one in after})
        text = script(
            folder, name=array.name, tasks=len(tasks), resources=group.resources, options=self.options, after=after
        )
        publish_bytes(folder / "script.sh", text.encode())
        return self._submitted(array)

    def _submitted(self, array: Array) -> Array | None:
        """The array as `send` gives it."""
        for left in reversed(range(TRIES)):
            try:
                number = self.slurm.submit(array.folder / "script.sh")
            except CommandFailed as error:
                self.full = error.full
                later = error.full or (error.passing and self.known)
                if not later and not (error.passing and left):
                    array.close()
                    raise _refused(error) from error
                if not later:
                    time.sleep(PAUSE_S)
                found = self.looked_up(array) if error.passing else None
                if found is not None and found.id:
                    return found
                if later:
                    if found is None:
                        self._put_off(array, error)
                    return found
            else:
                self.known = True
                return array.known(number)
        raise AssertionError("the last try returns or raises")

    def looked_up(self, array: Array) -> Array | None:
        """An array that Slurm may have taken although it did not say so, as `send` gives it."""
        try:
            rows = self.slurm.queue()
        except CommandFailed:
            return array
        number = id_of(array.name, rows)
        self.known = self.known or number is not None
        return None if number is None else array.known(number)

    def _put_off(self, array: Array, error: CommandFailed) -> None:
        """Slurm has not taken an array, and it is sent again later; says why, once: it may be for good."""
        # What Slurm takes after all, too late to be seen, finds no batches and ends at once.
        array.close() if error.passing else array.discard()
        if not self.said:
            say(f"Slurm takes no more jobs now, the rest is sent later: {' '.join(str(error).split())}")
        self.said = True


def _refused(error: CommandFailed) -> UserError:
    words = " ".join(str(error).split())
    return UserError(
        f"Slurm refuses the jobs: {words}",
        allowed="partition, account, qos, time and memory that this cluster has, under execution.slurm of the "
        "manifest or slurm of the user config file",
    )
