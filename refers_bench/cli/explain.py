"""Shows where the networks of finished cells look, and how far that meets annotated boxes."""

import contextlib
from collections.abc import Sequence
from typing import Any

import click

from refers_bench.analysis.localisation import MAPS, THRESHOLD
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import PLAN, POSITIVE
from refers_bench.errors import UserError
from refers_bench.execution.engine import Outcome
from refers_bench.execution.planning import job_roots, name_of, run_options
from refers_bench.execution.settings import Settings
from refers_bench.execution.slots import slots_here
from refers_bench.plan import explanation, lock
from refers_bench.plan.lock import Cell, Job, Plan
from refers_bench.plan.states import state_of
from refers_bench.store import explanations
from refers_bench.store.explanations import Explained
from refers_bench.store.results import ResultStore

FAILED, INCOMPLETE = 4, 3
CELL = "Finished cells by name, such as 'refers.nih_chestxray14.findings.100%.s0' (repeatable; * for any part)."
MAP = "Attention rollout, the class activation of each annotated class, or both."
CUT = click.FloatRange(0, 1, min_open=True, max_open=True)
THRESHOLD_HELP = "Cut of a map that is stretched to 0 to 1; boxes surround what reaches it."
IMAGES = "Radiographs of each cell that the report shows; 0 keeps them out of store and report."


@click.command("explain")
@PLAN
@click.option("--cell", "patterns", multiple=True, required=True, metavar="PATTERN", help=CELL)
@click.option("--map", "kind", type=click.Choice([*MAPS, "both"]), default="both", help=MAP)
@click.option("--threshold", type=CUT, default=THRESHOLD, help=THRESHOLD_HELP)
@click.option("--images", type=click.IntRange(0, 12), default=6, help=IMAGES)
@click.option("--slots", type=POSITIVE, help="Worker processes.  [default: as 'run']")
@click.option("--no-report", is_flag=True, help="Do not write the report at the end.")
@click.pass_obj
def command(
    settings: Settings, /, manifest: str, patterns: tuple[str, ...], slots: int | None, no_report: bool, **how: Any
) -> int:
    """Explain finished cells of MANIFEST (a file, or the name of a plan) on the annotated test images.

    Each cell is fine-tuned once more (its result keeps predictions, not weights) and must give its stored
    predictions to the last bit; then maps of where it looks are made of all test images with annotated boxes.
    Boxes around what reaches the threshold are compared with the annotated ones: mean IoU per class, beside a box
    in the middle of the image. Maps are kept: another threshold trains nothing.

    The report embeds some test radiographs (--images): real patients' where the data are.

    \b
    Exit codes: 0 done, 2 user error, 3 incomplete, 4 failed jobs.
    """
    # Explain what was run: the plan that is stored, not the manifest as it may have changed since.
    plan, store = lock.read(settings.results / name_of(manifest) / lock.LOCK), settings.store
    cells = explanation.cells_of(plan, patterns)
    explanation.check(plan, cells, store)
    jobs, asked = _jobs(plan, cells, job_roots(settings, plan), **how)
    outcome = _execute(settings, plan, jobs, device=_device(cells, store), slots=slots)
    done = [one for one in asked if store.state(one.localise) == "done"]
    explanations.add(settings.results, plan.name, done)
    if done:
        _show(settings, plan, write=not no_report)
    return _ended(outcome, jobs, store)


def _jobs(
    plan: Plan, cells: Sequence[Cell], roots: dict[str, str], *, kind: str, threshold: float, images: int
) -> tuple[list[Job], list[Explained]]:
    """Jobs of all cells, each once, and what the report will look for."""
    maps = list(MAPS) if kind == "both" else [kind]
    jobs: dict[str, Job] = {}
    asked = []
    for cell in cells:
        found, explained = explanation.jobs_of(plan, cell, roots, maps=maps, threshold=threshold, images=images)
        jobs |= {job.key: job for job in found}
        asked.append(explained)
    return list(jobs.values()), asked


def _device(cells: Sequence[Cell], store: ResultStore) -> str:
    """The kind of device that the cells were trained on: on another one, last bits would differ.

    Raises:
        UserError: on different kinds of devices.
    """
    found: dict[str, str] = {}
    for cell in cells:
        record = store.record(cell.key) or {}
        found.setdefault(str(record.get("provenance", {}).get("device", "cpu")).partition(":")[0], cell.name)
    if len(found) > 1:
        text = " and ".join(f"{name} on {device}" for device, name in sorted(found.items()))
        raise UserError(f"cells trained on different devices: {text}", allowed="one kind at a time")
    return next(iter(found))


def _execute(settings: Settings, plan: Plan, jobs: list[Job], *, device: str, slots: int | None) -> Outcome:
    from refers_bench.execution import local, progress

    todo = [job for job in jobs if state_of(job, settings.store, settings.cache) != "done"]
    options = run_options(settings, plan, todo, slots_here(plan, device, slots))
    echo(f"{plan.name}: {len(todo)} of {len(jobs)} jobs to run", err=True)
    with contextlib.closing(progress.view(len(todo))) as view:
        return local.execute(jobs, options, view)


def _show(settings: Settings, plan: Plan, *, write: bool) -> None:
    """The table on the terminal, then the report."""
    from refers_bench.analysis.results import load
    from refers_bench.render import terminal
    from refers_bench.render.table import Table
    from refers_bench.reporting import page as pages

    for item in pages.items(load(settings.results, plan.name), ("attention",)):
        if isinstance(item, Table):
            echo_lines(terminal.table(item))
    if write:
        (page,) = pages.write(settings.results, [plan.name], ("html",))
        echo(f"report: {page}")


def _ended(outcome: Outcome, jobs: Sequence[Job], store: ResultStore) -> int:
    names = {job.key: job.name for job in jobs}
    for key, category in outcome.failed.items():
        # The view shortens what it shows of a job; why a cell cannot be explained is written in full.
        message = (store.failure(key) or {}).get("message", "")
        echo(f"failed ({category}): {names[key]}: {message}", err=True)
    if outcome.failed:
        return FAILED
    return INCOMPLETE if outcome.left or outcome.blocked else 0
