"""Converts stored curves into event files for TensorBoard."""

from pathlib import Path

import click

from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER, PLAN
from refers_bench.cli.results_trackers import ONLY, stored
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.render import event_files
from refers_bench.render.quantity import quantity


@click.command("tensorboard")
@PLAN
@click.option("--out", type=FOLDER, help="Folder.  [default: RESULTS/<name>/tensorboard]")
@ONLY
@click.pass_obj
def tensorboard(settings: Settings, manifest: str, out: Path | None, only: tuple[str, ...]) -> None:
    """Write the curves of the finished jobs of MANIFEST (a file, or the name of a plan) for TensorBoard.

    Losses, learning rate, validation metrics and speed, one run a job; writing again replaces them. The stored curves
    have no times: each job's points are spread evenly from its start to its end. Needs the extra 'tensorboard'.
    """
    event_files.check()
    name = name_of(manifest)
    folder = out or settings.results / name / "tensorboard"
    count = points = 0
    for run in stored(settings, name, only, curves=True):
        event_files.write(folder / run.tags["job"].replace("/", "_"), run.curves)
        count, points = count + 1, points + len(run.curves)
    echo(f"{quantity(count, 'run')}, {quantity(points, 'value')}: tensorboard --logdir {folder}")
