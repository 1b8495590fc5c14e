"""Decides in which order a run takes its jobs, and when it stops, by what they are forecast to cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from refers_bench import machine
from refers_bench.execution import engine
from refers_bench.execution.settings import Settings
from refers_bench.execution.slots import device_of, sharing
from refers_bench.plan import order
from refers_bench.plan.forecast import estimate
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.shapes import Shapes
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Job, Plan
from refers_bench.render.duration import duration
from refers_bench.render.quantity import quantity
from refers_bench.store.results import ResultStore

#: Processor cores beside a GPU that is not at hand: our assumption.
CORES_ELSEWHERE = 16


def preparing_processes(plan: Plan, *, elsewhere: bool = False) -> int:
    """Number of processes that prepare images."""
    offered = CORES_ELSEWHERE if elsewhere else machine.cores()
    return min(offered, plan.execution.get("prepare_processes") or offered)


def forecast_seconds(settings: Settings, plan: Plan, jobs: Sequence[Job], how: engine.Settings) -> Mapping[str, float]:
    """Seconds that each of these jobs takes, from what was measured or else by the model; no job is probed.

    Args:
        settings: results and cache.
        plan: of a manifest.
        jobs: that are still to run.
        how: slots, threads and folders of the run.
    """
    return forecast_of(settings, plan, jobs, how).seconds


def forecast_of(settings: Settings, plan: Plan, jobs: Sequence[Job], how: engine.Settings) -> estimate.Forecast:
    """What these jobs will take; see `forecast_seconds`."""
    return _made(settings, plan, jobs, how, device_of(plan, how.slots[0], threads=how.threads))[1]


def against_truth(forecast: estimate.Forecast, done: Iterable[str], store: ResultStore) -> str:
    """How long the jobs of a run really took, beside what they were forecast to; '' where none was forecast.

    Args:
        forecast: from before the run.
        done: keys of the jobs that it has done.
        store: holds their records.
    """
    ran = [forecast.jobs[key] for key in done if key in forecast.jobs]
    took = sum(float((store.record(one.job.key) or {}).get("wall_s", 0.0)) for one in ran)
    if not took:
        return ""
    expected = sum(one.seconds for one in ran)
    sources = ", ".join(f"{one.jobs} {one.name}" for one in estimate.grouped(ran, lambda one: one.source))
    return (
        f"{quantity(len(ran), 'job')} took {duration(took)} of slots; forecast {duration(expected)} "
        f"({expected / took:.2f} times as much; {sources})"
    )


def _made(
    settings: Settings, plan: Plan, jobs: Sequence[Job], how: engine.Settings, device: Device
) -> tuple[bool, estimate.Forecast]:
    """Whether anything of a plan was measured, and the forecast of some of its jobs; see `forecast_seconds`."""
    shapes, store = Shapes(plan.jobs), settings.store
    done = {job.key for job in plan.jobs} - {job.key for job in jobs}
    measured = estimate.measured(plan, shapes, store, device, done=done)
    costs, splits = estimate.completed(measured, shapes, device), Splits(plan, store)
    known: dict[str, Any] = {"costs": costs, "shapes": shapes, "splits": splits, "device": device}
    made = estimate.forecast(plan, jobs, **known, slots=len(how.slots), processes=preparing_processes(plan))
    return bool(measured), made


def running_order(
    settings: Settings,
    plan: Plan,
    jobs: Sequence[Job],
    how: engine.Settings,
    *,
    budget: str | None,
    say: Callable[[str], None],
    fixed: bool = True,
) -> dict[str, Any]:
    """Changes to the settings of a run: in which order it takes its jobs, and when it stops.

    Without a spending limit the longest chain of jobs goes first, as soon as anything of the plan was measured; with
    one, whole table rows go first. No job is probed here.

    Args:
        settings: results and cache.
        plan: of a manifest.
        jobs: that are still to run.
        how: slots, threads and folders of the run.
        budget: spending limit, such as "40gpuh"; None for none.
        say: called with each line about what fits the spending limit.
        fixed: whether each job runs in one of `how`'s slots; on a cluster it takes what it asks for.

    Raises:
        UserError: a spending limit that cannot be read, or of another device.
    """
    device = device_of(plan, how.slots[0], threads=how.threads)
    limit, kind = None, "cuda" if device.kind == "cuda" else "cpu"
    if budget is not None:
        limit = order.limit_seconds(budget, device=kind, gpus=device.gpus, threads=device.threads)
    measured, made = _made(settings, plan, jobs, how, device)
    if limit is None and not measured:  # keep the order of the plan
        return {}
    if limit is None:
        return {"order": order.longest_first(plan, made.seconds)}
    changes: dict[str, Any] = {"order": order.row_by_row(plan, made.seconds), "budget_s": limit}
    seconds: Mapping[str, float] = made.seconds
    if not fixed:
        slots = partial(order.slots_of, device=kind, gpus=device.gpus, shared_by=sharing(plan, device))
        seconds = {job.key: seconds[job.key] * slots(job) for job in jobs if job.key in seconds}
        changes["cost"] = slots
    found = order.shares(plan, seconds, limit)
    say(f"budget {budget}: {duration(limit)} of slots; by the forecast ({estimate.sources_of(made)})")
    wide = max((len(one.row.name) for one in found), default=0)
    for one in found:
        verdict = "nothing to run" if not one.cost_s else "fits" if one.fits else "does not fit"
        until = f"{duration(one.until_s):>12} with those before"
        say(f"  {one.row.name:<{wide}}  {duration(one.cost_s):>12}, {until}: {verdict}")
    return changes
