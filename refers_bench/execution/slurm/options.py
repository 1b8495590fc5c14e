"""Translates what manifest and site say about Slurm into the resources that an array task asks for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from refers_bench.execution.engine import Settings, processes_of
from refers_bench.plan.lock import Job
from refers_bench.plan.order import NO_GPU

#: Kinds of jobs that take long: each of them has an array task of its own.
LONG = frozenset({"prepare", "discover", "pretrain", "features"})


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Of one array task: tasks with the same ones may be one array.

    Attributes:
        gpus: of one node.
        cpus: of one node.
        time_s: limit in seconds; None for the partition's.
        words: further options of sbatch, as they are written.
        cells: jobs it runs, one after another.
    """

    gpus: int
    cpus: int
    time_s: float | None = None
    words: tuple[str, ...] = ()
    cells: int = 1

    def lines(self) -> list[str]:
        """Options of sbatch."""
        lines = ["--nodes=1", "--ntasks=1", f"--cpus-per-task={self.cpus}", *self.words]
        if self.time_s is not None:
            lines.append(f"--time={math.ceil(self.time_s / 60)}")
        return lines


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What manifest and site say about Slurm: the keys of `refers_bench.manifest.cluster_schema.SlurmPart`.

    Attributes:
        signal: seconds before its limit at which a task gets a signal to save its state.
        throttle: tasks of an array at a time.
        container: what comes before the command.
        setup: shell lines before it.
        python: interpreter on the nodes.
        kinds: kind of job -> keys that are different for it.
        side_by_side: jobs that a task runs at a time; no key of the section.
    """

    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    account: str | None = None
    gpus: int | None = None
    gpu_type: str | None = None
    cpus: int | None = None
    memory: str | None = None
    time: float | None = None
    cells_per_task: int = 1
    signal: float = 120.0
    throttle: int | None = None
    container: Sequence[str] = ()
    setup: Sequence[str] = ()
    python: str | None = None
    extra: Sequence[str] = ()
    kinds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    side_by_side: int = 1

    def common(self) -> list[str]:
        """Options of sbatch that all arrays have."""
        return [*([f"--account={self.account}"] if self.account else []), *self.extra]

    def resources(self, job: Job, settings: Settings) -> Resources:
        """What a task with this job asks for; device and threads are those of the settings."""
        own = _set(self.kinds.get(job.kind, {}))
        given, processes = replace(self, **own), processes_of(job)
        usual = self.gpus if self.gpus is not None else int(settings.device != "cpu")
        gpus = own.get("gpus", 0 if job.kind in NO_GPU else usual)
        named = ("partition", given.partition), ("qos", given.qos), ("constraint", given.constraint)
        words = [f"--{name}={value}" for name, value in (*named, ("mem", given.memory)) if value]
        if gpus:
            gpus = max(gpus, processes)
            words.append(f"--gres=gpu:{f'{given.gpu_type}:' if given.gpu_type else ''}{gpus}")
        return Resources(
            gpus=gpus,
            cpus=given.cpus or settings.threads * max(processes, self.side_by_side),
            time_s=given.time,
            words=tuple(words),
            cells=own.get("cells_per_task", 1) if job.kind in LONG else given.cells_per_task,
        )


def options(section: Mapping[str, Any], side_by_side: int = 1) -> SlurmOptions:
    """What the section ``slurm`` of a manifest or site says; null means not set."""
    return SlurmOptions(**_set(section), side_by_side=side_by_side)


def _set(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value is not None}
