"""Declares what a manifest, or a site's user config file, may say about a Ray cluster; no result depends on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from refers_bench.manifest.part import Duration, Part, empty, matching, optional


def _whole_or_share(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError("a whole number, or a share of one such as 0.5")
    return value


Address = Annotated[str, matching(r"auto|[^\s/]+:\d{1,5}", "auto, or host:port of the head, such as 10.0.0.5:6379")]
Memory = Annotated[str, matching(r"[1-9]\d*[KMGT]", "a whole number and a unit: 512M, 16G")]
Gpus = Annotated[float, Field(ge=0, le=64), AfterValidator(_whole_or_share)]
Amount = Annotated[float, Field(gt=0, le=1_000_000)]


class RayPart(Part):
    """Which cluster, and what a job takes of it; a key that is not given has the default."""

    address: Address | None = optional("host:port of its head, or auto: $RAY_ADDRESS, else the cluster of this machine")
    gpus_per_job: Gpus | None = optional(
        "whole, or a share of one such as 0.5; 1 by default where the cluster has GPUs; preparing images "
        "takes none, pre-training one per process"
    )
    cpus_per_job: Annotated[float, Field(ge=0, le=1024)] | None = optional(
        "as many as threads by default; pre-training takes them for each process"
    )
    memory: Memory | None = optional("that Ray keeps for a job: 16G; no account of it by default")
    resources: dict[str, Amount] = empty(dict, "of the site, as its nodes were started with: {a100: 1}")
    wait_for_nodes: Duration | None = optional(
        "how long to wait for a node that can hold a job; by default 30s where there was none yet, "
        "10m where there was one"
    )

    @field_validator("resources")
    @classmethod
    def _own(cls, values: dict[str, float]) -> dict[str, float]:
        for name, key in (("GPU", "gpus_per_job"), ("CPU", "cpus_per_job"), ("memory", "memory")):
            if name in values:
                raise ValueError(f"{key} for {name}")
        return values
