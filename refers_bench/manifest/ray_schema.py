"""What may a manifest, or the user config file of a site, say about a Ray cluster? Nothing here changes a result."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from refers_bench.manifest.part import Duration, Part

_Amount = Annotated[float, Field(gt=0, le=1_000_000)]


class RayPart(Part):
    """Which cluster, and what a job takes of it; a key that is not given has the default."""

    address: str | None = Field(
        default=None, description="host:port of its head, or auto: $RAY_ADDRESS, else the cluster of this machine"
    )
    gpus_per_job: Annotated[float, Field(ge=0, le=64)] | None = Field(
        default=None,
        description="whole, or a share of one such as 0.5; 1 by default where the cluster has GPUs; preparing images "
        "takes none, pre-training one per process",
    )
    cpus_per_job: Annotated[float, Field(ge=0, le=1024)] | None = Field(
        default=None, description="as many as threads by default; pre-training takes them for each process"
    )
    memory: str | None = Field(default=None, description="that Ray keeps for a job: 16G; no account of it by default")
    resources: dict[str, _Amount] = Field(
        default_factory=dict, description="of the site, as its nodes were started with: {a100: 1}"
    )
    wait_for_nodes: Duration | None = Field(
        default=None,
        description="how long to wait for a node that can hold a job; by default 30s where there was none yet, "
        "10m where there was one",
    )

    @field_validator("address")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"auto|[^\s/]+:\d{1,5}", value):
            raise ValueError("auto, or host:port of the head, such as 10.0.0.5:6379")
        return value

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[1-9]\d*[KMGT]", value):
            raise ValueError("a whole number and a unit: 512M, 16G")
        return value

    @field_validator("gpus_per_job")
    @classmethod
    def _whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("a whole number, or a share of one such as 0.5")
        return value

    @field_validator("resources")
    @classmethod
    def _own(cls, values: dict[str, float]) -> dict[str, float]:
        for name, key in (("GPU", "gpus_per_job"), ("CPU", "cpus_per_job"), ("memory", "memory")):
            if name in values:
                raise ValueError(f"{key} for {name}")
        return values
