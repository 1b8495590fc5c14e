"""Gives Python and notebooks the verbs of the command line: plan, run, and results as data frames.

``import refers_bench as rb`` offers them: ``rb.plan("smoke")``, ``rb.run("smoke")``, ``rb.results("smoke").cells()``.
A manifest is a file, the name of one that comes with the package, or a mapping with the same keys and a ``name``.
AUCs are in [0, 1], as in the CSV files of a report.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench.errors import UserError
from refers_bench.execution import running
from refers_bench.execution.planning import name_of, planned, selected
from refers_bench.execution.settings import Settings
from refers_bench.plan import imported, lock
from refers_bench.printable import printable
from refers_bench.reporting.frames import DrawnFigure, StoredResults

if TYPE_CHECKING:
    import pandas as pd

    from refers_bench.manifest.changes import Changes

__all__ = ["DrawnFigure", "JobsFailed", "StoredResults", "UserError", "plan", "results", "run"]

#: A manifest's file, the name of one that comes with the package, or the manifest itself.
Manifest = str | Path | Mapping[str, Any]


class JobsFailed(Exception):
    """Some jobs of a run have failed; all others were run, and `results` has them.

    Attributes:
        failed: name of each failed job -> category ("crash", "timeout", "nan", ...).
    """

    def __init__(self, failed: Mapping[str, str]) -> None:
        self.failed = dict(failed)
        named = ", ".join(f"{name} ({category})" for name, category in self.failed.items())
        super().__init__(f"{len(self.failed)} jobs failed: {named}; 'refers-bench logs NAME' shows what one printed")


def plan(
    manifest: Manifest,
    *,
    only: str | Sequence[str] = (),
    set: Mapping[str, Any] | None = None,  # noqa: A002 - called like the option
    limit: int | None = None,
    seeds: Sequence[int] = (),
    rows: Sequence[str] = (),
    results: str | Path | None = None,
    cache: str | Path | None = None,
    write: bool = True,
) -> pd.DataFrame:
    """The jobs that a manifest implies, with their states, as ``refers-bench plan --jobs`` lists them.

    Args:
        manifest: a file, the name of one that comes with the package, or a mapping.
        only: patterns of job or row names; what those jobs need comes along. Empty for all jobs.
        set: values of the manifest or its protocol that differ: ``{"finetune.steps": 300}``; recorded with the results.
        limit: images of each split that are used, to try a manifest out; every table says so.
        seeds: in place of the manifest's.
        rows: names of the manifest's rows that are kept; empty for all.
        results: folder of plans and results; the environment's, the config file's or "results" by default.
        cache: folder of prepared images; likewise, or that of the user.
        write: whether ``<results>/<name>/plan.lock.json`` is written.

    Returns:
        One row per job: ``name``, ``kind`` ("prepare", "pretrain", "finetune", ...), ``state`` ("done", "to do",
        "failed", "unavailable", ...), ``unavailable`` (why; '' for jobs that can run) and ``key`` (of the store).

    Raises:
        UserError: something is wrong with the manifest, or a pattern matches nothing.
    """
    import pandas as pd

    from refers_bench.plan.states import states

    settings = _settings(results, cache)
    made = planned(settings, _given(manifest), _changes(set, limit, seeds, rows))
    jobs, found = selected(made, _patterns(only)), states(made, settings.store, settings.cache)
    if write:
        lock.write(made, settings.results)
    listed = [(job.name, job.kind, found[job.key], job.unavailable or "", job.key) for job in jobs]
    return pd.DataFrame(listed, columns=["name", "kind", "state", "unavailable", "key"])


def run(
    manifest: Manifest,
    *,
    only: str | Sequence[str] = (),
    set: Mapping[str, Any] | None = None,  # noqa: A002 - called like the option
    limit: int | None = None,
    seeds: Sequence[int] = (),
    rows: Sequence[str] = (),
    max_jobs: int | None = None,
    budget: str | None = None,
    accept_imported: bool = False,
    executor: str | None = None,
    device: str = "auto",
    slots: int | None = None,
    threads: int | None = None,
    time_limit: str | None = None,
    results: str | Path | None = None,
    cache: str | Path | None = None,
    check: bool = True,
) -> StoredResults:
    """Run what a manifest still needs, as ``refers-bench run`` does; finished jobs are never run again.

    What runs and what has ended is printed on standard error, line by line in a notebook. An interrupted run resumes
    when it is called again.

    Args:
        manifest: a file, the name of one that comes with the package, or a mapping.
        only: patterns of job or row names, such as "refers.*"; what those jobs need comes along. Empty for all jobs.
        set: values of the manifest or its protocol that differ: ``{"finetune.steps": 300}``; recorded with the results.
        limit: images of each split that are used, to try a manifest out; every table says so.
        seeds: in place of the manifest's.
        rows: names of the manifest's rows that are kept; empty for all.
        max_jobs: jobs to start at most.
        budget: spending limit, such as "40gpuh" or "90cpumin".
        accept_imported: whether results that were imported with a bundle are used, also to start from.
        executor: "local", "slurm", "ray", or an engine of another package; the manifest's by default.
        device: "auto", "cpu" or "cuda".
        slots: jobs at a time on this machine; the manifest's by default, else one per two cores or one per GPU.
        threads: torch threads of a worker; the manifest's by default.
        time_limit: of one job, such as "15m"; the manifest's by default.
        results: folder of plans and results; the environment's, the config file's or "results" by default.
        cache: folder of prepared images; likewise, or that of the user.
        check: whether failed jobs raise an exception at the end.

    Returns:
        The results so far. Cells without one are in `StoredResults.cells` with their state and the reason.

    Raises:
        UserError: something is wrong with the manifest, or not possible here, or would use imported results; nothing
            has run.
        JobsFailed: with `check`, when jobs have failed; all others were run.
    """
    settings = _settings(results, cache)
    made = planned(settings, _given(manifest), _changes(set, limit, seeds, rows))
    jobs = selected(made, _patterns(only))
    asked = running.Asked(
        executor=executor,
        device=device,
        slots=slots,
        threads=threads,
        time_limit=time_limit,
        max_jobs=max_jobs,
        budget=budget,
    )
    imported.refuse(jobs, settings.store, accepted=accept_imported)
    lock.write(made, settings.results)
    outcome = running.run(settings, made, jobs, asked, say=_say)
    if check and outcome.failed:
        names = {job.key: job.name for job in made.jobs}
        raise JobsFailed({names[key]: category for key, category in outcome.failed.items()})
    return StoredResults(name=made.name, folder=settings.results)


def results(manifest: Manifest, *, results: str | Path | None = None) -> StoredResults:
    """What the store holds of a manifest that was planned or run.

    Args:
        manifest: its name, or the manifest itself.
        results: folder of plans and results; the environment's, the config file's or "results" by default.

    Raises:
        UserError: no manifest of that name was planned there.
    """
    name = str(manifest.get("name", "")) if isinstance(manifest, Mapping) else name_of(str(manifest))
    found = StoredResults(name=name, folder=_settings(results, None).results)
    _ = found.loaded  # a wrong name is reported here, not at the first table
    return found


def _settings(results: str | Path | None, cache: str | Path | None) -> Settings:
    def folder(given: str | Path | None) -> Path | None:
        return None if given is None else Path(given)

    settings = Settings(results_option=folder(results), cache_option=folder(cache))
    settings.use_plugins(())
    return settings


def _changes(values: Mapping[str, Any] | None, limit: int | None, seeds: Sequence[int], rows: Sequence[str]) -> Changes:
    from refers_bench.manifest.changes import Changes

    try:
        settings = tuple(f"{name}={json.dumps(value)}" for name, value in (values or {}).items())
    except TypeError as error:
        raise UserError(f"set: {error}", allowed="numbers, texts, booleans, None, lists and mappings") from error
    return Changes(settings=settings, limit=limit, seeds=tuple(seeds), rows=tuple(rows))


def _given(manifest: Manifest) -> Path | Mapping[str, Any]:
    return manifest if isinstance(manifest, Mapping) else Path(manifest)


def _patterns(only: str | Sequence[str]) -> tuple[str, ...]:
    return (only,) if isinstance(only, str) else tuple(only)


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
