"""Finds the planned jobs that a name, a pattern or a key stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from refers_bench.errors import Problem, UserError, nearest
from refers_bench.plan import lock
from refers_bench.plan.lock import LOCK, Job, Plan

#: Jobs that are named where a pattern means several.
NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Found:
    """A job and the first manifest that asks for it."""

    manifest: str
    job: Job


def several(results: Path, text: str) -> list[Found]:
    """The jobs that `text` means in any of the planned manifests: one, or jobs of one name of several manifests.

    Args:
        results: results folder.
        text: name of a job or cell, a shell pattern over names, or a key; a name goes before a pattern.

    Raises:
        UserError: it means none, none of the plans that can be read, or jobs of several names.
    """
    plans: dict[Path, Plan] = {}
    problems: list[Problem] = []
    for path in sorted(results.glob(f"*/{LOCK}")):
        try:
            plans[path] = lock.outline(path)
        except UserError as error:
            problems += error.problems
    found: dict[str, Found] = {}
    for each in _jobs(plans, text) or _cells(plans, text):
        found.setdefault(each.job.key, each)
    if not found and problems:  # it may stand in a plan that cannot be read
        raise UserError(problems)
    if not found:
        names = [job.name for plan in plans.values() for job in plan.jobs]
        close = nearest(text, names) if plans else ""
        allowed = "a name, pattern or key that 'refers-bench plan MANIFEST --jobs' shows"
        raise UserError(f"no planned job is called '{text}'", allowed=allowed, nearest=close, path=results)
    if len({each.job.name for each in found.values()}) > 1:
        named = [f"{each.job.name} ({each.manifest}, key {each.job.key})" for each in list(found.values())[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise UserError(f"'{text}' means {len(found)} jobs", allowed=f"one of {', '.join(named)}{more}")
    return list(found.values())


def _jobs(plans: Mapping[Path, Plan], text: str) -> list[Found]:
    """By the names and keys of jobs."""
    everything = [Found(manifest=path.parent.name, job=job) for path, plan in plans.items() for job in plan.jobs]
    exact = [each for each in everything if text in (each.job.name, each.job.key)]
    return exact or [each for each in everything if fnmatchcase(each.job.name, text)]


def _cells(locks: Iterable[Path], text: str) -> Iterator[Found]:
    """By the names of cells: rows that share a job have names of their own for it."""
    for path in locks:
        plan = lock.read(path)
        jobs = {job.key: job for job in plan.jobs}
        for cell in plan.cells:
            if cell.name == text or fnmatchcase(cell.name, text):
                yield Found(manifest=path.parent.name, job=jobs[cell.key])
