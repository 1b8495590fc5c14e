"""Collects the jobs of a plan, each once, under the key of its specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refers_bench import identity
from refers_bench.plan.lock import Job

#: Version of the recipes themselves: raised when loop, evaluation or preparation change numbers.
IMPL = {
    "prepare": 1,
    "discover": 1,
    "pretrain": 4,
    "finetune": 3,
    "features": 1,
    "heads": 1,
    "frozen": 1,
    "out_of_fold": 1,
}


def specification(kind: str, **values: Any) -> dict[str, Any]:
    """All that decides the result of a job of this kind."""
    return {"kind": kind, "recipe": IMPL[kind], **values}


class Graph:
    """The jobs of a plan, needed ones first."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def add(
        self,
        name: str,
        spec: Mapping[str, Any],
        *,
        needs: Sequence[Job] = (),
        unavailable: str = "",
        texts: Mapping[str, str] | None = None,
    ) -> Job:
        """The job of a specification, which is made once.

        Args:
            name: for people.
            spec: all that decides the result.
            needs: jobs whose results it reads; what makes one of them unavailable does so with this one.
            unavailable: why it cannot run here.
            texts: canonical texts of the values that many specifications have in common, made once for all of them.
        """
        known = texts or {}
        own = {name: identity.canonical_json(value) for name, value in spec.items() if name not in known}
        key = identity.key_of({**known, **own})
        if key not in self.jobs:
            needed = tuple([need.key for need in needs])
            why = next(filter(None, (unavailable, *(need.unavailable for need in needs))), "")
            self.jobs[key] = Job(key=key, kind=spec["kind"], name=name, needs=needed, spec=spec, unavailable=why)
        return self.jobs[key]
