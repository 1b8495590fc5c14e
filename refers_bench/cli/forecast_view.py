"""Shows a forecast, for people and for programs."""

import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.execution.slots import sharing
from refers_bench.plan.forecast.estimate import (
    HELD,
    SOURCES,
    START_S,
    Forecast,
    Group,
    JobForecast,
    grouped,
    sources_of,
)
from refers_bench.plan.forecast.savings import Saving
from refers_bench.plan.lock import Plan
from refers_bench.plan.order import rows
from refers_bench.render.duration import duration
from refers_bench.render.quantity import quantity

#: Jobs of the critical path that are named.
NAMED = 4
#: Kinds of jobs whose networks `execution.compile` translates.
TRAINED = ("discover", "pretrain", "finetune")
#: Ratio of the jobs' total time to their time on an otherwise idle machine above which the latter is shown, too.
BUSY = 1.1


@dataclass(frozen=True, kw_only=True)
class Made:
    """A forecast and what was found on the way.

    Attributes:
        forecast: of the jobs that are still to run.
        done: jobs of the plan that are done.
        refused: job of a shape -> why it was not probed.
        failed: job of a shape -> how its probe ended.
        savings: what can be left out.
        patience_hours: device hours that are saved if each training stops as early as its patience allows.
    """

    forecast: Forecast
    done: int
    refused: Mapping[str, str]
    failed: Mapping[str, str]
    savings: Sequence[Saving] = ()
    patience_hours: float = 0.0


def lines(plan: Plan, made: Made, results: Path) -> Iterator[str]:
    """The forecast for people, line by line."""
    forecast = made.forecast
    device, planned = forecast.device, forecast.schedule
    yield (
        f"{plan.name}: {quantity(forecast.to_run, 'job')} to run, {made.done} done; "
        f"{device.label}, {planned.slots} at a time"
    )
    yield f"  total          {forecast.hours:.2f} {device.unit}-hours"
    yield f"  wall time      {duration(forecast.wall_s)} (no schedule takes less than {duration(planned.bound_s)})"
    if disturbed(forecast):
        quiet = forecast.undisturbed
        yield f"  undisturbed    {duration(quiet.wall_s + START_S)}, if nobody else works on this machine"
    if planned.apart_s:
        beside = "beside the GPUs" if device.kind == "cuda" else "beside the slots"
        yield f"  preparation    {duration(planned.apart_s)} {beside}, in up to {forecast.processes} processes"
    yield f"  critical path  {duration(planned.critical_s)}: {_path(forecast)}"
    yield f"  memory         {_memory(plan, forecast)}"
    yield f"  disk           {_disk(forecast, results)}"
    yield f"  figures        {sources_of(forecast)}"
    for note in notes(plan, made):
        yield f"  note           {note}"
    for one in made.savings:
        place = f"overrides of row {one.row}" if one.row else "protocol overrides"
        pasted = ", ".join(f"{name}: {value}" for name, value in one.overrides.items())
        yield f"  could save     {one.hours:.2f} {device.unit}-hours with {place}: {{{pasted}}} ({one.why})"
    yield ""
    yield from _table("kind", by_kind(forecast), forecast)
    yield ""
    yield from _table("row", by_row(plan, forecast), forecast)


def disturbed(forecast: Forecast) -> bool:
    """Whether probes found other load on this machine."""
    return forecast.schedule.total_s > BUSY * forecast.undisturbed.total_s


def by_kind(forecast: Forecast) -> list[Group]:
    """Jobs added up by kind."""
    return grouped(forecast.jobs.values(), lambda one: one.job.kind)


def by_row(plan: Plan, forecast: Forecast) -> list[Group]:
    """Jobs added up by table row: preparations as a row of their own, any other job in the first that needs it."""
    row_of = {key: row.name for row in rows(plan) for key in row.keys}

    def name_of(one: JobForecast) -> str:
        return "(data)" if one.job.kind == "prepare" else row_of.get(one.job.key, "(none)")

    return grouped(forecast.jobs.values(), name_of)


def notes(plan: Plan, made: Made) -> Iterator[str]:
    """What a reader must know about the figures."""
    forecast = made.forecast
    if any(one.source == "model" for one in forecast.jobs.values()):
        yield f"the model assumes {forecast.device.stated()}; decoding, augmentation and pretext transforms are counted"
    modelled = [one for one in forecast.jobs.values() if one.source == "model" and one.job.kind in TRAINED]
    if plan.execution.get("compile") and modelled:
        yield f"compilation (execution.compile) is not counted in {quantity(len(modelled), 'job')}, nor what it saves"
    if any(cost.note.startswith("random") for cost in forecast.costs.values()):
        yield "some probes ran on random pixels and texts of the right shape: nothing was prepared"
    if disturbed(forecast):
        busy = statistics.median(cost.busy for cost in forecast.costs.values() if cost.source == "probed")
        yield f"others were at work on this machine: probes took {busy:.1f} times their processor time"
    if forecast.assumed:
        yield f"splits of {quantity(len(forecast.assumed), 'dataset')} assumed as 7 : 1 : 2: nothing is prepared"
    early = sum(one.job.spec.get(one.job.kind, {}).get("patience", 0) > 0 for one in forecast.jobs.values())
    if early:
        least = f"by {made.patience_hours:.2f} {forecast.device.unit}-hours"
        yield f"{early} trainings may stop early and take less, {least} if each stops as soon as its patience allows"
    unavailable = [one for one in forecast.jobs.values() if one.job.unavailable]
    if unavailable:
        hours = sum(one.seconds for one in unavailable) * forecast.device.units / 3600
        yield f"{len(unavailable)} of the jobs ({hours:.2f} hours) are unavailable on this machine"
    for job in forecast.uncounted:
        yield f"{job.name} is not counted, nor what depends on its images: nothing says how many there are"
    if forecast.unknown:
        yield f"{len(forecast.unknown)} jobs of kinds that nothing is forecast of are not counted"
    for name, why in made.refused.items():
        yield f"not probed: {name}: {why}"
    for name, why in made.failed.items():
        yield f"probe failed: {name}: {why.splitlines()[0][:200]}"


def as_json(plan: Plan, made: Made) -> dict[str, Any]:
    """The forecast for programs; seconds, bytes and keys."""
    forecast = made.forecast
    device, planned = forecast.device, forecast.schedule
    return {
        "name": plan.name,
        "device": {"kind": device.kind, "label": device.label, "memory_bytes": device.memory_bytes},
        "slots": planned.slots,
        "jobs_to_run": forecast.to_run,
        "jobs_done": made.done,
        "unit": f"{device.unit}-hours",
        "hours": forecast.hours,
        "wall_s": forecast.wall_s,
        "bound_s": planned.bound_s,
        "total_s": planned.total_s,
        "undisturbed": {
            "wall_s": forecast.undisturbed.wall_s + (START_S if forecast.jobs else 0.0),
            "total_s": forecast.undisturbed.total_s,
        },
        "critical_path": {
            "seconds": planned.critical_s,
            "jobs": [forecast.jobs[key].job.name for key in planned.critical],
        },
        "peak_memory_bytes": max((one.peak_bytes for one in forecast.jobs.values()), default=0),
        "disk_bytes": sum(one.disk_bytes for one in forecast.jobs.values()),
        "kinds": [vars(one) for one in by_kind(forecast)],
        "rows": [vars(one) for one in by_row(plan, forecast)],
        "savings": [vars(one) for one in made.savings],
        "notes": list(notes(plan, made)),
        "not_probed": dict(made.refused),
        "probes_failed": dict(made.failed),
        "jobs": [
            {
                "key": key,
                "kind": one.job.kind,
                "name": one.job.name,
                "seconds": round(one.seconds, 3),
                "peak_memory_bytes": one.peak_bytes,
                "disk_bytes": one.disk_bytes,
                "source": one.source,
                "start_s": round(planned.starts[key], 3),
            }
            for key, one in forecast.jobs.items()
        ],
    }


def _path(forecast: Forecast) -> str:
    names = [forecast.jobs[key].job.name for key in forecast.schedule.critical]
    shown = ", then ".join(names[:NAMED])
    return shown + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "") if names else "no job"


def _memory(plan: Plan, forecast: Forecast) -> str:
    if not forecast.jobs:
        return "no job"
    device = forecast.device
    largest = max(forecast.jobs.values(), key=lambda one: one.peak_bytes)
    together = sharing(plan, device) if device.kind == "cuda" else forecast.schedule.slots
    need = largest.peak_bytes * together
    text = f"{size(largest.peak_bytes)} at most in one job ({largest.job.name}, {largest.source})"
    if together > 1:
        text += f", {size(need)} for {together} at a time"
    if not device.memory_bytes:
        return f"{text}; this device's memory is not known"
    return f"{text}, of {size(device.memory_bytes)}" + (": DOES NOT FIT" if need > device.memory_bytes else "")


def _disk(forecast: Forecast, results: Path) -> str:
    parts = [f"{HELD.get(one.name, one.name)} {size(one.disk_bytes)}" for one in by_kind(forecast) if one.disk_bytes]
    place = next(folder for folder in (results, *results.parents) if folder.exists())
    return f"{', '.join(parts) or 'next to nothing'}; {size(shutil.disk_usage(place).free)} free"


def size(count: float) -> str:
    """12.3 MiB, 4.5 GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _table(title: str, groups: list[Group], forecast: Forecast) -> Iterator[str]:
    wide = max([len(title), *(len(one.name) for one in groups)])
    hours = f"{forecast.device.unit}-hours"
    yield f"{title:<{wide}} {'jobs':>6} {hours:>10} {'longest':>13} {'memory':>10}  figures"
    for one in groups:
        beside = forecast.device.kind == "cuda" and one.name in ("prepare", "(data)")
        spent = 0.0 if beside else one.seconds * forecast.device.units / 3600
        sources = ", ".join(f"{one.sources[source]} {source}" for source in SOURCES if source in one.sources)
        sizes = f"{one.jobs:>6} {spent:>10.2f} {duration(one.longest_s):>13} {size(one.peak_bytes):>10}"
        yield f"{one.name:<{wide}} {sizes}  {sources}"
