"""What may a manifest say?"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from refers_bench import plugins
from refers_bench.errors import nearest
from refers_bench.manifest.cluster_schema import SlurmPart
from refers_bench.manifest.part import Duration, Name, Part
from refers_bench.manifest.ray_schema import RayPart


def share(value: Any) -> Any:
    """The share that "1%" or 0.01 states: 0.01."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)
        if not match:
            raise ValueError("a share in (0, 1] or a percentage such as 1%")
        value = round(float(match[1]) / 100, 12)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("a share in (0, 1] or a percentage such as 1%")
    return float(value)


#: The environment holds roots in capitals, so their names have none.
RootName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
Ratio = Annotated[float, BeforeValidator(share, json_schema_input_type=str | float)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class ProtocolPart(Part):
    """Which preset of training constants, and what differs from it."""

    preset: str
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="nested or dotted: finetune.learning_rate: 0.01"
    )


class DataPart(Part):
    """Where a dataset's files are: a data root by name, or procedural radiographs in its layout."""

    root: RootName | None = Field(default=None, description="data root; the dataset's id by default")
    phantom: dict[str, Any] | None = Field(default=None, description="parameters of procedural radiographs")


class SourcePart(Part):
    """The source dataset of pre-training."""

    dataset: str
    params: dict[str, Any] = Field(default_factory=dict)


class MethodPart(Part):
    """A table row: a method with its parameters."""

    id: str
    name: Name | None = Field(default=None, description="row name; the id by default")
    label: str | None = Field(default=None, max_length=200, description="row title; the method's own by default")
    params: dict[str, Any] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="training constants for this row only; footnoted"
    )
    best_of: Name | None = Field(
        default=None,
        description="rows with the same value compete for one row of that name: the best on validation in each column",
    )
    targets: list[str] | None = Field(
        default=None, min_length=1, description="datasets of 'targets' that this row is for; all by default"
    )
    pretrain_seeds: list[Seed] = Field(
        default=[0], min_length=1, description="one pre-training for all seeds, or one for each seed, in their order"
    )


class TargetPart(Part):
    """Table columns: tasks of a dataset at label ratios."""

    dataset: str
    params: dict[str, Any] = Field(default_factory=dict)
    tasks: list[str] = Field(min_length=1)
    label_ratios: list[Ratio] = Field(
        default=[1.0], min_length=1, description="shares of the training images: 1%, 10%, 0.5, 100%"
    )


#: Further attempts by failure category; a manifest changes those that it names. Out of memory is tried again in twice
#: as many parts each time, so it needs one for each power of two of a batch.
RETRIES = {"crash": 1, "lost": 2, "cuda_oom": 9, "host_oom": 9}


class ExecutionPart(Part):
    """How jobs run; none of it changes a result."""

    executor: str = Field(default="local", description="where: local, slurm, ray, debug, or another package's engine")
    cpu_slots: Annotated[int, Field(ge=1, le=256)] | None = Field(default=None, description="workers without a GPU")
    jobs_per_gpu: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    prepare_processes: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="that prepare images, at most; as many as the machine or the allocation offers"
    )
    arithmetic: Literal["native", "portable"] = Field(
        default="native",
        description="of the CPU: as fast as this processor can, or with what all x86-64 processors with AVX2 share, so "
        "that each gives the same digits",
    )
    time_limit: Duration = Field(default=7 * 86400.0, description="of one job: 90s, 15m, 2h, 1d")
    retries: dict[
        Literal["cuda_oom", "host_oom", "nan", "timeout", "crash", "data_error", "lost"],
        Annotated[int, Field(ge=0, le=9)],
    ] = Field(
        default=RETRIES,
        validate_default=True,
        description="further attempts by failure category; a preempted job always goes on, uncounted",
    )
    accumulate: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=1,
        description="equal parts that each batch is processed in, for want of memory; the effective batch stays, and "
        "out of memory makes them more",
    )
    slurm: SlurmPart = Field(
        default_factory=SlurmPart, description="of the executor slurm; beside the user config file"
    )
    ray: RayPart = Field(default_factory=RayPart, description="of the executor ray; beside the user config file")
    options: dict[str, Any] = Field(
        default_factory=dict, description="of the executor of another package, as it documents them"
    )

    @field_validator("executor")
    @classmethod
    def _known(cls, value: str) -> str:
        known = plugins.engines()
        if value not in known:
            close = nearest(value, known)
            raise ValueError(", ".join(known) + (f"; did you mean '{close}'?" if close else ""))
        return value

    @field_validator("retries")
    @classmethod
    def _complete(cls, values: dict[str, int]) -> dict[str, int]:
        return {**RETRIES, **values}


class ManifestSchema(Part):
    """Methods x targets x label ratios x seeds."""

    version: Literal[1]
    name: Name | None = Field(default=None, description="the file's name by default")
    title: str = Field(default="", max_length=300)
    include: list[str] = Field(
        default_factory=list,
        description="files (relative to this one) read first, in order; mappings are completed key by key, lists and "
        "single values replaced; 'name' is not taken over",
    )
    protocol: ProtocolPart
    data: dict[str, DataPart] = Field(default_factory=dict)
    source: SourcePart
    methods: list[MethodPart] = Field(min_length=1)
    targets: list[TargetPart] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    files: dict[RootName, Annotated[str, Field(pattern=r"^[^/\\~.][^\\]*$")]] = Field(
        default_factory=dict,
        description="data roots that travel with the manifest: name -> small file beside it; one of the machine wins",
    )
    tables: list[str] = Field(default_factory=list, description="reports this manifest is for")
    execution: ExecutionPart = Field(default_factory=ExecutionPart)

    @field_validator("seeds", "tables", "include")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError("each of them once")
        return values


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors; a method may also be its bare id."""
    schema = ManifestSchema.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "refers-bench manifest"
    items = schema["properties"]["methods"]["items"]
    schema["properties"]["methods"]["items"] = {"anyOf": [{"type": "string"}, items]}
    return schema
