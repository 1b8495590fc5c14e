"""Publishes the result of a job with its record ``run.json``: which job, where and how it ran, what it found out."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refers_bench.files import publish_json
from refers_bench.store import provenance, records
from refers_bench.store.context import JobContext
from refers_bench.store.results import RECORD, ResultStore
from refers_bench.training import arithmetic


@dataclass(frozen=True)
class Record:
    """A job under way, from its first moment.

    Attributes:
        job: the plan's entry: key, kind, name, spec.
        store: where its result goes.
        context: where it runs; None where results are imported and nothing is computed.
        started: wall-clock time, UTC, ISO 8601.
        clock: monotonic time of the start.
    """

    job: Mapping[str, Any]
    store: ResultStore
    context: JobContext | None = None
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def published(self, facts: Mapping[str, Any], *, origin: Mapping[str, Any] | None = None) -> Iterator[Path]:
        """A staged folder that becomes the result, with its record, when the block ends well.

        Args:
            facts: what the job found out, JSON values without NaN.
            origin: of what was imported: from what, and when; None for what is computed here.

        Raises:
            StorageError: disk full, read-only, or no permission.
        """
        with self.store.publish(self.job["key"]) as stage:
            yield stage
            content = {
                "version": records.VERSION,
                **{name: self.job[name] for name in ("key", "kind", "name")},
                "category": "ok",
                **({"attempts": self.context.attempt} if self.context else {}),
                "started": self.started,
                "wall_s": round(time.monotonic() - self.clock, 3),
                "peak_mem_bytes": provenance.peak_memory_bytes(),
                "provenance": provenance.provenance(**_circumstances(self.context, compiled="compile_s" in facts)),
                "files": records.digests(stage),
                "spec": dict(self.job["spec"]),
                "facts": dict(facts),
                **({"origin": {**origin, "at": self.started}} if origin else {}),
            }
            publish_json(stage / RECORD, content)


def _circumstances(context: JobContext | None, *, compiled: bool) -> dict[str, Any]:
    """What a job computed with, and the name and peak memory of its GPU (None for jobs on the CPU)."""
    if context is None:
        return {}
    torch, device, gpu = sys.modules.get("torch"), context.device, None
    if torch is not None and device.startswith("cuda"):
        memory = torch.cuda.max_memory_allocated(device)
        gpu = {"name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda, "peak_mem_bytes": memory}
    about = {"arithmetic": arithmetic.chosen(device), "compiled": compiled, "roots": dict(context.roots), "gpu": gpu}
    return {"device": device, "threads": context.threads, **about}
