"""Decides which shapes of jobs are probed before a forecast, with how many steps, and which cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refers_bench.plan.forecast.cost_model import Cost, modelled
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.shapes import UNSTEPPED, Shapes, measured_key
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Job

#: Updates that are measured, and those before them that are not: a device does things once.
STEPS, WARM_UP = 20, 4
#: Where the model says that a probe would take longer than this, fewer updates are measured: `FEWEST` at least.
LONGEST_S, FEWEST = 120.0, 3
#: Radiographs of each split that a probe looks at.
SAMPLE: Mapping[str, int] = {"train": 1024, "val": 128, "test": 64}
#: Kinds that are not probed: they are short, or take as long as their forward passes.
UNPROBED = (*UNSTEPPED, "features")
#: Images that a probe of a preparation decodes.
DECODED = 48
#: Share of the memory that the model may say a probe needs: beyond it, other people's processes are at risk.
MEMORY_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Probes to make.

    Attributes:
        jobs: of kind "probe", the longest first.
        seconds: what they take one after the other, by the model.
        refused: name of a job of a shape -> why it is not probed.
    """

    jobs: tuple[Job, ...]
    seconds: float
    refused: Mapping[str, str]


def probes(shapes: Shapes, costs: Mapping[str, Cost], splits: Splits, device: Device, *, slots: int) -> Probes:
    """A probe of each shape that has no measured cost.

    Args:
        shapes: of jobs that are to be forecast.
        costs: measured.
        splits: of their data: a probe looks at no more than there is.
        device: of this machine.
        slots: probes at a time.
    """
    wanted: list[tuple[float, Job]] = []
    refused: dict[str, str] = {}
    limit = MEMORY_SHARE * device.memory_bytes / (1 if device.kind == "cuda" else slots)
    for name, jobs in shapes.groups().items():
        if name in costs or jobs[0].kind in UNPROBED:
            continue
        # An available job knows where its data are.
        job = next((one for one in jobs if not one.unavailable), jobs[0])
        guess = modelled(job.spec, device)
        if job.kind == "prepare" and job.unavailable:
            refused[job.name] = job.unavailable
        elif device.memory_bytes and guess.peak_bytes > limit:
            refused[job.name] = (
                f"the model says {guess.peak_bytes / 2**30:.1f} GiB, and a probe may take {limit / 2**30:.1f} GiB here"
            )
        else:
            probe, seconds = _probe(job, guess, shapes.shapes[name], splits, device)
            wanted.append((seconds, probe))
    wanted.sort(key=lambda one: -one[0])
    return Probes(jobs=tuple(job for _, job in wanted), seconds=sum(seconds for seconds, _ in wanted), refused=refused)


def _probe(job: Job, guess: Cost, shape: Mapping[str, Any], splits: Splits, device: Device) -> tuple[Job, float]:
    steps, warm_up, sample = STEPS, WARM_UP, dict(SAMPLE)
    if job.kind in ("pretrain", "finetune"):
        there = splits.of(job.spec)
        sample = {split: max(4, min(count, getattr(there, split))) for split, count in SAMPLE.items()}
    seconds = _seconds(job, guess, steps + warm_up, sample)
    if seconds > LONGEST_S and job.kind != "prepare":
        share = LONGEST_S / seconds
        steps, warm_up = max(FEWEST, int(share * steps)), 1
        sample |= {split: max(4, int(share * count)) for split, count in sample.items() if split != "train"}
        seconds = _seconds(job, guess, steps + warm_up, sample)
    whole = {"key": job.key, "kind": job.kind, "name": job.name, "needs": list(job.needs), "spec": dict(job.spec)}
    spec = {
        "kind": "probe",
        "job": whole,
        "shape": dict(shape),
        "device": device.label,
        "steps": steps,
        "warm_up": warm_up,
        "sample": sample,
        "decoded": DECODED,
    }
    return Job(key=measured_key(shape, device.label), kind="probe", name=f"probe.{job.name}", spec=spec), seconds


def _seconds(job: Job, guess: Cost, steps: int, sample: Mapping[str, int]) -> float:
    if job.kind == "prepare":
        return guess.fixed_s + DECODED * guess.step_s
    # Three validations, and the final prediction.
    evaluated = 3 * sample["val"] + sample["val"] + sample["test"]
    return guess.fixed_s + steps * (guess.step_s + guess.transform_s) + evaluated * guess.evaluation_s
