"""Declares what a manifest, or a site's user config file, may say about a Slurm cluster; no result depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from refers_bench.errors import Problem
from refers_bench.manifest import schema_errors
from refers_bench.manifest.part import Duration, Part, empty, optional
from refers_bench.manifest.ray_schema import RayPart
from refers_bench.manifest.yaml_text import Document

#: One word of a command line.
Word = Annotated[str, Field(pattern=r"^\S+$")]
#: One line of a shell script.
Line = Annotated[str, Field(pattern=r"^[^\n]+$")]
#: Kinds of jobs that may have resources of their own.
Kind = Literal["prepare", "discover", "pretrain", "finetune", "features", "heads", "frozen", "out_of_fold"]


class SlurmResources(Part):
    """What an array task asks for; a key that is not given is not asked for."""

    partition: Word | None = optional("or several, with commas")
    qos: Word | None = optional("as for sbatch")
    constraint: Line | None = optional("node features, as for sbatch")
    gpus: Annotated[int, Field(ge=0, le=64)] | None = optional(
        "per array task; 1 by default, 0 for prepare; pre-training takes one per process"
    )
    gpu_type: Word | None = optional("such as a100, where the cluster has several")
    cpus: Annotated[int, Field(ge=1, le=1024)] | None = optional("as many as threads by default")
    memory: Annotated[str, Field(pattern=r"^[1-9]\d*[KMGT]?$")] | None = optional(
        "of the node: 16G; megabytes without a unit"
    )
    time: Duration | None = optional("limit of an array task; the partition's by default")
    cells_per_task: Annotated[int, Field(ge=1, le=10_000)] | None = optional(
        "jobs that one array task runs after each other; 1 by default"
    )


class SlurmPart(SlurmResources):
    """How jobs are sent to Slurm."""

    account: Word | None = optional("as for sbatch")
    throttle: Annotated[int, Field(ge=1, le=10_000)] | None = optional(
        "tasks of an array at a time; jobs with the same needs and resources are one array"
    )
    signal: Duration | None = optional(
        "how long before its limit a task saves its state, to be resumed in a new one; 120s by default"
    )
    container: list[Word] | None = optional("what comes before the command: apptainer, exec, --nv, image.sif")
    setup: list[Line] | None = optional("shell lines of the batch script: module load cuda")
    python: Word | None = optional("interpreter on the nodes; that of this process by default")
    extra: list[Annotated[str, Field(pattern=r"^--?[^\n]+$")]] | None = optional(
        "further sbatch options: --reservation=course"
    )
    kinds: dict[Kind, SlurmResources] = empty(dict, "other resources for a kind of job, key by key")


#: Engine name -> schema of its section.
SECTIONS: Mapping[str, type[Part]] = {"ray": RayPart, "slurm": SlurmPart}


def section(name: str, value: Any, document: Document) -> tuple[dict[str, Any], list[Problem]]:
    """The user config file's section about an engine, and what is wrong with it.

    Args:
        name: of the engine, and of the section.
        value: of the section.
        document: the file.
    """
    model = SECTIONS[name]
    try:
        return model.model_validate(value).model_dump(mode="json", exclude_unset=True), []
    except ValidationError as error:
        return {}, schema_errors.problems(error, document, model, at=(name,))
