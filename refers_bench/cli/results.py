"""Takes in other people's predictions; packs, checks and compares results."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench import plugins
from refers_bench.cli import (
    results_bundle,
    results_diff,
    results_fsck,
    results_registry,
    results_tensorboard,
    results_trackers,
)
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import FILE_OR_FOLDER
from refers_bench.cli.progress import counted
from refers_bench.errors import UserError
from refers_bench.evaluations import SELECTED_ON
from refers_bench.execution.settings import Settings
from refers_bench.render.quantity import quantity

if TYPE_CHECKING:
    from refers_bench.data.imported.predictions import ImportedRun

_NAME = click.option("--name", help="Name of the plan below RESULTS.  [default: from the source]")
_REPORT = click.option("--report", is_flag=True, help="Then compute all statistics and write the report.")
_UNREAD = "Leave out files that no rule reads, instead of refusing them."
_COLUMNS = (
    "One row per image and class: method, dataset, task, label_ratio, class, image_id, label, score; "
    "optional seed, patient_id, method_label, selected_on, and of crossed seeds subset_seed, init_seed, order_seed."
)
_SELECTED = "Images that the checkpoints behind FILE were chosen on; needed unless a column selected_on says so."
_PROBABILITIES = "Declare the scores so: outside 0 to 1 is then a finding."


@click.group("results")
def command() -> None:
    """Take in other people's predictions; pack, check and compare results."""


@command.group("import")
def import_() -> None:
    """Read predictions into the store, as runs that were not made here; then print what the files contain."""


@import_.command("refers-release")
@click.argument("folder", type=FILE_OR_FOLDER)
@_NAME
@click.option("--allow-unread", is_flag=True, help=_UNREAD)
@_REPORT
@click.pass_obj
def refers_release(settings: Settings, folder: Path, name: str | None, allow_unread: bool, report: bool) -> None:
    """The prediction files of the REFERS release: FOLDER holds Results_of_fine-tuning.

    A file below FOLDER that no rule reads is an error; hidden ones are named and left out.
    """
    from refers_bench.data.imported.refers_release import DATASETS, PROBABILITIES, read_release

    classes = {
        (dataset, task): card.classes
        for dataset in DATASETS.values()
        for task, card in plugins.load("dataset", dataset).tasks.items()
    }
    runs, unread = read_release(folder, classes, allow_unread=allow_unread)
    for path in unread:
        echo(f"not read: {path}")
    _publish(
        settings,
        runs,
        name=name or "refers-release",
        title="Prediction files of the REFERS release",
        origin="released",
        tables=("table1",),
        unread=unread,
        probabilities=PROBABILITIES,
        command=_command("refers-release", folder, "--allow-unread" if allow_unread else ""),
        report=report,
    )


@click.command(help=_COLUMNS)
@click.argument("file", type=FILE_OR_FOLDER)
@_NAME
@click.option("--selected-on", type=click.Choice(SELECTED_ON), help=_SELECTED)
@click.option("--probabilities", is_flag=True, help=_PROBABILITIES)
@_REPORT
@click.pass_context
def _table(
    ctx: click.Context, file: Path, name: str | None, selected_on: str | None, probabilities: bool, report: bool
) -> None:
    """Take in a table, of the format that the command is called by."""
    from refers_bench.data.imported.tables import read_table

    kind = str(ctx.info_name)
    runs, ignored = read_table(file, format=kind, selected_on=selected_on)
    options = (f"--selected-on {selected_on}" if selected_on else "", "--probabilities" if probabilities else "")
    if ignored:
        echo(f"columns not read: {', '.join(ignored)}")
    _publish(
        ctx.obj,
        runs,
        name=name or file.stem,
        title=f"Imported predictions: {file.name}",
        origin="imported",
        unread=tuple(f"column {column}" for column in ignored),
        probabilities=probabilities,
        command=_command(kind, file, *options),
        report=report,
    )


import_.add_command(_table, "csv")
import_.add_command(_table, "parquet")
import_.add_command(results_bundle.import_bundle)
command.add_command(results_bundle.bundle)
command.add_command(results_bundle.verify)
command.add_command(results_diff.diff)
command.add_command(results_fsck.fsck)
command.add_command(results_tensorboard.tensorboard)
command.add_command(results_registry.publish)
command.add_command(results_registry.registry)
for _tracker in (results_trackers.mlflow, results_trackers.wandb, results_trackers.trackio):
    command.add_command(_tracker)


def _command(what: str, path: Path, *options: str) -> str:
    """How the import is done again."""
    return " ".join(filter(None, ("refers-bench results import", what, shlex.quote(path.name), *options)))


def _publish(settings: Settings, runs: tuple[ImportedRun, ...], *, name: str, report: bool, **more: Any) -> None:
    """Store the runs, then print their means and the findings."""
    from refers_bench.analysis.integrity import findings
    from refers_bench.analysis.results import load
    from refers_bench.jobs.imports.predictions import publish
    from refers_bench.manifest.names import ALLOWED, usable
    from refers_bench.reporting.page import printed, write

    if not usable(name):
        raise UserError(f"the name '{name}'", allowed=f"{ALLOWED}; --name gives one")
    publish(runs, results=settings.results, name=name, progress=counted("runs stored"), **more)
    echo_lines(printed(settings.results, name))
    found = findings(load(settings.results, name))
    echo(f"{quantity(len(found), 'finding')} about the files; facts, not judgements:" if found else "no findings")
    for one in found:
        where = f"{one.target.dataset}, {one.target.label_ratio * 100:g} %{one.target.suffix}"
        classes = f" ({len(one.classes)} classes)" if len(one.classes) > 1 else "".join(f" ({c})" for c in one.classes)
        names = " and ".join(one.runs) if len(one.runs) < 3 else ", ".join(one.runs)
        echo(f"  {where}: {names}: {one.text}{classes}")
    if not report:
        echo(f"report: refers-bench report {name}")
        return
    for path in write(settings.results, [name], progress=counted):
        echo(f"report: {path}")
