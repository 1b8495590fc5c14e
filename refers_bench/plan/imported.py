"""Finds the jobs of a plan whose results were imported with a bundle, not computed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from refers_bench.errors import Problem, UserError
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore

#: Jobs that are named.
NAMED = 3


def imported(jobs: Iterable[Job], store: ResultStore) -> dict[str, list[Job]]:
    """Bundle, in words -> the finished jobs that it brought.

    Jobs of a plan that is an import of predictions are that by their kind, and no run could take them for its own.
    """
    done = store.listing().done
    found: dict[str, list[Job]] = {}
    for job in jobs:
        if job.key in done and job.kind != "import" and (bundle := store.bundle(job.key)):
            found.setdefault(bundle, []).append(job)
    return found


def sentences(found: Mapping[str, Sequence[Job]]) -> Iterator[str]:
    """What is said of `imported`: how many results of which bundle."""
    for bundle, jobs in found.items():
        named = ", ".join(job.name for job in jobs[:NAMED]) + (" and others" if len(jobs) > NAMED else "")
        yield f"{len(jobs)} finished {'job was' if len(jobs) == 1 else 'jobs were'} imported from {bundle}: {named}"


def refuse(jobs: Iterable[Job], store: ResultStore, *, accepted: bool) -> None:
    """Refuse to build on imported results that nobody has accepted.

    Args:
        jobs: that are wanted, done or not, with all they need.
        store: results.
        accepted: whether they are taken as they are.

    Raises:
        UserError: some are imported.
    """
    if not accepted and (found := imported(jobs, store)):
        allowed = "--accept-imported (from Python accept_imported=True), and tables say so; or another --results folder"
        raise UserError([Problem(found=f"{text}; not computed here", allowed=allowed) for text in sentences(found)])
