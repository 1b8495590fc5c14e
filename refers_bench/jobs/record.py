"""What stands in ``run.json`` beside a result: which job, under which circumstances, how long, what was found?"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refers_bench.files import publish_json
from refers_bench.store import provenance
from refers_bench.store.context import JobContext
from refers_bench.store.results import RECORD
from refers_bench.training import arithmetic

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """A job under way, from its first moment.

    Attributes:
        job: the plan's entry.
        context: where it runs.
        started: wall-clock time, UTC, ISO 8601.
        clock: monotonic time of the start.
    """

    job: Mapping[str, Any]
    context: JobContext
    started: str
    clock: float

    @classmethod
    def start(cls, job: Mapping[str, Any], context: JobContext) -> Record:
        """Note the time."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(job=job, context=context, started=now, clock=time.monotonic())

    def write(self, folder: Path, *, facts: Mapping[str, Any]) -> None:
        """Write ``run.json`` into a staged result folder.

        Args:
            folder: the staged folder.
            facts: what the job found out, JSON values without NaN.
        """
        publish_json(
            folder / RECORD,
            {
                "version": VERSION,
                "key": self.job["key"],
                "kind": self.job["kind"],
                "name": self.job["name"],
                "category": "ok",
                "attempts": self.context.attempt,
                "started": self.started,
                "wall_s": round(time.monotonic() - self.clock, 3),
                "peak_mem_bytes": provenance.peak_memory_bytes(),
                "provenance": provenance.provenance(
                    device=self.context.device,
                    threads=self.context.threads,
                    arithmetic=arithmetic.chosen(self.context.device),
                    roots=dict(self.context.roots),
                    gpu=_gpu(self.context.device),
                ),
                "spec": dict(self.job["spec"]),
                "facts": dict(facts),
            },
        )


def _gpu(device: str) -> dict[str, Any] | None:
    """Name and peak memory of the GPU; None for jobs on the CPU."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return None
    return {
        "name": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "peak_mem_bytes": torch.cuda.max_memory_allocated(device),
    }
