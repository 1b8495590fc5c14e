"""Forecasts what the jobs of a plan that are still to run take: time, memory, disk, with the source of each figure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refers_bench.plan.forecast.cost_model import Cost, checkpoint_bytes, feature_bytes, modelled, saving_share
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.measurements import probed, recorded, records_of, scanned
from refers_bench.plan.forecast.schedule import Schedule, schedule
from refers_bench.plan.forecast.shapes import Shapes, unstepped
from refers_bench.plan.forecast.splits import Splits, preparations
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.results import ResultStore

#: Records of other manifests that are read at most to find finished jobs of a shape.
SCANNED = 5_000
#: Seconds until a worker has loaded torch, and to hand a job to it: our assumptions.
START_S, HAND_OVER_S = 5.0, 0.05
#: Images that repay another process of a preparation: chunks of it times their images.
IMAGES_A_PROCESS = 256
#: Bytes of a prediction once compressed.
PREDICTION_BYTES = 12
#: Where figures come from, best first.
SOURCES = ("recorded", "probed", "model")
#: Kind of job -> what its result takes room on the disk for.
HELD = {
    "prepare": "prepared images",
    "pretrain": "checkpoints",
    "finetune": "predictions",
    "discover": "visual words",
    "features": "features",
    "frozen": "predictions of frozen encoders",
}


@dataclass(frozen=True, kw_only=True)
class JobForecast:
    """What one job will take.

    Attributes:
        job: which.
        seconds: from its start to its published result; at most, where it may stop early.
        peak_bytes: largest memory, of the GPU or of the worker.
        disk_bytes: of its result (of pixels, for a preparation).
        source: "recorded", "probed" or "model".
    """

    job: Job
    seconds: float
    peak_bytes: int
    disk_bytes: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a plan will take.

    Attributes:
        jobs: key -> of each job that is still to run.
        device: on which.
        schedule: of all of them.
        undisturbed: the same where probes measured what others were doing on this machine, with processor time in place
            of theirs.
        unknown: jobs of kinds that nothing is forecast of.
        uncounted: preparations of an unknown number of images: they have no forecast.
        assumed: preparations of as many images as documented, whose splits were assumed.
        costs: shape -> its cost.
        processes: in which images are prepared.
    """

    jobs: Mapping[str, JobForecast]
    device: Device
    schedule: Schedule
    undisturbed: Schedule
    unknown: tuple[Job, ...] = ()
    uncounted: tuple[Job, ...] = ()
    assumed: tuple[str, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    processes: int = 1

    @property
    def wall_s(self) -> float:
        """When the last job ends, workers' start included."""
        return self.schedule.wall_s + (START_S if self.jobs else 0.0)

    @property
    def to_run(self) -> int:
        """Jobs that are still to run, with a forecast or without one."""
        return len(self.jobs) + len(self.unknown) + len(self.uncounted)

    @property
    def seconds(self) -> dict[str, float]:
        """Job -> seconds."""
        return {key: one.seconds for key, one in self.jobs.items()}

    @property
    def hours(self) -> float:
        """Device hours: GPUs or processor threads that workers occupy; images are prepared beside GPUs."""
        beside = self.schedule.apart_s if self.device.kind == "cuda" else 0.0
        return (self.schedule.total_s - beside) * self.device.units / 3600


def measured(plan: Plan, shapes: Shapes, store: ResultStore, device: Device, *, done: set[str]) -> dict[str, Cost]:
    """Shape -> recorded cost, else probed; what neither is known of is left out. No store is searched.

    Args:
        plan: of a manifest.
        shapes: of its jobs.
        store: holds the records of those that are done.
        device: on which they must have run.
        done: keys of jobs that are done.
    """
    costs = {}
    for name, jobs in shapes.groups().items():
        records = records_of((job.key for job in jobs if job.key in done), store, device)
        cost = recorded(records) or probed(store.results, shapes.shapes[name], device)
        if cost is not None:
            costs[name] = cost
    return costs


def found_elsewhere(costs: Mapping[str, Cost], shapes: Shapes, store: ResultStore, device: Device) -> dict[str, Cost]:
    """Costs completed and, where they come from a probe, replaced by what other manifests' jobs recorded."""
    wanted = {name for name in shapes.shapes if name not in costs or costs[name].source != "recorded"}
    found = {name: recorded(each) for name, each in scanned(store, device, wanted, most=SCANNED).items()}
    return {**costs, **{name: cost for name, cost in found.items() if cost is not None}}


def completed(costs: Mapping[str, Cost], shapes: Shapes, device: Device) -> dict[str, Cost]:
    """Costs with the model's where nothing was measured."""
    missing = {name: jobs[0] for name, jobs in shapes.groups().items() if name not in costs}
    return {**costs, **{name: modelled(job.spec, device) for name, job in missing.items()}}


def forecast(
    plan: Plan,
    jobs: Sequence[Job],
    *,
    costs: Mapping[str, Cost],
    shapes: Shapes,
    splits: Splits,
    device: Device,
    slots: int,
    ranks: Mapping[str, float] | None = None,
    processes: int = 1,
) -> Forecast:
    """What these jobs will take.

    Args:
        plan: of a manifest.
        jobs: of it, still to run; those they need that are not among them are done.
        costs: of all their shapes (see `completed`).
        shapes: of the plan's jobs.
        splits: of its data.
        device: on which.
        slots: workers.
        ranks: job -> rank under which it starts; None for the longest chain first.
        processes: in which images are prepared.
    """
    found: dict[str, JobForecast] = {}
    unknown, uncounted = [], []
    assumed: set[str] = set()
    each = _Each(plan, splits, processes)
    for job in jobs:
        shape = shapes.of[job.key]
        if not shape:
            unknown.append(job)
            continue
        if job.kind == "prepare" and not plan.images.get(job.key):
            uncounted.append(job)
            continue
        found[job.key] = each.of(job, costs[shape])
        if job.kind in ("pretrain", "finetune") and not splits.of(job.spec).counted:
            assumed.update(preparations(job.spec))
    seconds = {key: one.seconds + HAND_OVER_S for key, one in found.items()}
    needs = {job.key: job.needs for job in jobs}
    crowding = device.crowding(slots)
    quiet = {key: each_s / max(1.0, costs[shapes.of[key]].busy / crowding) for key, each_s in seconds.items()}
    apart = [key for key, one in found.items() if one.job.kind == "prepare"]
    planned = undisturbed = schedule(seconds, needs, slots=slots, ranks=ranks, apart=apart)
    if quiet != seconds:
        undisturbed = schedule(quiet, needs, slots=slots, ranks=ranks, apart=apart)
    return Forecast(
        jobs=found,
        device=device,
        schedule=planned,
        undisturbed=undisturbed,
        unknown=tuple(unknown),
        uncounted=tuple(uncounted),
        assumed=tuple(sorted(key for key in assumed if plan.images.get(key))),
        costs=costs,
        processes=processes,
    )


def hours_of(
    plan: Plan, *, costs: Mapping[str, Cost], shapes: Shapes, splits: Splits, device: Device
) -> Callable[[Job], float]:
    """Job -> device hours that a forecast counts for it, whatever its numbers of steps and validations."""
    each = _Each(plan, splits, 1)
    return lambda job: each.of(job, costs[shapes.of[job.key]]).seconds * device.units / 3600


def disk_bytes(plan: Plan, splits: Splits) -> dict[str, int]:
    """What the results of all jobs of a plan will take, by what they hold; jobs are not probed for it."""
    each, need = _Each(plan, splits, 1), Counter[str]()
    for job in plan.jobs:
        need[job.kind] += each.disk(job)
    return {what: need[kind] for kind, what in HELD.items() if need[kind]}


class _Each:
    """Forecasts of single jobs; what depends on a shape alone is computed once."""

    def __init__(self, plan: Plan, splits: Splits, processes: int) -> None:
        self.plan, self.splits, self.processes = plan, splits, processes
        self.saving: dict[int, float] = {}

    def of(self, job: Job, cost: Cost) -> JobForecast:
        steps, validated, predicted = self.amounts(job)
        each_s = cost.evaluation_s if cost.validation_s is None else cost.validation_s
        step_s = cost.step_s + cost.transform_s
        if job.kind == "prepare" and cost.source != "recorded":
            step_s /= min(self.processes, max(1, int(steps) // IMAGES_A_PROCESS))
        seconds = cost.fixed_s + cost.done * (steps * step_s + validated * each_s + predicted * cost.evaluation_s)
        if cost.source != "recorded":
            if id(cost) not in self.saving:
                self.saving[id(cost)] = saving_share(job.spec)
            seconds /= 1 - self.saving[id(cost)]
        return JobForecast(
            job=job, seconds=seconds, peak_bytes=cost.peak_bytes, disk_bytes=self.disk(job, cost), source=cost.source
        )

    def amounts(self, job: Job) -> tuple[float, float, float]:
        """Updates (images, for a preparation), and radiographs or studies that are validated and predicted."""
        spec = job.spec
        if unstepped(spec):
            return 0, 0, 0
        if job.kind in ("prepare", "features"):
            return self.plan.images.get(spec.get("prepare", job.key), 0), 0, 0
        counts = self.splits.of(spec)
        if job.kind == "discover":
            return spec["discovery"]["feature_steps"], 0, counts.train + counts.val
        section = spec[job.kind]
        every = section["validate_every"]
        validations = -(-section["steps"] // every) if every else 1
        predicted = counts.val + counts.test if job.kind == "finetune" else 0
        return section["steps"], validations * counts.val, predicted

    def disk(self, job: Job, cost: Cost | None = None) -> int:
        """Bytes of its result; the model's where no cost is given."""
        if job.kind == "prepare":
            return int(self.plan.images.get(job.key, 0) * job.spec["prepared_size"] ** 2)
        if job.kind in ("finetune", "frozen"):
            counts = self.splits.of(job.spec)
            return (counts.val + counts.test) * max(1, len(job.spec["classes"])) * PREDICTION_BYTES
        if job.kind == "features" and "network" in job.spec:
            return int(self.plan.images.get(job.spec["prepare"], 0) * feature_bytes(job.spec))
        return checkpoint_bytes(job.spec) if cost is None else cost.checkpoint_bytes


@dataclass(frozen=True, kw_only=True)
class Group:
    """Jobs of one kind or row, added up.

    Attributes:
        name: of the kind or row.
        jobs: how many.
        seconds: their sum.
        longest_s: the longest of them.
        peak_bytes: the largest memory.
        sources: "recorded", "probed", "model" -> jobs.
    """

    name: str
    jobs: int
    seconds: float
    longest_s: float
    peak_bytes: int
    disk_bytes: int
    sources: Mapping[str, int]


def grouped(jobs: Iterable[JobForecast], name_of: Callable[[JobForecast], Any]) -> list[Group]:
    """Jobs added up by name, in the order in which the names come."""
    groups: dict[str, list[JobForecast]] = {}
    for one in jobs:
        groups.setdefault(str(name_of(one)), []).append(one)
    return [
        Group(
            name=name,
            jobs=len(group),
            seconds=sum(one.seconds for one in group),
            longest_s=max(one.seconds for one in group),
            peak_bytes=max(one.peak_bytes for one in group),
            disk_bytes=sum(one.disk_bytes for one in group),
            sources=Counter(one.source for one in group),
        )
        for name, group in groups.items()
    ]


def sources_of(forecast: Forecast) -> str:
    """How many jobs have figures from which source."""
    counts = {one.name: one.jobs for one in grouped(forecast.jobs.values(), lambda one: one.source)}
    return ", ".join(f"{counts.get(source, 0)} jobs {source}" for source in SOURCES)
