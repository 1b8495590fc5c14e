"""Run a manifest: what is missing or failed, then tables and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.executors import HERE, confirmed, slots_of
from refers_bench.cli.planning import MANIFEST, counted, job_roots, planned, selected, show_counts
from refers_bench.cli.settings import Settings

if TYPE_CHECKING:
    from refers_bench.execution.engine import Outcome
    from refers_bench.plan.lock import Job, Plan

#: Exit codes.
INCOMPLETE, FAILED = 3, 4


@click.command("run")
@click.argument("manifest", type=MANIFEST)
@click.option("--dry-run", is_flag=True, help="Show which jobs would run; run and write nothing.")
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Jobs whose name matches, with what they need (repeatable)."
)
@click.option(
    "--executor",
    metavar="NAME",
    help="Where jobs run: local, slurm, ray, debug (in this process, for pdb), or an engine of another package.  "
    "[default: the manifest's, else local]",
)
@click.option("--max-jobs", type=click.IntRange(min=0), help="Start at most this many jobs.")
@click.option(
    "--budget",
    metavar="HOURS",
    help="Whole table rows first; start no job once it is spent: 40gpuh, 90cpumin, 3h or 45m of slots.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    help="Worker processes.  [default: the manifest's, else one per 2 cores; with GPUs one per GPU]",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Torch threads of a worker.  [default: the manifest's, else 1]"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--time-limit", metavar="DURATION", help="Of one job, such as 90s, 15m, 2h.  [default: the manifest's]")
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    metavar="PARTS",
    help="Process each batch in so many parts, for want of memory.  [default: the manifest's, else 1]",
)
@click.option("--no-report", is_flag=True, help="Do not print tables and write the report at the end.")
@click.pass_obj
def command(
    settings: Settings, /, manifest: Path, dry_run: bool, only: tuple[str, ...], no_report: bool, **how: Any
) -> int:
    """Run what MANIFEST still needs, print its tables and write its report.

    Finished jobs are never run again; failed ones are tried again. Interrupt it at any time: the same
    command goes on where it stopped.

    \b
    Exit codes: 0 all done, 2 user error, 3 incomplete (unavailable or left out), 4 failed jobs.
    """
    from refers_bench.plan import lock
    from refers_bench.plan.states import state_of
    from refers_bench.store.results import ResultStore

    plan = planned(settings, manifest)
    jobs = selected(plan, only)
    store = ResultStore(settings.results)
    if dry_run:
        for job in jobs:
            click.echo(f"{state_of(job, store, settings.cache):<12} {job.kind:<9} {job.name}")
        show_counts(counted(plan, store, settings.cache))
        return 0
    lock.write(plan, settings.results)
    outcome = _execute(settings, plan, jobs, **how)
    if not no_report:
        _report(settings, plan)
    return _ended(plan, outcome, jobs)


def _execute(
    settings: Settings,
    plan: Plan,
    jobs: list[Job],
    *,
    max_jobs: int | None,
    slots: int | None,
    threads: int | None,
    device: str,
    time_limit: str | None,
    budget: str | None,
    accumulate: int | None,
    executor: str | None,
) -> Outcome:
    import dataclasses

    from refers_bench.cli.forecasting import running_order
    from refers_bench.execution import coordinator, engine, engines, progress
    from refers_bench.manifest.part import seconds
    from refers_bench.plan.states import state_of
    from refers_bench.store.results import ResultStore

    try:
        limit = seconds(time_limit) if time_limit else plan.execution["time_limit"]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--time-limit") from error
    executor = executor or plan.execution["executor"]
    store = ResultStore(settings.results)
    todo = [job for job in jobs if not job.unavailable and state_of(job, store, settings.cache) != "done"]
    preload = [*engine.PRELOAD, *(engine.HEAVY if any(job.kind != "prepare" for job in todo) else ())]
    how = engine.Settings(
        results=settings.results,
        cache=settings.cache,
        roots=job_roots(settings, plan),
        preload=preload,
        slots=slots_of(plan, executor, device, slots),
        device=device,
        time_limit=limit,
        threads=threads or plan.execution["threads"],
        processes=plan.execution["prepare_processes"],
        arithmetic=plan.execution["arithmetic"],
        retries=plan.execution["retries"] if executor != "debug" else {},
        max_jobs=max_jobs,
        micro_batches=accumulate or plan.execution["accumulate"],
    )
    order = running_order(settings, plan, todo, how, budget=budget, fixed=executor in HERE)
    how = dataclasses.replace(how, **order)
    where = f"{len(how.slots)} at a time" if executor in HERE else f"on {executor}"
    click.echo(f"{plan.name}: {len(todo)} of {len(plan.jobs)} jobs to run, {where}", err=True)
    # A display that is drawn again and again would hide a debugger's prompt.
    view = progress.PlainView(len(todo)) if executor == "debug" else progress.view(len(todo))

    def cancel(question: str) -> bool:
        view.close()
        return confirmed(question)

    place = engines.make(
        executor, dataclasses.replace(how, cancel=cancel), plan.execution, site=settings.roots().engines
    )
    try:
        return coordinator.execute(jobs, place, how, view)
    finally:
        view.close()


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
