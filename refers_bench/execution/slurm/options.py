"""What does an array task ask Slurm for, by what manifest and site say about each kind of job?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refers_bench.plan.lock import Job

#: Seconds before its limit at which a task is told to save its state.
SIGNAL_S = 120.0
#: Kinds of jobs that use no GPU, and those that take so little that several may share an array task.
NO_GPU = frozenset({"prepare"})
SHORT = frozenset({"finetune", "noop"})


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
class Options:
    """What manifest and site say about Slurm.

    Attributes:
        section: keys of `refers_bench.manifest.cluster_schema.SlurmPart` that are set.
    """

    section: Mapping[str, Any] = field(default_factory=dict)

    @property
    def signal_s(self) -> float:
        """Seconds before its limit at which a task is told."""
        return float(self.section.get("signal") or SIGNAL_S)

    @property
    def throttle(self) -> int | None:
        """Tasks of an array at a time."""
        return self.section.get("throttle")

    @property
    def prefix(self) -> Sequence[str]:
        """What comes before the command: a container."""
        return self.section.get("container") or ()

    @property
    def setup(self) -> Sequence[str]:
        """Shell lines before it."""
        return self.section.get("setup") or ()

    @property
    def python(self) -> str | None:
        """Interpreter on the nodes."""
        return self.section.get("python")

    def common(self) -> list[str]:
        """Options of sbatch that all arrays have."""
        account = self.section.get("account")
        return [*([f"--account={account}"] if account else []), *(self.section.get("extra") or ())]

    def resources(self, job: Job, *, device: str, threads: int, side_by_side: int = 1) -> Resources:
        """What a task with this job asks for.

        Args:
            job: what it runs.
            device: "auto", "cpu" or "cuda".
            threads: torch threads of a worker.
            side_by_side: jobs that a task runs at a time.
        """
        own = (self.section.get("kinds") or {}).get(job.kind) or {}
        given = {**self.section, **{name: value for name, value in own.items() if value is not None}}
        processes = int(job.spec["pretrain"]["processes"]) if job.kind == "pretrain" else 1
        gpus = own.get("gpus")
        if gpus is None:
            gpus = 0 if job.kind in NO_GPU else given.get("gpus")
        if gpus is None:
            gpus = 0 if device == "cpu" else 1
        words = [f"--{name}={value}" for name in ("partition", "qos", "constraint") if (value := given.get(name))]
        if value := given.get("memory"):
            words.append(f"--mem={value}")
        if gpus:
            gpus = max(gpus, processes)
            kind = given.get("gpu_type")
            words.append(f"--gres=gpu:{f'{kind}:' if kind else ''}{gpus}")
        cells = given.get("cells_per_task") if job.kind in SHORT else own.get("cells_per_task")
        return Resources(
            gpus=gpus,
            cpus=given.get("cpus") or threads * max(processes, side_by_side),
            time_s=given.get("time"),
            words=tuple(words),
            cells=cells or 1,
        )
