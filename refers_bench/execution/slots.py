"""Finds slots, places that run one job at a time: of this machine, or those an executor elsewhere counts as."""

from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench import machine
from refers_bench.errors import UserError
from refers_bench.execution.engine import Slot
from refers_bench.execution.gpus import gpu_models, visible_gpus
from refers_bench.plan.forecast.cost_model import modelled
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.lock import Plan
from refers_bench.store.provenance import hardware

#: Slots that a cluster counts as where nothing is known of it: the order of jobs and forecasts go by them.
ASSUMED = 8

#: With "jobs_per_gpu: auto": most jobs that share a GPU, and share of its memory that they are planned with.
MOST_JOBS, PLANNED_SHARE = 8, 0.5


def slots_here(plan: Plan, device: str, slots: int | None) -> list[Slot]:
    """One slot per GPU (or several; or per group of GPUs that pre-train together), else CPU slots.

    Args:
        plan: says how many jobs share a GPU, and how many GPUs pre-train together.
        device: "auto", "cpu" or "cuda".
        slots: how many the user asks for; None for all of this machine.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "cuda" and not gpus:
        raise UserError("--device cuda: this machine shows no GPU (nvidia-smi lists none)")
    if gpus:
        per_gpu, together = (
            jobs_per_gpu(plan, min((memory for _, memory in gpu_models()), default=0)),
            gpus_together(plan),
        )
        if together > len(gpus):
            raise UserError(f"pretrain.processes is {together}, and this machine shows {len(gpus)} GPUs")
        groups = [",".join(gpus[i : i + together]) for i in range(0, len(gpus) - together + 1, together)]
        return [Slot(device="cuda", environment={"CUDA_VISIBLE_DEVICES": group}) for group in groups * per_gpu][:slots]
    count = slots or plan.execution["cpu_slots"] or max(1, machine.cores() // 2)
    return [Slot(device="cpu")] * count


def slots_elsewhere(plan: Plan, executor: str, device: str, slots: int | None) -> list[Slot]:
    """The slots that an executor counts as which does not run jobs in those of this machine.

    Args:
        plan: says how many jobs the executor runs at a time.
        executor: name of the engine.
        device: "auto", "cpu" or "cuda".
        slots: how many are asked for: they are another machine's own.
    """
    if slots is not None:
        raise UserError(f"--slots: of this machine only; the executor {executor} has places of its own")
    count = (plan.execution.get(executor) or {}).get("throttle") or ASSUMED
    return [Slot(device="cpu" if device == "cpu" else "cuda")] * count


def gpus_together(plan: Plan) -> int:
    """GPUs that the largest pre-training of a plan takes at once."""
    return max((job.spec["pretrain"]["processes"] for job in plan.jobs if job.kind == "pretrain"), default=1)


def jobs_per_gpu(plan: Plan, memory_bytes: int) -> int:
    """Jobs that share a GPU: as the manifest says; for "auto" as many as its memory holds of the plan's largest.

    Memory is the model's, which leaves out what kernels need for themselves: half of the GPU's is planned with. A job
    that runs out of memory all the same goes on in smaller parts.

    Args:
        plan: of a manifest.
        memory_bytes: of the GPU; 0 where it is unknown.
    """
    asked = plan.execution["jobs_per_gpu"]
    if asked != "auto":
        return int(asked)
    device = Device(kind="cuda", name="", memory_bytes=memory_bytes)
    trained = [job.spec for job in plan.jobs if job.kind in ("pretrain", "finetune") and not job.unavailable]
    largest = max((modelled(spec, device).peak_bytes for spec in _shapes(trained)), default=0)
    return max(1, min(MOST_JOBS, int(PLANNED_SHARE * memory_bytes) // largest)) if largest else 1


def _shapes(specs: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """One specification of each shape: seeds and label ratios of a cell need the same memory."""
    return {
        (spec["kind"], spec["method"], str(spec["params"]), str(spec["network"]), str(spec[spec["kind"]])): spec
        for spec in specs
    }.values()


def sharing(plan: Plan, device: Device) -> int:
    """Jobs that share a GPU (or a group of them that pre-trains together), as `device_of` counted them."""
    return max(1, round(gpus_together(plan) / device.gpus))


def device_of(plan: Plan, slot: Slot, *, threads: int) -> Device:
    """What a worker in this slot computes on."""
    if slot.device == "cuda":
        name, memory = next(iter(gpu_models()), ("GPU of unknown name", 0))
        gpus = gpus_together(plan) / jobs_per_gpu(plan, memory)
        return Device(kind="cuda", name=name, memory_bytes=memory, gpus=gpus)
    here = hardware()
    memory, cores = here["memory_bytes"], here["cores"] or 0
    return Device(kind="cpu", name=here["cpu"], memory_bytes=memory, threads=threads, cores=cores)
