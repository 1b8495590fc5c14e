"""A forecast as people read it, line by line, and as programs do."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from refers_bench.cli.forecast_view import as_json, lines, size
from refers_bench.cli.forecasting import Made
from refers_bench.plan.cost_model import Cost
from refers_bench.plan.devices import Device
from refers_bench.plan.forecast import Forecast, JobForecast
from refers_bench.plan.lock import Cell, Job, Plan
from refers_bench.plan.savings import Saving
from refers_bench.plan.schedule import Schedule

MIB = 1 << 20
KINDS = {"d": "prepare", "p": "pretrain", "f": "finetune", "g": "finetune", "h": "finetune"}
NEEDS = {"d": (), "p": ("d",), "f": ("d", "p"), "g": ("d",), "h": ("d",)}
SECONDS = {"d": 60.0, "p": 7200.0, "f": 600.0, "g": 300.0, "h": 360.0}
SOURCES = {"d": "model", "p": "probed", "f": "recorded", "g": "recorded", "h": "model"}
PEAKS = {"d": 100, "p": 3000, "f": 2000, "g": 500, "h": 600}
CELL: dict[str, Any] = {"label": "", "dataset": "x", "task": "t", "label_ratio": 1.0}
CELLS = (
    Cell(method="one", seed=0, key="f", **CELL), Cell(method="two", seed=0, key="g", **CELL),
    Cell(method="two", seed=1, key="h", **CELL),
)  # fmt: skip


def made(device: Device, *, slots: int = 2, wall: float = 7920.0, quiet: float = 1.0, **more: Any) -> tuple[Plan, Made]:
    """A forecast by hand: data, a pre-training and its cell, and two cells of another row."""
    patience = {"f": 3}
    jobs = {
        key: Job(
            key=key, kind=kind, name=f"{kind}.{key}", needs=NEEDS[key],
            spec={"kind": kind, kind: {"patience": patience.get(key, 0)}},
            unavailable="no root" if key == "h" else "",
        )
        for key, kind in KINDS.items()
    }  # fmt: skip
    found = {
        key: JobForecast(
            job=job, seconds=SECONDS[key], peak_bytes=PEAKS[key] * MIB, disk_bytes=0 if key == "h" else PEAKS[key] * 1000,
            source=SOURCES[key],
        )
        for key, job in jobs.items()
    }  # fmt: skip
    schedule = Schedule(
        slots=slots, starts={key: float(number) for number, key in enumerate(KINDS)}, wall_s=wall, total_s=8520.0,
        apart_s=60.0, critical=("d", "p", "f"), critical_s=7860.0,
    )  # fmt: skip
    undisturbed = Schedule(slots=slots, wall_s=wall / quiet, total_s=8520.0 / quiet)
    costs = {
        "a": Cost(step_s=1, evaluation_s=1, fixed_s=0, peak_bytes=0, source="probed", note="random pixels", busy=quiet)
    }
    forecast = Forecast(
        jobs=found, device=device, schedule=schedule, undisturbed=undisturbed, costs=costs, assumed=("d",), processes=6,
        unknown=(Job(key="n", kind="noop", name="n"),),
    )  # fmt: skip
    plan = Plan(name="m", jobs=tuple(jobs.values()), cells=CELLS, execution={"jobs_per_gpu": 3})
    return plan, Made(forecast=forecast, done=4, refused={}, failed={}, **more)


@pytest.fixture(autouse=True)
def _disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, 5 << 30 if place.is_dir() else 0))


def test_a_forecast_of_a_processor(tmp_path: Path) -> None:
    device = Device(kind="cpu", name="X", threads=2, memory_bytes=16 << 30)
    savings = [
        Saving(row="", overrides={"pretrain.validate_every": 50}, hours=1.5, why="enough"),
        Saving(row="one", overrides={"a": 1, "b": 2}, hours=0.25, why="nothing"),
    ]
    plan, one = made(device, savings=savings, patience_hours=0.125)
    assert list(lines(plan, one, tmp_path / "not" / "there")) == [
        "m: 6 jobs to run, 4 done; X, 2 threads, 2 at a time",
        "  total          4.73 CPU-hours",
        "  wall time      2 h 12 min (no schedule takes less than 2 h 11 min)",
        "  preparation    1 min 00 s beside the slots, in up to 6 processes",
        "  critical path  2 h 11 min: prepare.d, then pretrain.p, then finetune.f",
        "  memory         2.9 GiB at most in one job (pretrain.p, probed), 5.9 GiB for 2 at a time, of 16.0 GiB",
        "  disk           pixels 0.1 MiB, checkpoints 2.9 MiB, predictions 2.4 MiB; 5.0 GiB free",
        "  figures        2 jobs recorded, 1 jobs probed, 2 jobs model",
        "  note           the model assumes 40 GFLOP/s a thread; decoding, augmentation and pretext transforms are counted",
        "  note           some probes ran on random pixels and texts of the right shape: nothing was prepared",
        "  note           splits of 1 datasets assumed as 7 : 1 : 2: nothing is prepared",
        "  note           1 trainings may stop early and take less, by 0.12 CPU-hours if each stops as soon as its "
        "patience allows",
        "  note           1 of the jobs (0.20 hours) are unavailable on this machine",
        "  note           1 jobs of kinds that nothing is forecast of are not counted",
        "  could save     1.50 CPU-hours with protocol overrides: {pretrain.validate_every: 50} (enough)",
        "  could save     0.25 CPU-hours with overrides of row one: {a: 1, b: 2} (nothing)",
        "",
        "kind       jobs  CPU-hours       longest     memory  figures",
        "prepare       1       0.03    1 min 00 s  100.0 MiB  1 model",
        "pretrain      1       4.00    2 h 00 min    2.9 GiB  1 probed",
        "finetune      3       0.70   10 min 00 s    2.0 GiB  2 recorded, 1 model",
        "",
        "row      jobs  CPU-hours       longest     memory  figures",
        "(data)      1       0.03    1 min 00 s  100.0 MiB  1 model",
        "one         2       4.33    2 h 00 min    2.9 GiB  1 recorded, 1 probed",
        "two         2       0.37    6 min 00 s  600.0 MiB  1 recorded, 1 model",
    ]


def test_a_forecast_of_a_gpu_on_which_others_work(tmp_path: Path) -> None:
    device = Device(kind="cuda", name="H100", gpus=0.5, memory_bytes=8 << 30)
    plan, one = made(device, slots=1, quiet=2.0)
    one = Made(
        forecast=one.forecast,
        done=0,
        refused={"finetune.g": "no data"},
        failed={"pretrain.p": "crash: bad\nsecond line"},
    )
    found = list(lines(plan, one, tmp_path))
    assert found[:7] == [
        "m: 6 jobs to run, 0 done; H100, 1 at a time",
        # Images are prepared beside the GPU; a worker has half of one.
        "  total          1.18 GPU-hours",
        "  wall time      2 h 12 min (no schedule takes less than 2 h 21 min)",
        "  undisturbed    1 h 06 min, if nobody else works on this machine",
        "  preparation    1 min 00 s beside the GPUs, in up to 6 processes",
        "  critical path  2 h 11 min: prepare.d, then pretrain.p, then finetune.f",
        "  memory         2.9 GiB at most in one job (pretrain.p, probed), 8.8 GiB for 3 at a time, of 8.0 GiB: DOES NOT FIT",
    ]
    assert "  note           others were at work on this machine: probes took 2.0 times their processor time" in found
    assert found[-12:-10] == [
        "  note           not probed: finetune.g: no data",
        "  note           probe failed: pretrain.p: crash: bad",
    ]
    assert "prepare       1       0.00    1 min 00 s  100.0 MiB  1 model" in found
    assert "(data)      1       0.00    1 min 00 s  100.0 MiB  1 model" in found
    assert "one         2       1.08    2 h 00 min    2.9 GiB  1 recorded, 1 probed" in found


def test_a_long_critical_path_is_shortened_and_unknown_memory_said(tmp_path: Path) -> None:
    plan, one = made(Device(kind="cpu", name="X"), slots=1)
    long = Schedule(slots=1, critical=tuple("dpfgh"), critical_s=59.0)
    forecast = Forecast(jobs=one.forecast.jobs, device=one.forecast.device, schedule=long, undisturbed=long)
    found = list(lines(plan, Made(forecast=forecast, done=0, refused={}, failed={}), tmp_path))
    assert "  critical path  59 s: prepare.d, then pretrain.p, then finetune.f, then finetune.g, and 1 more" in found
    assert (
        "  memory         2.9 GiB at most in one job (pretrain.p, probed); this device's memory is not known" in found
    )
    nothing = Forecast(jobs={}, device=one.forecast.device, schedule=Schedule(slots=1), undisturbed=Schedule(slots=1))
    assert list(lines(plan, Made(forecast=nothing, done=5, refused={}, failed={}), tmp_path))[:7] == [
        "m: 0 jobs to run, 5 done; X, 1 thread, 1 at a time",
        "  total          0.00 CPU-hours",
        "  wall time      0 s (no schedule takes less than 0 s)",
        "  critical path  0 s: no job",
        "  memory         no job",
        "  disk           next to nothing; 5.0 GiB free",
        "  figures        0 jobs recorded, 0 jobs probed, 0 jobs model",
    ]


def test_a_forecast_for_programs() -> None:
    plan, one = made(Device(kind="cuda", name="H100", gpus=0.5, memory_bytes=7), quiet=2.0)
    found = as_json(plan, one)
    kinds, rows, jobs = found.pop("kinds"), found.pop("rows"), found.pop("jobs")
    assert len(found.pop("notes")) == 7
    assert found == {
        "name": "m", "device": {"kind": "cuda", "label": "H100", "memory_bytes": 7}, "slots": 2, "jobs_to_run": 6,
        "jobs_done": 4, "unit": "GPU-hours", "hours": (8520 - 60) * 0.5 / 3600, "wall_s": 7925.0, "bound_s": 7860.0,
        "total_s": 8520.0, "undisturbed": {"wall_s": 3965.0, "total_s": 4260.0},
        "critical_path": {"seconds": 7860.0, "jobs": ["prepare.d", "pretrain.p", "finetune.f"]},
        "peak_memory_bytes": 3000 * MIB, "disk_bytes": 5_600_000, "savings": [], "not_probed": {}, "probes_failed": {},
    }  # fmt: skip
    assert [(one["name"], one["jobs"], one["seconds"]) for one in kinds] == [
        ("prepare", 1, 60.0), ("pretrain", 1, 7200.0), ("finetune", 3, 1260.0),
    ]  # fmt: skip
    assert rows[2] == {
        "name": "two", "jobs": 2, "seconds": 660.0, "longest_s": 360.0, "peak_bytes": 600 * MIB, "disk_bytes": 500_000,
        "sources": {"recorded": 1, "model": 1},
    }  # fmt: skip
    assert jobs[1] == {
        "key": "p", "kind": "pretrain", "name": "pretrain.p", "seconds": 7200.0, "peak_memory_bytes": 3000 * MIB,
        "disk_bytes": 3_000_000, "source": "probed", "start_s": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 MiB"), ((1 << 30) - 1, "1024.0 MiB"), (1 << 30, "1.0 GiB"), (1.5 * MIB, "1.5 MiB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text
