"""Show the jobs of a manifest by state, what is shared, what it takes, and why a cell is stale."""

from __future__ import annotations

from pathlib import Path

import click

from refers_bench.cli.planning import MANIFEST, counted, planned, show_counts
from refers_bench.cli.settings import Settings


@click.command("plan")
@click.argument("manifest", type=MANIFEST)
@click.option(
    "--explain",
    metavar="CELL",
    help="Why is this cell (a name or pattern) stale: which input changed since the last plan?",
)
@click.option("--jobs", "list_jobs", is_flag=True, help="List every job with its state.")
@click.option("--no-write", is_flag=True, help="Do not write plan.lock.json.")
@click.pass_obj
def command(settings: Settings, manifest: Path, explain: str | None, list_jobs: bool, no_write: bool) -> None:
    """Show the jobs of MANIFEST by state: done, to do, failed, unavailable.

    Writes RESULTS/<name>/plan.lock.json, every resolved value with its origin; --explain compares with the one
    that was there and leaves it.
    """
    from refers_bench.plan import lock, states
    from refers_bench.store.results import ResultStore

    plan = planned(settings, manifest)
    store = ResultStore(settings.results)
    path = settings.results / plan.name / lock.LOCK
    if explain:
        before = lock.read(path) if path.is_file() else None
        for line in states.explain(plan, before, explain, store, settings.cache):
            click.echo(line)
        return
    if list_jobs:
        for job in plan.jobs:
            click.echo(f"{states.state_of(job, store, settings.cache):<12} {job.kind:<9} {job.key}  {job.name}")
    show_counts(counted(plan, store, settings.cache))
    reasons: dict[str, int] = {}
    for job in plan.jobs:
        if job.unavailable:
            reasons[job.unavailable] = reasons.get(job.unavailable, 0) + 1
    for reason, count in reasons.items():
        click.echo(f"unavailable ({count} jobs): {reason}")
    for name, count in states.shared(plan, settings.results).items():
        click.echo(f"shared with {name}: {count} jobs")
    need = states.disk_bytes(plan)
    click.echo("disk: " + ", ".join(f"{what} {size / 2**20:.1f} MiB" for what, size in need.items()))
    if not no_write:
        click.echo(f"plan: {lock.write(plan, settings.results)}")
