"""Runs a manifest: what is missing or failed, then tables and report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli import completing
from refers_bench.cli.counts import show_counts
from refers_bench.cli.damage import show
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.executors import confirmed
from refers_bench.cli.options import DEVICE, MANIFEST, POSITIVE, changes_manifest
from refers_bench.errors import Problem
from refers_bench.execution import running
from refers_bench.execution.engine import Outcome
from refers_bench.execution.planning import planned, selected
from refers_bench.execution.settings import Settings
from refers_bench.plan import imported, lock, missing_roots
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import states
from refers_bench.render.quantity import quantity

if TYPE_CHECKING:
    from refers_bench.manifest.changes import Changes

#: Exit codes.
INCOMPLETE, FAILED, STOPPED = 3, 4, 130
ONLY = "Jobs or rows whose name matches, with what they need (repeatable)."
EXECUTOR = (
    "Where jobs run: local, slurm, ray, debug (in this process, for pdb), or an engine of another package.  "
    "[default: the manifest's, else local]"
)
BUDGET = "Spending limit, after which no job starts (40gpuh, 90cpumin, 3h or 45m of slots); whole table rows go first."
SLOTS = "Worker processes.  [default: the manifest's, else one per 2 cores; with GPUs one per GPU]"
THREADS = "Torch threads of a worker.  [default: the manifest's, else 1]"
TIME_LIMIT = "Of one job, such as 90s, 15m, 2h.  [default: the manifest's]"
ACCEPT = "Use results that were imported with a bundle, also to start from; tables say which figures rest on them."
MICRO_BATCHES = "Split each batch into N micro-batches to save memory.  [default: the manifest's, else 1]"


@click.command("run")
@MANIFEST
@click.option("--dry-run", is_flag=True, help="Show which jobs would run; run and write nothing.")
@click.option("--only", multiple=True, metavar="PATTERN", help=ONLY)
@click.option("--executor", metavar="NAME", help=EXECUTOR, shell_complete=completing.executors)
@click.option("--max-jobs", type=click.IntRange(min=0), help="Start at most this many jobs.")
@click.option("--budget", metavar="HOURS", help=BUDGET)
@click.option("--slots", type=POSITIVE, help=SLOTS)
@click.option("--threads", type=POSITIVE, help=THREADS)
@DEVICE
@click.option("--time-limit", metavar="DURATION", help=TIME_LIMIT)
@click.option("--accumulate", type=POSITIVE, metavar="N", help=MICRO_BATCHES)
@click.option("--accept-imported", is_flag=True, help=ACCEPT)
@click.option("--no-report", is_flag=True, help="Do not print tables and write the report at the end.")
@changes_manifest
@click.pass_obj
def command(
    settings: Settings,
    /,
    manifest: Path,
    changes: Changes,
    dry_run: bool,
    only: tuple[str, ...],
    accept_imported: bool,
    no_report: bool,
    **how: Any,
) -> int:
    """Run what MANIFEST ("-": standard input) still needs, print its tables and write its report.

    Finished jobs are never run again; failed ones are retried. Interrupt it at any time: the same command resumes
    where it stopped. Finished cells whose files are missing or changed are named, and are not run again by themselves.

    \b
    Exit codes: 0 all done, 1 damaged, 2 user error, 3 incomplete (unavailable or left out), 4 failed jobs, 130 Ctrl-C.
    """
    plan, asked = planned(settings, manifest, changes), running.Asked(**how)
    jobs = selected(plan, only)
    if dry_run:
        _show(settings, plan, jobs, asked)
        return 0
    imported.refuse(jobs, settings.store, accepted=accept_imported)
    lock.write(plan, settings.results)
    try:
        outcome = running.run(settings, plan, jobs, asked, say=partial(echo, err=True), cancel=confirmed)
    except KeyboardInterrupt:
        found = states(plan, settings.store, settings.cache)
        done = sum(found[job.key] == "done" for job in jobs)
        echo(f"stopped; {done} of {len(jobs)} jobs are done; to resume: {_command_line()}", err=True)
        return STOPPED
    damaged = _damaged(settings, plan) if no_report else _report(settings, plan)
    ended, met = _ended(settings, plan, outcome, jobs), show(damaged)
    return ended if ended == FAILED else met or ended


def _show(settings: Settings, plan: Plan, jobs: list[Job], asked: running.Asked) -> None:
    """Print the jobs of a run with their states, what --max-jobs and --budget would leave for later among them.

    Which jobs these are follows from the forecast: a run whose jobs fail or take another time may start others.
    """
    from refers_bench.execution.coordinator import RANK
    from refers_bench.execution.ordering import forecast_seconds, running_order
    from refers_bench.plan.order import started

    found = states(plan, settings.store, settings.cache)
    todo = [job for job in jobs if found[job.key] not in ("done", "unavailable")]
    later: set[str] = set()
    if asked.max_jobs is not None or asked.budget is not None:
        _, here, _, options = running.options_of(settings, plan, todo, asked)
        say = partial(echo, err=True)
        order = running_order(settings, plan, todo, options, budget=asked.budget, say=say, fixed=here)
        options = dataclasses.replace(options, **order)
        ranks = {job.key: (options.order.get(job.key, 0.0), RANK.get(job.kind, 9), at) for at, job in enumerate(jobs)}
        limits: dict[str, Any] = {"most": options.max_jobs, "limit_s": options.budget_s, "cost": options.cost}
        seconds = forecast_seconds(settings, plan, todo, options)
        later = {job.key for job in todo} - started(todo, seconds, ranks, slots=len(options.slots), **limits)
    for job in jobs:
        echo(f"{'later' if job.key in later else found[job.key]:<12} {job.kind:<9} {job.name}")
    chosen = {job.key for job in jobs}
    show_counts(
        dataclasses.replace(plan, jobs=tuple(job for job in plan.jobs if job.key in chosen)), found, settings.store
    )
    if later:
        names = {"max_jobs": "--max-jobs", "budget": "--budget"}
        by = [f"{option} {value}" for name, option in names.items() if (value := getattr(asked, name)) is not None]
        echo(f"{len(later)} of {len(todo)} jobs left for a later run by {' and '.join(by)}")


def _command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["refers-bench", *sys.argv[1:]])


def _damaged(settings: Settings, plan: Plan) -> list[Problem]:
    from refers_bench.analysis.results import load

    return list(load(settings.results, plan.name).damaged.values())


def _report(settings: Settings, plan: Plan) -> list[Problem]:
    """Print the tables and write the report; what is damaged."""
    from refers_bench.reporting import page

    found: list[Problem] = []
    echo_lines(page.printed(settings.results, plan.name))
    formats = ("html", "latex", "markdown", "csv")
    for path in page.write(settings.results, [plan.name], formats, damaged=found.append):
        if path.suffix == ".html":
            echo(f"report: {path}")
    return found


def _ended(settings: Settings, plan: Plan, outcome: Outcome, jobs: list[Job]) -> int:
    names = {job.key: job for job in plan.jobs}
    for key, category in outcome.failed.items():
        log = shlex.join(["refers-bench", "logs", names[key].name])
        echo(f"failed ({category}): {names[key].name}; {log} shows what it printed", err=True)
    if outcome.blocked:
        echo(f"waiting for failed or unavailable ones: {quantity(len(outcome.blocked), 'job')}", err=True)
    if outcome.failed:
        return FAILED
    unavailable = [job for job in jobs if job.unavailable]
    for reason in sorted({job.unavailable for job in unavailable}):
        echo(f"unavailable: {reason}", err=True)
    if unavailable:
        for sentence in missing_roots.sentences(plan, settings.roots(), at_least=2):
            echo(sentence, err=True)
    if unavailable or outcome.left or outcome.blocked:
        echo(f"incomplete: {quantity(len(unavailable), 'job')} unavailable, {len(outcome.left)} left", err=True)
        return INCOMPLETE
    return 0
