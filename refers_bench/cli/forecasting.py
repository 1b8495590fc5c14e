"""Makes forecasts for commands: measured where possible, probed where asked, modelled elsewhere."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.forecast_view import Made, sources_of
from refers_bench.cli.planning import job_roots
from refers_bench.cli.settings import Settings
from refers_bench.cli.slots import device_of, gpus_together, slots_here

if TYPE_CHECKING:
    from refers_bench.execution.engine import Settings as RunSettings
    from refers_bench.plan.forecast.devices import Device
    from refers_bench.plan.forecast.estimate import Forecast
    from refers_bench.plan.forecast.probes import Probes
    from refers_bench.plan.lock import Job, Plan

#: Seconds that a probe may take: more would mean that something hangs.
PROBE_LIMIT_S = 1800.0
#: Processor cores beside a GPU that is not at hand: our assumption.
CORES_ELSEWHERE = 16


def forecast_of(
    settings: Settings,
    plan: Plan,
    jobs: Sequence[Job],
    *,
    device: str,
    slots: int | None,
    threads: int | None,
    probe: bool,
    again: bool,
    other: str | None,
) -> Made:
    """Forecast what a plan still needs.

    Args:
        settings: results, cache and roots.
        plan: of a manifest.
        jobs: of it that are wanted, done or not.
        device: "auto", "cpu" or "cuda".
        slots: jobs at a time; None for those of this machine.
        threads: of a worker; None for the manifest's.
        probe: whether shapes that were never measured may be probed here.
        again: whether those that were probed are probed again.
        other: name of a GPU that is not at hand.
    """
    from refers_bench.plan.forecast import estimate, measurements
    from refers_bench.plan.forecast.probes import probes
    from refers_bench.plan.forecast.savings import by_patience, savings
    from refers_bench.plan.forecast.shapes import Shapes
    from refers_bench.plan.forecast.splits import Splits
    from refers_bench.plan.states import states
    from refers_bench.store.results import ResultStore

    store, threads = ResultStore(settings.results), threads or plan.execution["threads"]
    places = slots_here(plan, "cpu" if other else device, slots)
    where = _gpu_named(other, plan) if other else device_of(plan, places[0], threads=threads)
    state = states(plan, store, settings.cache)
    todo = [job for job in jobs if state[job.key] != "done"]
    shapes, splits = Shapes(plan.jobs), Splits(plan, store)
    if again:
        names = {shapes.of[job.key] for job in todo} - {""}
        measurements.forget(measurements.probe_path(settings.results, shapes.shapes[name], where) for name in names)
    done = {key for key, one in state.items() if one == "done"}
    costs = estimate.measured(plan, shapes, store, where, done=done)
    costs = estimate.found_elsewhere(costs, shapes, store, where)
    refused: Mapping[str, str] = {}
    failed: Mapping[str, str] = {}
    if probe and not other:
        wanted = probes(Shapes(todo), costs, splits, where, slots=len(places))
        refused, failed = wanted.refused, _probed(settings, plan, wanted, where, places=places, threads=threads)
        costs = {**estimate.measured(plan, shapes, store, where, done=done), **costs}
    costs = estimate.completed(costs, shapes, where)
    made = estimate.forecast(
        plan,
        todo,
        costs=costs,
        shapes=shapes,
        splits=splits,
        device=where,
        slots=slots or len(places),
        processes=_processes(plan, elsewhere=bool(other)),
    )
    hours = estimate.hours_of(plan, costs=costs, shapes=shapes, splits=splits, device=where)
    todo = [job for job in todo if shapes.of[job.key]]
    return Made(
        forecast=made,
        done=len(jobs) - made.to_run,
        refused=refused,
        failed=failed,
        savings=savings(todo, hours),
        patience_hours=by_patience(todo, hours),
    )


def _processes(plan: Plan, *, elsewhere: bool = False) -> int:
    """In which images are prepared."""
    from refers_bench.machine import cores

    offered = CORES_ELSEWHERE if elsewhere else cores()
    return min(offered, plan.execution.get("prepare_processes") or offered)


def _gpu_named(name: str, plan: Plan) -> Device:
    """A GPU that is not at hand; "80GB" in its name is its memory."""
    from refers_bench.plan.forecast.devices import Device

    size = re.search(r"(\d+)\s*GB", name)
    memory = int(size[1]) << 30 if size else 0
    gpus = gpus_together(plan) / plan.execution["jobs_per_gpu"]
    return Device(kind="cuda", name=name, memory_bytes=memory, gpus=gpus)


def _probed(
    settings: Settings, plan: Plan, wanted: Probes, device: Device, *, places: Sequence[Any], threads: int
) -> dict[str, str]:
    """Run probes in workers like those of a run; returns who failed, with reasons."""
    from refers_bench.execution import engine, probing
    from refers_bench.render.duration import duration

    if not wanted.jobs:
        return {}
    about = duration(wanted.seconds / len(places))
    click.echo(f"probing {len(wanted.jobs)} shapes of jobs on {device.label}: about {about} by the model", err=True)
    how = engine.Settings(
        results=settings.results,
        cache=settings.cache,
        roots=job_roots(settings, plan),
        slots=places,
        threads=threads,
        arithmetic=plan.execution.get("arithmetic", "native"),
        time_limit=PROBE_LIMIT_S,
        preload=(*engine.PRELOAD, *engine.HEAVY, "refers_bench.jobs.probe"),
    )
    names = {job.key: str(job.spec["job"]["name"]) for job in wanted.jobs}
    with _bar(len(wanted.jobs)) as progress:
        failed = probing.probe(wanted.jobs, how, progress)
    return {names[key]: why for key, why in failed.items()}


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; elsewhere a line whenever a probe has ended."""
    seen = [0]
    if not sys.stderr.isatty():

        def line(done: int, total: int) -> None:
            if done != seen[0]:
                seen[0] = done
                click.echo(f"{done}/{total} probes", err=True)

        yield line
        return
    with click.progressbar(length=total, label="probes", file=sys.stderr) as bar:

        def advance(done: int, total: int) -> None:
            bar.update(done - seen[0])
            seen[0] = done

        yield advance


def running_order(
    settings: Settings, plan: Plan, jobs: Sequence[Job], how: RunSettings, *, budget: str | None, fixed: bool = True
) -> dict[str, Any]:
    """In which order a run takes its jobs, and how long; changes to its settings.

    Without a budget the longest chain of jobs goes first, as soon as anything of the plan was measured; with one
    whole table rows go first. No job is probed here.

    Args:
        settings: results and cache.
        plan: of a manifest.
        jobs: that are still to run.
        how: slots, threads and folders of the run.
        budget: such as "40gpuh"; None for none.
        fixed: whether each job runs in one of `how`'s slots; on a cluster it takes what it asks for.

    Raises:
        UserError: a budget that cannot be read, or of another device.
    """
    from refers_bench.plan import order
    from refers_bench.plan.forecast import estimate
    from refers_bench.plan.forecast.shapes import Shapes
    from refers_bench.plan.forecast.splits import Splits
    from refers_bench.store.results import ResultStore

    device = device_of(plan, how.slots[0], threads=how.threads)
    limit, kind = None, "cuda" if device.kind == "cuda" else "cpu"
    if budget is not None:
        limit = order.budget_seconds(budget, device=kind, gpus=device.gpus, threads=device.threads)
    shapes, store = Shapes(plan.jobs), ResultStore(settings.results)
    done = {job.key for job in plan.jobs} - {job.key for job in jobs}
    costs = estimate.measured(plan, shapes, store, device, done=done)
    if limit is None and not costs:  # nothing to go by
        return {}
    made = estimate.forecast(
        plan,
        jobs,
        costs=estimate.completed(costs, shapes, device),
        shapes=shapes,
        splits=Splits(plan, store),
        device=device,
        slots=len(how.slots),
        processes=_processes(plan),
    )
    if limit is None:
        return {"order": order.longest_first(plan, made.seconds)}
    changes: dict[str, Any] = {"order": order.row_by_row(plan, made.seconds), "budget_s": limit}
    seconds: Mapping[str, float] = made.seconds
    if not fixed:
        slots = partial(order.slots_of, device=kind, gpus=device.gpus, shared_by=plan.execution["jobs_per_gpu"])
        seconds = {job.key: seconds[job.key] * slots(job) for job in jobs if job.key in seconds}
        changes["cost"] = slots
    _say_shares(plan, made, seconds, limit, budget=str(budget))
    return changes


def _say_shares(plan: Plan, made: Forecast, seconds: Mapping[str, float], limit: float, *, budget: str) -> None:
    """Which rows the budget pays for, by the forecast: seconds of slots of each job."""
    from refers_bench.plan.order import shares
    from refers_bench.render.duration import duration

    found = shares(plan, seconds, limit)
    click.echo(f"budget {budget}: {duration(limit)} of slots; by the forecast ({sources_of(made)})", err=True)
    wide = max((len(one.row.name) for one in found), default=0)
    for one in found:
        says = "nothing to run" if not one.cost_s else "fits" if one.fits else "does not fit"
        until = f"{duration(one.until_s):>12} with those before"
        click.echo(f"  {one.row.name:<{wide}}  {duration(one.cost_s):>12}, {until}: {says}", err=True)
