"""Runs a manifest: what is missing or failed, then tables and report."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from refers_bench.cli.counts import show_counts
from refers_bench.cli.executors import confirmed
from refers_bench.cli.options import DEVICE, MANIFEST, POSITIVE
from refers_bench.execution import running
from refers_bench.execution.engine import Outcome
from refers_bench.execution.planning import planned, selected
from refers_bench.execution.settings import Settings
from refers_bench.plan import lock
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import states

#: Exit codes.
INCOMPLETE, FAILED = 3, 4
ONLY = "Jobs whose name matches, with what they need (repeatable)."
EXECUTOR = (
    "Where jobs run: local, slurm, ray, debug (in this process, for pdb), or an engine of another package.  "
    "[default: the manifest's, else local]"
)
BUDGET = "Spending limit, after which no job starts (40gpuh, 90cpumin, 3h or 45m of slots); whole table rows go first."
SLOTS = "Worker processes.  [default: the manifest's, else one per 2 cores; with GPUs one per GPU]"
THREADS = "Torch threads of a worker.  [default: the manifest's, else 1]"
TIME_LIMIT = "Of one job, such as 90s, 15m, 2h.  [default: the manifest's]"
MICRO_BATCHES = "Split each batch into N micro-batches to save memory.  [default: the manifest's, else 1]"


@click.command("run")
@MANIFEST
@click.option("--dry-run", is_flag=True, help="Show which jobs would run; run and write nothing.")
@click.option("--only", multiple=True, metavar="PATTERN", help=ONLY)
@click.option("--executor", metavar="NAME", help=EXECUTOR)
@click.option("--max-jobs", type=click.IntRange(min=0), help="Start at most this many jobs.")
@click.option("--budget", metavar="HOURS", help=BUDGET)
@click.option("--slots", type=POSITIVE, help=SLOTS)
@click.option("--threads", type=POSITIVE, help=THREADS)
@DEVICE
@click.option("--time-limit", metavar="DURATION", help=TIME_LIMIT)
@click.option("--accumulate", type=POSITIVE, metavar="N", help=MICRO_BATCHES)
@click.option("--no-report", is_flag=True, help="Do not print tables and write the report at the end.")
@click.pass_obj
def command(
    settings: Settings, /, manifest: Path, dry_run: bool, only: tuple[str, ...], no_report: bool, **how: Any
) -> int:
    """Run what MANIFEST still needs, print its tables and write its report.

    Finished jobs are never run again; failed ones are retried. Interrupt it at any time: the same command resumes
    where it stopped.

    \b
    Exit codes: 0 all done, 2 user error, 3 incomplete (unavailable or left out), 4 failed jobs.
    """
    plan = planned(settings, manifest)
    jobs = selected(plan, only)
    if dry_run:
        found = states(plan, settings.store, settings.cache)
        for job in jobs:
            click.echo(f"{found[job.key]:<12} {job.kind:<9} {job.name}")
        show_counts(plan, found)
        return 0
    lock.write(plan, settings.results)
    outcome = running.run(
        settings, plan, jobs, running.Asked(**how), say=partial(click.echo, err=True), cancel=confirmed
    )
    if not no_report:
        _report(settings, plan)
    return _ended(plan, outcome, jobs)


def _report(settings: Settings, plan: Plan) -> None:
    from refers_bench.reporting import page

    click.echo(page.printed(settings.results, plan.name))
    for path in page.write(settings.results, [plan.name], ("html", "latex", "markdown", "csv")):
        if path.suffix == ".html":
            click.echo(f"report: {path}")


def _ended(plan: Plan, outcome: Outcome, jobs: list[Job]) -> int:
    names = {job.key: job for job in plan.jobs}
    for key, category in outcome.failed.items():
        click.echo(f"failed ({category}): {names[key].name}; see results store {key}.failed.json", err=True)
    if outcome.blocked:
        click.echo(f"{len(outcome.blocked)} jobs wait for failed or unavailable ones", err=True)
    if outcome.failed:
        return FAILED
    unavailable = [job for job in jobs if job.unavailable]
    for reason in sorted({job.unavailable for job in unavailable}):
        click.echo(f"unavailable: {reason}", err=True)
    if unavailable or outcome.left or outcome.blocked:
        click.echo(f"incomplete: {len(unavailable)} jobs unavailable, {len(outcome.left)} left", err=True)
        return INCOMPLETE
    return 0
