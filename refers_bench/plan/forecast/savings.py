"""Proposes what a plan can do without where GPU hours are short, with the hours that each proposal saves.

Only validation is proposed: it decides which weights of a training are kept and never how they come about, so that a
result keeps its meaning. The hours are the difference of two forecasts of the same jobs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refers_bench.plan.lock import Job

#: One validation in place of so many.
RARER = 5
#: Validations that a training keeps at least, so that there is a choice.
KEPT = 4


@dataclass(frozen=True, kw_only=True)
class Saving:
    """A proposal.

    Attributes:
        row: table row whose `overrides` it belongs to; '' for those of the protocol.
        overrides: dotted constant -> value, to paste.
        hours: device hours that it saves by itself.
        why: what is left out.
    """

    row: str
    overrides: Mapping[str, Any]
    hours: float
    why: str


def savings(jobs: Sequence[Job], hours: Callable[[Job], float]) -> list[Saving]:
    """Proposals that save anything, the largest first.

    Args:
        jobs: still to run.
        hours: forecast of one job.
    """
    return sorted((one for one in _proposed(jobs, hours) if one.hours > 0), key=lambda one: -one.hours)


def _proposed(jobs: Sequence[Job], hours: Callable[[Job], float]) -> Iterator[Saving]:
    for kind in ("pretrain", "finetune"):
        trained = [job for job in jobs if job.kind == kind]
        every = {job.spec[kind]["validate_every"] for job in trained}
        # One constant for all of them: where targets differ, it would be wrong for some.
        if len(every) == 1 and (value := every.pop()):
            rarer = RARER * value
            if min(job.spec[kind]["steps"] for job in trained) >= KEPT * rarer:
                yield Saving(
                    row="",
                    overrides={f"{kind}.validate_every": rarer},
                    hours=sum(_saved(job, hours, validate_every=rarer) for job in trained),
                    why=f"every {RARER}th validation of {len(trained)} {kind} jobs is enough to choose weights by",
                )
    rows: dict[str, list[Job]] = {}
    for job in jobs:
        if job.kind == "pretrain" and job.spec["pretrain"]["select"] == "last":
            rows.setdefault(job.name.split(".")[1], []).append(job)
    for row, trained in rows.items():
        yield Saving(
            row=row,
            overrides={"pretrain.validate_every": 0},
            hours=sum(_saved(job, hours, validate_every=0) for job in trained),
            why="its last weights are kept: validation before the end chooses nothing",
        )


def by_patience(jobs: Sequence[Job], hours: Callable[[Job], float]) -> float:
    """Hours by which these jobs take less if each training stops as soon as its patience allows.

    Args:
        jobs: still to run.
        hours: forecast of one job.
    """
    total = 0.0
    for job in jobs:
        section = job.spec.get(job.kind, {})
        if section.get("patience") and section["validate_every"]:
            steps = min(section["steps"], (1 + section["patience"]) * section["validate_every"])
            total += _saved(job, hours, steps=steps)
    return total


def _saved(job: Job, hours: Callable[[Job], float], **changes: int) -> float:
    """Hours by which a training takes less with some of its constants changed."""
    changed = {**job.spec, job.kind: {**job.spec[job.kind], **changes}}
    return hours(job) - hours(replace(job, spec=changed))
