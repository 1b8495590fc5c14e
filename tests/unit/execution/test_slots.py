"""Which places for jobs a machine has, with GPUs and without, and what a worker there computes on."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from refers_bench import machine
from refers_bench.errors import UserError
from refers_bench.execution.engine import Slot
from refers_bench.execution.slots import device_of, gpus_together, jobs_per_gpu, sharing, slots_here
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.lock import Job, Plan


def plan(*, per_gpu: int | str = 1, cpu_slots: int | None = None, processes: tuple[int, ...] = ()) -> Plan:
    jobs = tuple(
        Job(key=str(number), kind="pretrain", name="p", spec={"pretrain": {"processes": count}})
        for number, count in enumerate(processes)
    )
    other = Job(key="f", kind="finetune", name="f", spec={})
    return Plan(name="m", jobs=(other, *jobs), execution={"jobs_per_gpu": per_gpu, "cpu_slots": cpu_slots})


def gpus(slots: list[Slot]) -> list[str]:
    assert {slot.device for slot in slots} == {"cuda"}
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


@pytest.mark.parametrize(
    ("how", "slots", "expected"),
    [
        ({}, None, ["0", "1", "2", "3", "4"]),
        ({}, 2, ["0", "1"]),
        ({"per_gpu": 2}, None, ["0", "1", "2", "3", "4"] * 2),
        ({"per_gpu": 2}, 7, ["0", "1", "2", "3", "4", "0", "1"]),
        # GPUs that pre-train together are one place; a rest too small for them is none.
        ({"processes": (1, 2)}, None, ["0,1", "2,3"]),
        ({"processes": (5,)}, None, ["0,1,2,3,4"]),
    ],
)
def test_a_place_for_each_gpu_or_group(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], slots: int | None, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    for device in ("auto", "cuda"):
        assert gpus(slots_here(plan(**how), device, slots)) == expected


@pytest.mark.parametrize(
    ("gigabytes", "largest", "jobs"), [(80, 10, 4), (80, 39, 1), (80, 41, 1), (24, 1, 8), (0, 10, 1)]
)
def test_as_many_jobs_as_half_of_a_gpu_holds_of_the_largest(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int, largest: int, jobs: int
) -> None:
    monkeypatch.setattr("refers_bench.execution.slots.modelled", lambda spec, device: SimpleNamespace(**spec["needs"]))
    specs = [
        {
            "kind": "finetune",
            "method": "m",
            "params": {},
            "network": {},
            "finetune": size,
            "needs": {"peak_bytes": size},
        }
        for size in (largest << 29, largest << 30)
    ]
    trained = tuple(Job(key=str(at), kind="finetune", name=str(at), spec=spec) for at, spec in enumerate(specs))
    made = Plan(name="m", jobs=trained, execution={"jobs_per_gpu": "auto"})
    assert jobs_per_gpu(made, gigabytes << 30) == jobs
    assert sharing(made, Device(kind="cuda", name="", gpus=1 / jobs)) == jobs
    assert jobs_per_gpu(Plan(name="m", jobs=(), execution={"jobs_per_gpu": "auto"}), 80 << 30) == 1


def test_gpus_that_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UserError, match=r"pretrain\.processes is 3, and this machine shows 2 GPUs"):
        slots_here(plan(processes=(3,)), "auto", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="this machine shows no GPU"):
        slots_here(plan(), "cuda", None)


@pytest.mark.parametrize(
    ("cores", "cpu_slots", "slots", "count"), [(8, None, None, 4), (1, None, None, 1), (8, 3, None, 3), (8, 3, 2, 2)]
)
def test_places_of_a_processor(
    monkeypatch: pytest.MonkeyPatch, cores: int, cpu_slots: int | None, slots: int | None, count: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    for device, visible in (("auto", ""), ("cpu", "0,1")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert slots_here(plan(cpu_slots=cpu_slots), device, slots) == [Slot(device="cpu")] * count


def test_what_a_worker_computes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA L40S, 46068'\n")
    smi.chmod(0o755)
    assert (gpus_together(plan()), gpus_together(plan(processes=(2, 4, 1)))) == (1, 4)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = device_of(plan(per_gpu=2, processes=(4,)), Slot(device="cuda"), threads=3)
    assert (found.kind, found.name, found.memory_bytes, found.gpus) == ("cuda", "NVIDIA L40S", 46068 << 20, 2.0)
    monkeypatch.setenv("PATH", "/nowhere")
    found = device_of(plan(), Slot(device="cuda"), threads=3)
    assert (found.name, found.memory_bytes, found.gpus) == ("GPU of unknown name", 0, 1.0)
    found = device_of(plan(), Slot(device="cpu"), threads=3)
    assert (found.kind, found.threads, found.cores) == ("cpu", 3, os.cpu_count())
    assert found.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
