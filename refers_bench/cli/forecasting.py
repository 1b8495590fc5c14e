"""Makes forecasts for commands: measured where possible, probed where asked, modelled elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refers_bench.cli.echo import echo
from refers_bench.cli.forecast_view import Made
from refers_bench.cli.progress import counted
from refers_bench.execution import engine
from refers_bench.execution.ordering import preparing_processes
from refers_bench.execution.planning import run_options
from refers_bench.execution.settings import Settings
from refers_bench.execution.slots import device_of, gpus_together, jobs_per_gpu, slots_here
from refers_bench.plan.forecast import estimate, measurements
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.probes import Probes, probes
from refers_bench.plan.forecast.savings import by_patience, savings
from refers_bench.plan.forecast.shapes import Shapes
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import states
from refers_bench.render.duration import duration

#: Seconds that a probe may take: more would mean that something hangs.
PROBE_LIMIT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class ForecastOptions:
    """How a forecast is to be made.

    Attributes:
        device: "auto", "cpu" or "cuda".
        slots: jobs at a time; None for those of this machine.
        threads: of a worker; None for the manifest's.
        other: name of a GPU that is not at hand.
        no_probe: whether shapes that were never measured are left to the model.
        probe_again: whether earlier probes are repeated.
    """

    device: str
    slots: int | None
    threads: int | None
    other: str | None
    no_probe: bool
    probe_again: bool


def forecast_of(settings: Settings, plan: Plan, jobs: Sequence[Job], how: ForecastOptions) -> Made:
    """Forecast what a plan still needs.

    Args:
        settings: results, cache and roots.
        plan: of a manifest.
        jobs: of it that are wanted, done or not.
        how: options of the forecast.
    """
    store, threads = settings.store, how.threads or plan.execution["threads"]
    places = slots_here(plan, "cpu" if how.other else how.device, how.slots)
    where = _gpu_named(how.other, plan) if how.other else device_of(plan, places[0], threads=threads)
    state = states(plan, store, settings.cache)
    todo = [job for job in jobs if state[job.key] != "done"]
    shapes, splits = Shapes(plan.jobs), Splits(plan, store)
    if how.probe_again:
        names = {shapes.of[job.key] for job in todo} - {""}
        measurements.forget(measurements.probe_path(settings.results, shapes.shapes[name], where) for name in names)
    done = {key for key, one in state.items() if one == "done"}
    costs = estimate.measured(plan, shapes, store, where, done=done)
    costs = estimate.found_elsewhere(costs, shapes, store, where)
    refused: Mapping[str, str] = {}
    failed: Mapping[str, str] = {}
    if not (how.no_probe or how.other):
        wanted = probes(Shapes(todo), costs, splits, where, slots=len(places))
        refused, failed = wanted.refused, _probed(settings, plan, wanted, where, places=places, threads=threads)
        costs = {**estimate.measured(plan, shapes, store, where, done=done), **costs}
    costs = estimate.completed(costs, shapes, where)
    known: dict[str, Any] = {"costs": costs, "shapes": shapes, "splits": splits, "device": where}
    processes = preparing_processes(plan, elsewhere=bool(how.other))
    made = estimate.forecast(plan, todo, **known, slots=how.slots or len(places), processes=processes)
    hours = estimate.hours_of(plan, **known)
    todo = [job for job in todo if shapes.of[job.key]]
    return Made(
        forecast=made,
        done=len(jobs) - made.to_run,
        refused=refused,
        failed=failed,
        savings=savings(todo, hours),
        patience_hours=by_patience(todo, hours),
    )


def _gpu_named(name: str, plan: Plan) -> Device:
    """A GPU that is not at hand; "80GB" in its name is its memory."""
    size = re.search(r"(\d+)\s*GB", name)
    memory = int(size[1]) << 30 if size else 0
    gpus = gpus_together(plan) / jobs_per_gpu(plan, memory)
    return Device(kind="cuda", name=name, memory_bytes=memory, gpus=gpus)


def _probed(
    settings: Settings, plan: Plan, wanted: Probes, device: Device, *, places: Sequence[Any], threads: int
) -> dict[str, str]:
    """Run probes in workers like those of a run; job -> why its probe failed."""
    from refers_bench.execution import probing

    if not wanted.jobs:
        return {}
    about = duration(wanted.seconds / len(places))
    echo(f"probing {len(wanted.jobs)} shapes of jobs on {device.label}: about {about} by the model", err=True)
    texts = engine.TEXT if any(job.spec["job"]["kind"] == "pretrain" for job in wanted.jobs) else ()
    preload = (*engine.PRELOAD, *engine.HEAVY, *texts, "refers_bench.jobs.probe")
    how = run_options(settings, plan, (), places, threads=threads, time_limit=PROBE_LIMIT_S, preload=preload)
    failed = probing.probe(wanted.jobs, how, counted("probes", conclude=True))
    return {str(job.spec["job"]["name"]): failed[job.key] for job in wanted.jobs if job.key in failed}
