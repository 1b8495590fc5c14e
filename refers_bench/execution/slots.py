"""Finds slots, places that run one job at a time: of this machine, or those an executor elsewhere counts as."""

from refers_bench import machine
from refers_bench.errors import UserError
from refers_bench.execution.engine import Slot
from refers_bench.execution.gpus import gpu_models, visible_gpus
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.lock import Plan
from refers_bench.store.provenance import hardware

#: Slots that a cluster counts as where nothing is known of it: the order of jobs and forecasts go by them.
ASSUMED = 8


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
        per_gpu, together = plan.execution["jobs_per_gpu"], gpus_together(plan)
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


def device_of(plan: Plan, slot: Slot, *, threads: int) -> Device:
    """What a worker in this slot computes on."""
    if slot.device == "cuda":
        name, memory = next(iter(gpu_models()), ("GPU of unknown name", 0))
        gpus = gpus_together(plan) / plan.execution["jobs_per_gpu"]
        return Device(kind="cuda", name=name, memory_bytes=memory, gpus=gpus)
    here = hardware()
    memory, cores = here["memory_bytes"], here["cores"] or 0
    return Device(kind="cpu", name=here["cpu"], memory_bytes=memory, threads=threads, cores=cores)
