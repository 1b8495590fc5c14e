"""Finds the planned jobs that a name, a pattern or a key stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from refers_bench.errors import UserError, nearest
from refers_bench.plan import lock
from refers_bench.plan.lock import LOCK, Job

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
        UserError: it means none, or jobs of several names.
    """
    locks = sorted(results.glob(f"*/{LOCK}"))
    found: dict[str, Found] = {}
    for each in _jobs(locks, text) or _cells(locks, text):
        found.setdefault(each.job.key, each)
    if not found:
        names = [job.name for path in locks for job in lock.outline(path).jobs]
        close = nearest(text, names) if locks else ""
        allowed = "a name, pattern or key that 'refers-bench plan MANIFEST --jobs' shows"
        raise UserError(f"no planned job is called '{text}'", allowed=allowed, nearest=close, path=results)
    if len({each.job.name for each in found.values()}) > 1:
        named = [f"{each.job.name} ({each.manifest}, key {each.job.key})" for each in list(found.values())[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise UserError(f"'{text}' means {len(found)} jobs", allowed=f"one of {', '.join(named)}{more}")
    return list(found.values())


def _jobs(locks: Iterable[Path], text: str) -> list[Found]:
    """By the names and keys of jobs."""
    everything = [Found(manifest=path.parent.name, job=job) for path in locks for job in lock.outline(path).jobs]
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
