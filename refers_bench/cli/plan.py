"""Shows the jobs of a manifest by state, what is shared, what they will take, and why a cell is stale."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.counts import show_counts
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import DEVICE, MANIFEST, POSITIVE, changes_manifest
from refers_bench.execution.freezing import frozen_lines
from refers_bench.execution.planning import planned, selected
from refers_bench.execution.settings import Settings
from refers_bench.plan import freezing, left_out, lock, missing_roots, states
from refers_bench.plan.forecast.estimate import disk_bytes
from refers_bench.plan.forecast.splits import Splits
from refers_bench.render.quantity import quantity
from refers_bench.store import frozen_plan

if TYPE_CHECKING:
    from refers_bench.manifest.changes import Changes

#: Options of a forecast whose names differ from their variables.
OPTIONS = {"other": "--on", "no_probe": "--no-probe", "probe_again": "--probe-again", "as_json": "--json"}
FREEZE = "Write plan.frozen.json: rows, columns, seeds, keys and rules, with a digest, before anything has run."
EXPLAIN = "Why is this cell (a name or pattern) stale: which input changed since the last plan?"


@click.command("plan")
@MANIFEST
@click.option("--explain", metavar="CELL", help=EXPLAIN)
@click.option("--jobs", "list_jobs", is_flag=True, help="List every job with its state.")
@click.option("--no-write", is_flag=True, help="Do not write plan.lock.json.")
@click.option("--freeze", is_flag=True, help=FREEZE)
@click.option("--forecast", is_flag=True, help="Say what it will take: hours, wall time, memory, disk. Needs no data.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Forecast: jobs that run --only PATTERN would take.")
@click.option("--slots", type=POSITIVE, help="Forecast: jobs at a time.  [default: this machine's]")
@click.option("--threads", type=POSITIVE, help="Forecast: of a worker.  [default: the manifest's, else 1]")
@DEVICE
@click.option("--on", "other", metavar="GPU", help="Forecast: of a GPU that is not here, by the model: 'A100 80GB'.")
@click.option("--no-probe", is_flag=True, help="Forecast: where nothing was measured, use the model.")
@click.option("--probe-again", is_flag=True, help="Forecast: forget earlier probes.")
@click.option("--json", "as_json", is_flag=True, help="Forecast: for programs.")
@changes_manifest
@click.pass_obj
def command(
    settings: Settings,
    /,
    manifest: Path,
    changes: Changes,
    explain: str | None,
    list_jobs: bool,
    no_write: bool,
    freeze: bool,
    forecast: bool,
    **how: Any,
) -> None:
    """Show the jobs of MANIFEST by state: done, to do, failed, unavailable.

    Writes RESULTS/<name>/plan.lock.json, with every resolved value and its origin; --explain does not write it, and
    compares with the last finished job of that name, or else with the plan that is there.

    --freeze also writes RESULTS/<name>/plan.frozen.json, once, and not after results; from then on plan, run and the
    report say what deviates from it. To freeze another plan, remove that file by hand first.

    --forecast says what the jobs that are still to run will take, from what finished jobs recorded; else from a probe
    of 20 updates of each shape of job on the device at hand (kept in RESULTS/probes); else from a stated model.
    """
    if not forecast and (given := [name for name, value in how.items() if value not in (None, False, (), "auto")]):
        raise click.UsageError(f"{', '.join(OPTIONS.get(name, f'--{name}') for name in given)}: only with --forecast")
    if freeze and (no_write or explain or forecast):
        raise click.UsageError("--freeze: not with --explain, --forecast or --no-write")
    plan, store = planned(settings, manifest, changes), settings.store
    path = settings.results / plan.name / lock.LOCK
    if explain:
        before = lock.read(path) if path.is_file() else None
        for line in states.explain(plan, before, explain, store, settings.cache):
            echo(line)
        return
    if forecast:
        _forecast(settings, plan, **how)
        return
    frozen = freezing.ready(plan, store) if freeze else None
    found = states.states(plan, store, settings.cache)
    if list_jobs:
        for job in plan.jobs:
            echo(f"{found[job.key]:<12} {job.kind:<9} {job.key}  {job.name}")
    show_counts(plan, found, store)
    for reason, count in Counter(job.unavailable for job in plan.jobs if job.unavailable).items():
        echo(f"unavailable ({quantity(count, 'job')}): {reason}")
    for sentence in missing_roots.sentences(plan, settings.roots(), at_least=2):
        echo(sentence)
    for job in plan.jobs:
        if gone := left_out.count(job.spec):
            again = f"'refers-bench data prepare {job.spec['dataset']}' tries them again"
            echo(f"{job.name}: {quantity(gone, 'image')} left out as unreadable; {again}")
    for name, count in states.shared(plan, settings.results).items():
        echo(f"shared with {name}: {quantity(count, 'job')}")
    need = disk_bytes(plan, Splits(plan, store))
    echo("disk: " + ", ".join(f"{what} {size / 2**20:.1f} MiB" for what, size in need.items()))
    if not no_write:
        echo(f"plan: {lock.write(plan, settings.results)}")
    if frozen is not None:
        _freeze(settings, plan, frozen)
        return
    for line in frozen_lines(plan, store):
        echo(line)


def _freeze(settings: Settings, plan: lock.Plan, frozen: freezing.Freeze) -> None:
    """Write the frozen plan where it is a new one, and print its digest."""
    path = frozen_plan.path_of(settings.results, plan.name)
    if frozen.new:
        frozen_plan.write(frozen.plan, path)
    echo(f"frozen: {path}" if frozen.new else f"frozen on {frozen.plan.frozen}, unchanged: {path}")
    echo(f"SHA-256: {frozen.plan.digest}")
    if not frozen.new:
        return
    echo("post or commit the digest where others see when: a clock and a file can be set back")
    keys = {cell.key for cell in plan.cells}
    if gone := sum(job.key in keys for job in plan.jobs if job.unavailable):
        echo(f"{quantity(gone, 'cell')} unavailable here: where their data are, their keys may be others", err=True)


def _forecast(settings: Settings, plan: lock.Plan, *, as_json: bool, only: tuple[str, ...], **how: Any) -> None:
    from refers_bench.cli import forecast_view
    from refers_bench.cli.forecasting import ForecastOptions, forecast_of

    made = forecast_of(settings, plan, selected(plan, only), ForecastOptions(**how))
    if as_json:
        echo_lines(json.dumps(forecast_view.as_json(plan, made), indent=1))
        return
    for line in forecast_view.lines(plan, made, settings.results):
        echo(line)
