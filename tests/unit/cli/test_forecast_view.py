"""A forecast as people read it and as programs read it: whole texts, from figures put in by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench.cli import forecast_view
from refers_bench.cli.forecast_view import Made
from refers_bench.plan.forecast.cost_model import Cost
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.estimate import Forecast, JobForecast
from refers_bench.plan.forecast.savings import Saving
from refers_bench.plan.forecast.schedule import Schedule
from refers_bench.plan.lock import Cell, Job, Plan

MIB, GIB = 2**20, 2**30


def job(kind: str, name: str, needs: tuple[str, ...] = (), **more: Any) -> Job:
    return Job(key=name[0] + name[-1], kind=kind, name=name, needs=needs, **more)


PREPARE = job("prepare", "images")
PRETRAIN = job("pretrain", "refers", ("is",), spec={"pretrain": {"patience": 5, "processes": 1}})
CELLS = [job("finetune", f"cell{n}", ("rs",), spec={"finetune": {"patience": 0}}) for n in range(3)]
SCRATCH = job("finetune", "scratch9", ("is",), unavailable="no root", spec={"finetune": {"patience": 2}})
OTHER = job("discover", "words")
JOBS = (PREPARE, PRETRAIN, *CELLS, SCRATCH)
#: Name -> (seconds, memory, disk, source).
TAKEN = {
    "images": (40.0, 100 * MIB, 3 * MIB, "probed"),
    "refers": (7200.0, 3 * GIB, 2 * GIB, "recorded"),
    "cell0": (100.0, GIB, 1 * MIB, "model"),
    "cell1": (200.0, GIB, 2 * MIB, "model"),
    "cell2": (300.0, GIB, 3 * MIB, "probed"),
    "scratch9": (3600.0, 2 * GIB, 0, "model"),
}


def plan() -> Plan:
    shown = [
        Cell(method="refers", label="", dataset="d", task="t", label_ratio=1, seed=n, key=one.key)
        for n, one in enumerate(CELLS)
    ]
    shown.append(Cell(method="scratch", label="", dataset="d", task="t", label_ratio=1, seed=0, key=SCRATCH.key))
    return Plan(name="table1", jobs=JOBS, cells=tuple(shown), execution={"jobs_per_gpu": 2})


def made(device: Device, **more: Any) -> Made:
    found = {
        one.key: JobForecast(
            job=one,
            seconds=TAKEN[one.name][0],
            peak_bytes=TAKEN[one.name][1],
            disk_bytes=TAKEN[one.name][2],
            source=TAKEN[one.name][3],
        )
        for one in JOBS
    }
    schedule = Schedule(
        slots=2,
        starts={key: 10.0 * n + 0.12345 for n, key in enumerate(found)},
        wall_s=7600.0,
        total_s=11440.0,
        apart_s=40.0,
        critical=("is", "rs", "c0", "c1", "c2"),
        critical_s=7540.0,
    )
    costs = {
        "a": Cost(step_s=1, evaluation_s=1, fixed_s=1, peak_bytes=1, source="probed", busy=2.0, note="random pixels"),
        "b": Cost(step_s=1, evaluation_s=1, fixed_s=1, peak_bytes=1, source="probed", busy=3.0),
        "c": Cost(step_s=1, evaluation_s=1, fixed_s=1, peak_bytes=1, source="recorded", busy=9.0),
    }
    forecast = Forecast(
        jobs=found,
        device=device,
        schedule=schedule,
        undisturbed=Schedule(slots=2, wall_s=3000.0, total_s=5000.0),
        unknown=(OTHER,),
        assumed=("d", "e"),
        costs=costs,
        processes=7,
    )
    return Made(
        forecast=forecast,
        done=4,
        refused={"refers": "it does not fit"},
        failed={"cell0": "x" * 250 + "\nmore"},
        savings=(
            Saving(row="", overrides={"pretrain.precision": "bf16"}, hours=1.5, why="the same result"),
            Saving(row="refers", overrides={"a": 1, "b": 2}, hours=0.25, why="less"),
        ),
        patience_hours=1.25,
        **more,
    )


GPU = Device(kind="cuda", name="NVIDIA A100", memory_bytes=5 * GIB, gpus=0.5)
CPU = Device(kind="cpu", name="Some CPU", threads=3, memory_bytes=64 * GIB)


@pytest.fixture(autouse=True)
def a_disk_with_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The first folder that is there is asked for its free bytes."""

    def usage(place: Path) -> Any:
        assert place == tmp_path
        return shutil._ntuple_diskusage(100 * GIB, 90 * GIB, 10 * GIB)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    yield


def test_lines_for_people(tmp_path: Path) -> None:
    """(11440 - 40) x 0.5 / 3600 GPU-hours; 7600 + 5 s of start; 3 GiB twice are more than 5 GiB."""
    text = "\n".join(forecast_view.lines(plan(), made(GPU), tmp_path / "not" / "there"))
    assert text == "\n".join([
        "table1: 7 jobs to run, 4 done; NVIDIA A100, 2 at a time",
        "  total          1.58 GPU-hours",
        "  wall time      2 h 06 min (no schedule takes less than 2 h 05 min)",
        "  undisturbed    50 min 05 s, if nobody else works on this machine",
        "  preparation    40 s beside the GPUs, in up to 7 processes",
        "  critical path  2 h 05 min: images, then refers, then cell0, then cell1, and 1 more",
        "  memory         3.0 GiB at most in one job (refers, recorded), 6.0 GiB for 2 at a time, of 5.0 GiB: DOES NOT FIT",
        "  disk           prepared images 3.0 MiB, checkpoints 2.0 GiB, predictions 6.0 MiB; 10.0 GiB free",
        "  figures        1 jobs recorded, 2 jobs probed, 3 jobs model",
        *(f"  note           {note}" for note in NOTES),
        "  could save     1.50 GPU-hours with protocol overrides: {pretrain.precision: bf16} (the same result)",
        "  could save     0.25 GPU-hours with overrides of row refers: {a: 1, b: 2} (less)",
        "",
        "kind       jobs  GPU-hours       longest     memory  figures",
        "prepare       1       0.00          40 s  100.0 MiB  1 probed",
        "pretrain      1       1.00    2 h 00 min    3.0 GiB  1 recorded",
        "finetune      4       0.58    1 h 00 min    2.0 GiB  1 probed, 3 model",
        "",
        "row       jobs  GPU-hours       longest     memory  figures",
        "(data)       1       0.00          40 s  100.0 MiB  1 probed",
        "refers       4       1.08    2 h 00 min    3.0 GiB  1 recorded, 1 probed, 2 model",
        "scratch      1       0.50    1 h 00 min    2.0 GiB  1 model",
    ])  # fmt: skip


#: Three jobs of the model, a probe of random pixels, probes 2 and 3 times slower than their processor time.
NOTES = [
    f"the model assumes {GPU.stated()}; decoding, augmentation and pretext transforms are counted",
    "some probes ran on random pixels and texts of the right shape: nothing was prepared",
    "others were at work on this machine: probes took 2.5 times their processor time",
    "splits of 2 datasets assumed as 7 : 1 : 2: nothing is prepared",
    "2 trainings may stop early and take less, by 1.25 GPU-hours if each stops as soon as its patience allows",
    "1 of the jobs (0.50 hours) are unavailable on this machine",
    "1 jobs of kinds that nothing is forecast of are not counted",
    "not probed: refers: it does not fit",
    "probe failed: cell0: " + "x" * 200,
]


def test_compilation_is_not_counted_by_the_model(tmp_path: Path) -> None:
    """Of three trainings the model's figures; what was recorded or probed took what it took."""
    said = "compilation (execution.compile) is not counted in 3 jobs, nor what it saves"
    compiled = replace(plan(), execution={"jobs_per_gpu": 2, "compile": True})
    assert list(forecast_view.notes(compiled, made(GPU))) == [NOTES[0], said, *NOTES[1:]]
    assert f"  note           {said}" in forecast_view.lines(compiled, made(GPU), tmp_path)
    assert said in forecast_view.as_json(compiled, made(GPU))["notes"]
    for execution in ({}, {"compile": False}):
        assert list(forecast_view.notes(replace(plan(), execution=execution), made(GPU))) == NOTES
    forecast = made(GPU).forecast
    known = {key: replace(one, source="recorded") for key, one in forecast.jobs.items() if one.job.kind != "prepare"}
    drawn = {key: replace(one, source="model") for key, one in forecast.jobs.items() if one.job.kind == "prepare"}
    measured = replace(made(GPU), forecast=replace(forecast, jobs={**drawn, **known}))
    assert not any("compilation" in note for note in forecast_view.notes(compiled, measured))


def test_on_a_processor_preparation_takes_hours_and_slots_share_memory(tmp_path: Path) -> None:
    """11440 x 3 / 3600 CPU-hours."""
    text = list(forecast_view.lines(plan(), made(CPU), tmp_path))
    assert text[0] == "table1: 7 jobs to run, 4 done; Some CPU, 3 threads, 2 at a time"
    assert text[1] == "  total          9.53 CPU-hours"
    assert text[4] == "  preparation    40 s beside the slots, in up to 7 processes"
    assert (
        text[6]
        == "  memory         3.0 GiB at most in one job (refers, recorded), 6.0 GiB for 2 at a time, of 64.0 GiB"
    )
    assert "prepare       1       0.03          40 s  100.0 MiB  1 probed" in text
    exactly = made(Device(kind="cpu", name="", memory_bytes=6 * GIB))
    assert "DOES NOT FIT" not in list(forecast_view.lines(plan(), exactly, tmp_path))[6]


def test_nothing_to_run_and_no_known_memory(tmp_path: Path) -> None:
    empty = Forecast(jobs={}, device=CPU, schedule=Schedule(slots=1), undisturbed=Schedule(slots=1))
    text = list(forecast_view.lines(plan(), Made(forecast=empty, done=9, refused={}, failed={}), tmp_path))
    assert text == [
        "table1: 0 jobs to run, 9 done; Some CPU, 3 threads, 1 at a time",
        "  total          0.00 CPU-hours",
        "  wall time      0 s (no schedule takes less than 0 s)",
        "  critical path  0 s: no job",
        "  memory         no job",
        "  disk           next to nothing; 10.0 GiB free",
        "  figures        0 jobs recorded, 0 jobs probed, 0 jobs model",
        "",
        "kind   jobs  CPU-hours       longest     memory  figures",
        "",
        "row   jobs  CPU-hours       longest     memory  figures",
    ]
    unheard_of = replace(empty, uncounted=(PREPARE,))
    text = list(forecast_view.lines(plan(), Made(forecast=unheard_of, done=9, refused={}, failed={}), tmp_path))
    assert text[0].startswith("table1: 1 job to run")
    assert text[7] == (
        "  note           images is not counted, nor what depends on its images: nothing says how many there are"
    )
    small = Forecast(
        jobs={"is": JobForecast(job=PREPARE, seconds=1.0, peak_bytes=MIB, disk_bytes=0, source="probed")},
        device=Device(kind="cpu", name=""),
        schedule=Schedule(slots=1, total_s=11.0, critical=("is",)),
        undisturbed=Schedule(slots=1, total_s=10.0),
    )
    text = list(forecast_view.lines(plan(), Made(forecast=small, done=0, refused={}, failed={}), tmp_path))
    assert not any("undisturbed" in line for line in text)  # 1.1 times as much is not yet more
    assert text[3] == "  critical path  0 s: images"
    assert text[4] == "  memory         1.0 MiB at most in one job (images, probed); this device's memory is not known"


def test_the_same_for_programs() -> None:
    """Seconds to the millisecond; sums of bytes, the largest memory."""
    found = forecast_view.as_json(plan(), made(GPU))
    jobs, kinds, rows, notes = (found.pop(name) for name in ("jobs", "kinds", "rows", "notes"))
    assert notes == NOTES
    assert found == {
        "name": "table1",
        "device": {"kind": "cuda", "label": "NVIDIA A100", "memory_bytes": 5 * GIB},
        "slots": 2,
        "jobs_to_run": 7,
        "jobs_done": 4,
        "unit": "GPU-hours",
        "hours": pytest.approx(11400 / 7200),
        "wall_s": 7605.0,
        "bound_s": 7540.0,
        "total_s": 11440.0,
        "undisturbed": {"wall_s": 3005.0, "total_s": 5000.0},
        "critical_path": {"seconds": 7540.0, "jobs": ["images", "refers", "cell0", "cell1", "cell2"]},
        "peak_memory_bytes": 3 * GIB,
        "disk_bytes": 2 * GIB + 9 * MIB,
        "savings": [
            {"row": "", "overrides": {"pretrain.precision": "bf16"}, "hours": 1.5, "why": "the same result"},
            {"row": "refers", "overrides": {"a": 1, "b": 2}, "hours": 0.25, "why": "less"},
        ],
        "not_probed": {"refers": "it does not fit"},
        "probes_failed": {"cell0": "x" * 250 + "\nmore"},
    }
    assert jobs[1] == {
        "key": "rs",
        "kind": "pretrain",
        "name": "refers",
        "seconds": 7200.0,
        "peak_memory_bytes": 3 * GIB,
        "disk_bytes": 2 * GIB,
        "source": "recorded",
        "start_s": 10.123,
    }
    assert [one["name"] for one in jobs] == [one.name for one in JOBS]
    assert kinds[2] == {
        "name": "finetune",
        "jobs": 4,
        "seconds": 4200.0,
        "longest_s": 3600.0,
        "peak_bytes": 2 * GIB,
        "disk_bytes": 6 * MIB,
        "sources": {"model": 3, "probed": 1},
    }
    assert [(one["name"], one["jobs"], one["seconds"]) for one in rows] == [
        ("(data)", 1, 40.0),
        ("refers", 4, 7800.0),
        ("scratch", 1, 3600.0),
    ]
    empty = Forecast(jobs={}, device=CPU, schedule=Schedule(slots=1), undisturbed=Schedule(slots=1))
    nothing = forecast_view.as_json(plan(), Made(forecast=empty, done=9, refused={}, failed={}))
    assert nothing["undisturbed"] == {"wall_s": 0.0, "total_s": 0.0} and nothing["peak_memory_bytes"] == 0
