"""Which jobs become one array, one task, and in which order are arrays sent?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from refers_bench.errors import Problem, UserError
from refers_bench.execution import slurm_events, slurm_folder
from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm_commands import CommandFailed, Slurm, id_of
from refers_bench.execution.slurm_folder import Array
from refers_bench.execution.slurm_options import Options, Resources
from refers_bench.execution.slurm_script import script
from refers_bench.files import publish_bytes

#: Tasks that a dependency names one by one; for more, whole arrays are waited for.
MOST_NAMED = 50
#: Times that an array is sent while the controller does not answer, and seconds between them.
TRIES, PAUSE_S = 6, 5.0


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
        """Send arrays; gives each with the attempts of its tasks, or None for what may not be queued now.

        Args:
            attempts: needed ones before those that need them.
            where: key of a job on Slurm -> its task's id; completed here.

        Raises:
            UserError: Slurm refuses an array.
            StorageError: its files cannot be written.
        """
        self.largest = self.largest or self._largest()
        full = False
        for group in self.groups(attempts, where):
            cells = group.resources.cells
            tasks = [list(group.attempts[i : i + cells]) for i in range(0, len(group.attempts), cells)]
            for start in range(0, len(tasks), self.largest):
                some = tasks[start : start + self.largest]
                array = None if full else self._array(group, some, where)
                full = array is None
                if array is not None:
                    where.update({one.job.key: array.task_id(i) for i, task in enumerate(some) for one in task})
                yield array, some

    def _largest(self) -> int:
        try:
            return self.slurm.largest_array()
        except CommandFailed as error:
            raise _refused(error) from error

    def _array(self, group: Group, tasks: Sequence[Sequence[Attempt]], where: Mapping[str, str]) -> Array | None:
        folder = slurm_events.root(self.settings.results.absolute()) / self.token / f"{self.sent}"
        self.sent += 1
        array = slurm_folder.write(
            folder, token=self.token, tasks=tasks, device=self.settings.device, settings=self.settings,
            side_by_side=self.side_by_side,
        )  # fmt: skip
        after = sorted({where[need] for need in group.needs if need in where})
        if len(after) > MOST_NAMED:
            after = sorted({one.partition("_")[0] for one in after})
        text = script(
            folder, name=array.name, tasks=len(tasks), resources=group.resources, options=self.options, after=after
        )
        publish_bytes(folder / "script.sh", text.encode())
        number = self._submitted(array)
        return None if number is None else array.known(number)

    def _submitted(self, array: Array) -> str | None:
        """Slurm's number of an array; None when the user may not queue more now."""
        for left in reversed(range(TRIES)):
            try:
                return self.slurm.submit(array.folder / "script.sh")
            except CommandFailed as error:
                if error.full:
                    array.close()
                    return None
                if not error.passing or not left:
                    array.close()
                    raise _refused(error) from error
                time.sleep(PAUSE_S)
                if number := self._sent_after_all(array):
                    return number
        raise AssertionError("the last try returns or raises")

    def _sent_after_all(self, array: Array) -> str | None:
        """The number of an array that Slurm took although it did not say so."""
        try:
            rows = self.slurm.queue()
        except CommandFailed:
            return None
        return id_of(array.name, rows)


def _refused(error: CommandFailed) -> UserError:
    words = " ".join(str(error).split())
    return UserError(
        Problem(
            found=f"Slurm refuses the jobs: {words}",
            allowed="partition, account, qos, time and memory that this cluster has, under execution.slurm of the "
            "manifest or slurm of the user config file",
        )
    )
