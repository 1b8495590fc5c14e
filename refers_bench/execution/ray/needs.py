"""Computes what a job takes of a Ray cluster, and how many such jobs a node holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """Which cluster, and what a job takes of it.

    Attributes:
        address: "auto" for the cluster of this machine (or $RAY_ADDRESS), or host:port of its head.
        gpus_per_job: whole, or a share of one; None for 1 where the cluster has GPUs, else 0. Pre-training over
            several processes takes a GPU each, preparing images none.
        cpus_per_job: None for as many as a worker has threads.
        memory: bytes that Ray reserves for a job; None for no reservation.
        resources: of the site: name -> amount.
        wait_for_nodes: seconds to wait for a node that can hold a job; None for half a minute where there was none
            yet, and ten minutes where there was one.
    """

    address: str = "auto"
    gpus_per_job: float | None = None
    cpus_per_job: float | None = None
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    wait_for_nodes: float | None = None


_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def options(section: Mapping[str, Any]) -> RayOptions:
    """What the section `refers_bench.manifest.ray_schema.RayPart` of a manifest or site says; null means not set."""
    given = {name: value for name, value in section.items() if value is not None}
    if memory := given.get("memory"):
        given["memory"] = int(memory[:-1]) * _UNITS[memory[-1]]
    return RayOptions(**given)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one call takes of a node.

    Attributes:
        amounts: by Ray's names (GPU, CPU, memory, those of the site), without zeros.
    """

    amounts: tuple[tuple[str, float], ...]

    def of(self, name: str) -> float:
        """Amount of a resource."""
        return dict(self.amounts).get(name, 0.0)

    def places(self, node: Mapping[str, float]) -> int:
        """How many such calls an empty node holds; a share of a GPU is of one GPU."""
        counts = []
        for name, amount in self.amounts:
            there = node.get(name, 0.0)
            shared = name == "GPU" and amount < 1
            counts.append(int(there) * int(1 / amount + 1e-9) if shared else int(there / amount + 1e-9))
        return min(counts, default=0)

    def __str__(self) -> str:
        return described(dict(self.amounts))


def need(options: RayOptions, *, gpus: float, threads: int, processes: int = 1) -> Need:
    """What a job takes.

    Args:
        options: see `RayOptions`.
        gpus: of a job of one process.
        threads: torch threads of a worker.
        processes: over which it trains; each takes whole GPUs.
    """
    if gpus and processes > 1:
        gpus = processes * max(1.0, gpus)
    cpus = (options.cpus_per_job if options.cpus_per_job is not None else threads) * processes
    named = {"CPU": float(cpus), "GPU": gpus, "memory": float(options.memory or 0), **options.resources}
    return Need(amounts=tuple(sorted((name, amount) for name, amount in named.items() if amount)))


def described(node: Mapping[str, float]) -> str:
    """Resources in words: "4 CPU, 2 GPU, 60 GiB memory"; Ray's own marks of a node are left out."""
    words = []
    for name, amount in sorted(node.items()):
        if name == "memory":
            words.append(f"{amount / 2**30:.3g} GiB memory")
        elif ":" not in name and name != "object_store_memory":
            words.append(f"{amount:g} {name}")
    return ", ".join(words) or "nothing"
