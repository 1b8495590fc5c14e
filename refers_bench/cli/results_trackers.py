"""Writes finished runs for MLflow, Weights & Biases and Trackio, from what is stored."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from refers_bench.analysis import tracked_runs
from refers_bench.analysis.tracked_runs import TrackedRun
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER, PLAN
from refers_bench.cli.progress import counted
from refers_bench.errors import UserError
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.plan import lock
from refers_bench.render.quantity import quantity

ONLY = click.option("--only", multiple=True, metavar="PATTERN", help="Jobs whose name matches (repeatable).")


def _out(kind: str) -> Callable[..., Any]:
    return click.option("--out", type=FOLDER, help=f"Folder.  [default: RESULTS/<name>/{kind}]")


def stored(settings: Settings, name: str, only: tuple[str, ...], *, curves: bool = False) -> Iterator[TrackedRun]:
    """The finished runs of a plan, while a bar counts them.

    Args:
        settings: of the command line.
        name: of the plan.
        only: patterns of job names; () for all.
        curves: whether only those with curves.

    Raises:
        UserError: there are none.
    """
    plan, store = lock.read(settings.results / name / lock.LOCK), settings.store
    files = (tracked_runs.CURVES,) if curves else (tracked_runs.CURVES, tracked_runs.METRICS)
    chosen = tracked_runs.chosen(plan, store, only, files=files)
    if not chosen:
        has = "curves" if curves else "curves or metrics"
        raise UserError(f"no finished job of '{name}' has {has}" + (" and such a name" if only else ""))
    progress = counted("runs written")
    for number, run in enumerate(tracked_runs.runs(plan, store, chosen)):
        yield run
        progress(number + 1, len(chosen))


@click.command("mlflow")
@PLAN
@_out("mlflow")
@click.option("--uri", help="Tracking URI of a database or a server, in place of a folder.")
@ONLY
@click.pass_obj
def mlflow(settings: Settings, manifest: str, out: Path | None, uri: str | None, only: tuple[str, ...]) -> None:
    """Write the finished jobs of MANIFEST (a file, or the name of a plan) into an MLflow store.

    Parameters, tags, curves and the final AUCs of all classes, one run a job; those already there stay. Needs
    the extra 'mlflow'.
    """
    from refers_bench.render import mlflow_runs

    if out and uri:
        raise click.UsageError("--out and --uri name two stores; give one of them")
    mlflow_runs.check()
    name = name_of(manifest)
    where = uri or (out or settings.results / name / "mlflow").absolute().as_uri()
    store: mlflow_runs.Store | None = None
    written = known = 0
    for run in stored(settings, name, only):
        store = store or mlflow_runs.Store(where, name)
        if store.write(run):
            written += 1
        else:
            known += 1
    echo(f"{quantity(written, 'run')} written, {known} were there: {where}")


@click.command("wandb")
@PLAN
@_out("wandb")
@ONLY
@click.pass_obj
def wandb(settings: Settings, manifest: str, out: Path | None, only: tuple[str, ...]) -> None:
    """Write the finished jobs of MANIFEST (a file, or the name of a plan) as offline runs of Weights & Biases.

    Parameters, tags, curves and the final AUCs of all classes, one run a job; writing again replaces them. Nothing is
    sent anywhere. Needs the extra 'wandb'.
    """
    from refers_bench.render import wandb_runs

    wandb_runs.check()
    name = name_of(manifest)
    folder = out or settings.results / name / "wandb"
    count = _written(settings, name, only, partial(wandb_runs.write, folder))
    echo(f"{quantity(count, 'run')}; 'wandb sync' uploads them: {folder}")


@click.command("trackio")
@PLAN
@_out("trackio")
@ONLY
@click.pass_obj
def trackio(settings: Settings, manifest: str, out: Path | None, only: tuple[str, ...]) -> None:
    """Write the finished jobs of MANIFEST (a file, or the name of a plan) into a local Trackio project.

    Parameters, tags, curves and the final AUCs of all classes, one run a job; writing again replaces them. Needs the
    extra 'trackio'.
    """
    from refers_bench.render import trackio_runs

    trackio_runs.check()
    name = name_of(manifest)
    folder = out or settings.results / name / "trackio"
    count = _written(settings, name, only, partial(trackio_runs.write, folder))
    echo(f"{quantity(count, 'run')}: TRACKIO_DIR={folder} trackio show --project {name}")


def _written(settings: Settings, name: str, only: tuple[str, ...], write: Callable[..., Any]) -> int:
    """Write every finished job of a plan into a project of its name; how many there were."""
    count = 0
    for run in stored(settings, name, only):
        write(run, project=name)
        count += 1
    return count
