"""Converts stored curves into event files for TensorBoard."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from refers_bench.cli.options import FOLDER, PLAN
from refers_bench.cli.progress import counted
from refers_bench.errors import UserError
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.plan import lock
from refers_bench.render import event_files
from refers_bench.render.quantity import quantity

CURVES = "history.parquet"


@click.command("tensorboard")
@PLAN
@click.option("--out", type=FOLDER, help="Folder.  [default: RESULTS/<name>/tensorboard]")
@click.option("--only", multiple=True, metavar="PATTERN", help="Jobs whose name matches (repeatable).")
@click.pass_obj
def tensorboard(settings: Settings, manifest: str, out: Path | None, only: tuple[str, ...]) -> None:
    """Write the curves of the finished jobs of MANIFEST (a file, or the name of a plan) for TensorBoard.

    Losses, learning rate, validation metrics and speed, one run a job; writing again replaces them. The stored curves
    have no times: each job's points are spread evenly from its start to its end. Needs the extra 'tensorboard'.
    """
    event_files.check()
    name, store = name_of(manifest), settings.store
    plan, done = lock.outline(settings.results / name / lock.LOCK), store.listing().done
    chosen = [
        job
        for job in plan.jobs
        if job.key in done
        and any(fnmatchcase(job.name, each) for each in only or ("*",))
        and (store.folder(job.key) / CURVES).is_file()
    ]
    if not chosen:
        raise UserError(f"no finished job of '{name}' has curves" + (" and such a name" if only else ""))
    folder = out or settings.results / name / "tensorboard"
    progress, points = counted("runs written"), 0
    for number, job in enumerate(chosen):
        scalars = list(_scalars(store.folder(job.key) / CURVES, store.record(job.key) or {}))
        event_files.write(folder / job.name.replace("/", "_"), scalars)
        points += len(scalars)
        progress(number + 1, len(chosen))
    click.echo(f"{quantity(len(chosen), 'run')}, {quantity(points, 'value')}: tensorboard --logdir {folder}")


def _scalars(path: Path, record: Mapping[str, Any]) -> Iterator[event_files.Scalar]:
    """The curves of one job, in the order of recording; a value that was not finite is left out."""
    from refers_bench.store.schemas import read_table

    rows = read_table(path, "history").to_pylist()
    last = max((row["step"] for row in rows), default=0)
    start = datetime.fromisoformat(record["started"]).timestamp()
    for row in rows:
        if row["value"] is not None:
            passed = record["wall_s"] * row["step"] / last if last else 0.0
            yield event_files.Scalar(name=row["name"], step=row["step"], value=row["value"], time=start + passed)
