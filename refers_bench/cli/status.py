"""Show how far each planned manifest is, from locks and store alone."""

from __future__ import annotations

import click

from refers_bench.cli.planning import show_counts, tallied
from refers_bench.cli.settings import Settings


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--failed", "show_failed", is_flag=True, help="List failed jobs with their category and last error line.")
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...], show_failed: bool) -> None:
    """Show how far the planned manifests are (all, or those named), without planning again."""
    from refers_bench.errors import UserError, unknown
    from refers_bench.execution.progress import line_of
    from refers_bench.files import read_json
    from refers_bench.plan import lock, states
    from refers_bench.store.results import ResultStore

    known = sorted(path.parent.name for path in settings.results.glob(f"*/{lock.LOCK}"))
    wrong = [unknown("plan", name, known) for name in names if name not in known]
    if wrong:
        raise UserError(wrong)
    if not known:
        click.echo(f"nothing has been planned in {settings.results}")
        return
    store = ResultStore(settings.results)
    for name in names or known:
        plan = lock.outline(settings.results / name / lock.LOCK)
        click.echo(f"{name}: {plan.title}")
        found = states.states(plan, store, settings.cache)
        show_counts(tallied(plan, found))
        for job in plan.jobs:
            if found[job.key] == "running":
                view = store.work_folder(job.key) / "progress.json"
                click.echo(f"  running {line_of(job.name, read_json(view) if view.is_file() else {})}")
            elif found[job.key] == "failed" and show_failed and (failure := store.failure(job.key)):
                click.echo(f"  failed ({failure['category']}) {job.name}: {failure.get('message', '')}")
