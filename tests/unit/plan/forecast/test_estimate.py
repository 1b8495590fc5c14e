"""Jobs that cost alike share a measurement, and a forecast adds up what was measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench.files import publish_json
from refers_bench.plan.forecast.cost_model import Cost, modelled
from refers_bench.plan.forecast.devices import Device, recorded_on
from refers_bench.plan.forecast.estimate import (
    HAND_OVER_S,
    completed,
    disk_bytes,
    forecast,
    found_elsewhere,
    grouped,
    measured,
)
from refers_bench.plan.forecast.measurements import VERSION, probe_path, probed, recorded
from refers_bench.plan.forecast.probes import FEWEST, STEPS, probes
from refers_bench.plan.forecast.shapes import Shapes, shape_of
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]
CPU = Device(kind="cpu", name="A processor", memory_bytes=8 << 30)
A100 = Device(kind="cuda", name="NVIDIA A100-SXM4-80GB", memory_bytes=80 << 30)


def job_of(plan: Plan, pattern: str) -> Job:
    return next(job for job in plan.jobs if pattern in job.name)


def record(job: Job, *, device: Device = CPU, **facts: Any) -> dict[str, Any]:
    """As a finished job leaves it."""
    hardware = {"hardware": {"cpu": device.name}, "threads": device.threads}
    gpu = {"name": device.name, "peak_mem_bytes": 7_000} if device.kind == "cuda" else None
    return {
        "key": job.key, "kind": job.kind, "name": job.name, "spec": dict(job.spec), "wall_s": facts.pop("wall_s", 40.0),
        "peak_mem_bytes": facts.pop("peak", 900), "provenance": {**hardware, "gpu": gpu}, "facts": facts,
    }  # fmt: skip


def stored(results: Path, one: Mapping[str, Any]) -> None:
    publish_json(results / "store" / one["key"] / "run.json", one)


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_seeds_ratios_steps_and_targets_share_a_shape_and_methods_do_not(plan_of: PlanOf) -> None:
    plan = plan_of()
    groups = Shapes(plan.jobs).groups()
    sizes = sorted((jobs[0].kind, len(jobs)) for jobs in groups.values())
    assert sizes == [("finetune", 4)] * 3 + [("prepare", 1)] + [("pretrain", 1)] * 2
    longer = plan_of(
        ("{preset: smoke}", "{preset: smoke, overrides: {finetune.steps: 50, finetune.learning_rate: 0.1}}"), name="n"
    )
    wider = plan_of(("{preset: smoke}", "{preset: smoke, overrides: {finetune.batch_size: 24}}"), name="o")
    finetune = shape_of(job_of(plan, "scratch.").spec)
    assert shape_of(job_of(longer, "scratch.").spec) == finetune != shape_of(job_of(wider, "scratch.").spec)
    assert shape_of(job_of(longer, "pretrain.refers").spec) == shape_of(job_of(plan, "pretrain.refers").spec)


def test_kinds_without_a_shape_are_left_out() -> None:
    job = Job(key="k", kind="noop", name="n", spec={"kind": "noop"})
    assert shape_of(job.spec) is None
    shapes = Shapes([job])
    assert shapes.of == {"k": ""} and shapes.groups() == {}


# --- measurements ---------------------------------------------------------------------------------------------------


def test_a_record_becomes_seconds_of_an_update_of_an_evaluation_and_of_the_rest(plan_of: PlanOf) -> None:
    job = job_of(plan_of(), "scratch.")
    found = recorded([record(
        job, wall_s=40.0, steps=30, train_s=15.0, validations=3, validation_s=2.0, images={"val": 20, "test": 30},
    )])  # fmt: skip
    assert found is not None
    assert (found.step_s, found.evaluation_s, found.source) == (0.5, 0.1, "recorded")
    # 40 s less 15 of updates, 3 x 2 of validations, (20 + 30) x 0.1 of the final prediction.
    assert found.fixed_s == pytest.approx(14.0)
    assert found.done == 1.0


def test_several_records_are_averaged_and_the_least_peak_counts(plan_of: PlanOf) -> None:
    job = job_of(plan_of(), "scratch.")
    facts = {"steps": 30, "validations": 1, "validation_s": 1.0, "images": {"val": 10, "test": 0}}
    found = recorded([record(job, peak=500, train_s=15.0, **facts), record(job, peak=900, train_s=45.0, **facts)])
    assert found is not None
    assert (found.step_s, found.peak_bytes, found.note) == (1.0, 500, "2 finished jobs")


def test_early_stopping_that_was_seen_is_expected_again(plan_of: PlanOf) -> None:
    job = job_of(plan_of(), "scratch.")
    found = recorded([record(job, steps=15, train_s=15.0, validations=0, images={"val": 0, "test": 0})])
    assert found is not None and found.done == 0.5


def test_a_record_of_a_version_that_said_less_gives_the_throughput(plan_of: PlanOf) -> None:
    job = job_of(plan_of(), "pretrain.refers")
    views, batch = job.spec["params"]["views"], job.spec["pretrain"]["batch_size"]
    found = recorded([record(job, steps=30, images_per_s=2.0 * views * batch, examples={"train": 9, "val": 9})])
    assert found is not None and found.step_s == pytest.approx(0.5)


def test_a_resumed_job_tells_nothing_of_the_rest_and_pixels_that_were_there_nothing_of_decoding(
    plan_of: PlanOf,
) -> None:
    plan = plan_of()
    job, data = job_of(plan, "scratch."), job_of(plan, "prepare")
    resumed = record(job, wall_s=1.0, resumed_from=20, steps=30, train_s=15.0, images={"val": 0, "test": 0})
    found = recorded([resumed])
    assert found is not None and found.fixed_s == 0.0
    assert recorded([record(data, decoded=False, pixels={"count": 60})]) is None
    found = recorded([record(data, wall_s=3.0, decoded=True, pixels={"count": 60})])
    assert found is not None and found.step_s == pytest.approx(0.05)


def test_records_without_updates_or_seconds_or_of_batches_in_parts_tell_nothing(plan_of: PlanOf) -> None:
    job = job_of(plan_of(), "scratch.")
    whole = {"steps": 30, "train_s": 15.0, "images": {"val": 0, "test": 0}}
    found = recorded([record(job, **whole), *(record(job, **{**whole, **facts}) for facts in (
        {"steps": 0}, {"train_s": 0.0}, {"train_s": 90.0, "accumulation": {"parts": 2}},
    ))])  # fmt: skip
    assert found is not None and (found.step_s, found.note) == (0.5, "one finished job")
    assert recorded([record(job, **{**whole, "train_s": 0.0})]) is None


def test_only_records_of_the_same_device_count(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    job, shapes = job_of(plan, "scratch."), Shapes(plan.jobs)
    facts = {"steps": 30, "train_s": 15.0, "images": {"val": 0, "test": 0}}
    stored(tmp_path, record(job, **facts))
    assert set(measured(plan, shapes, store, CPU, done={job.key})) == {shapes.of[job.key]}
    assert measured(plan, shapes, store, replace(CPU, name="Another"), done={job.key}) == {}
    assert measured(plan, shapes, store, replace(CPU, threads=2), done={job.key}) == {}
    assert measured(plan, shapes, store, A100, done={job.key}) == {}
    assert measured(plan, shapes, store, CPU, done=set()) == {}
    stored(tmp_path, record(job, device=A100, **facts))
    found = measured(plan, shapes, store, A100, done={job.key})[shapes.of[job.key]]
    assert found.peak_bytes == 7_000  # the GPU's, not the process's


def test_devices_of_records_have_the_labels_of_devices_at_hand() -> None:
    hardware = {"hardware": {"cpu": "A processor"}, "threads": 1, "gpu": None}
    assert recorded_on(hardware) == CPU.label == "A processor, 1 thread"
    assert recorded_on({**hardware, "gpu": {"name": "NVIDIA A100-SXM4-80GB"}}) == A100.label
    assert recorded_on({}) == ""


def test_jobs_of_other_manifests_are_found_by_their_shape(plan_of: PlanOf, tmp_path: Path) -> None:
    other = plan_of(("seeds: [0, 1]", "seeds: [7]"), name="other")
    plan, store = plan_of(), ResultStore(tmp_path)
    shapes = Shapes(plan.jobs)
    job = job_of(other, "scratch.")
    assert job.key not in {one.key for one in plan.jobs}
    stored(tmp_path, record(job, steps=30, train_s=15.0, images={"val": 0, "test": 0}))
    found = found_elsewhere({}, shapes, store, CPU)
    assert set(found) == {shapes.of[job_of(plan, "scratch.").key]}
    assert next(iter(found.values())).step_s == 0.5


def probe_file(results: Path, job: Job, device: Device, **measurement: Any) -> Path:
    shape = shape_of(job.spec)
    assert shape is not None
    path = probe_path(results, shape, device)
    content = {
        "step_s": 1.0, "evaluation_s": 0.1, "fixed_s": 2.0, "peak_bytes": 5, "checkpoint_bytes": 0, "data": "x",
        "wall_s": 10.0, "processor_s": 5.0, **measurement,
    }  # fmt: skip
    publish_json(path, {"version": VERSION, "shape": shape, "measurement": content})
    return path


def test_a_probe_counts_until_there_is_a_record_and_only_on_its_device(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    job, shapes = job_of(plan, "scratch."), Shapes(plan.jobs)
    path = probe_file(tmp_path, job, CPU)
    shape = shapes.shapes[shapes.of[job.key]]
    found = probed(tmp_path, shape, CPU)
    assert found is not None and (found.source, found.step_s, found.busy) == ("probed", 1.0, 2.0)
    assert probed(tmp_path, shape, A100) is None
    assert measured(plan, shapes, store, CPU, done=set())[shapes.of[job.key]].source == "probed"
    stored(tmp_path, record(job, steps=30, train_s=15.0, images={"val": 0, "test": 0}))
    assert measured(plan, shapes, store, CPU, done={job.key})[shapes.of[job.key]].source == "recorded"
    path.write_text(json.dumps({"version": VERSION + 1}))
    assert probed(tmp_path, shape, CPU) is None
    path.write_text("{half")
    assert probed(tmp_path, shape, CPU) is None


# --- the forecast ---------------------------------------------------------------------------------------------------


def forecast_with(plan: Plan, results: Path, costs: dict[str, Cost], *, slots: int = 2, device: Device = CPU) -> Any:
    shapes = Shapes(plan.jobs)
    by_shape = {shapes.of[job.key]: costs[job.kind] for job in plan.jobs if job.kind in costs}
    return forecast(
        plan, plan.jobs, costs=completed(by_shape, shapes, device), shapes=shapes, splits=Splits(plan, ResultStore(results)),
        device=device, slots=slots,
    )  # fmt: skip


def test_seconds_are_updates_validations_and_final_predictions(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()  # 20 phantoms of up to 3 views: 60 images, assumed as 42, 6 and 12
    cost = Cost(step_s=2.0, evaluation_s=0.5, fixed_s=7.0, peak_bytes=9, source="recorded")
    made = forecast_with(plan, tmp_path, {"finetune": cost, "pretrain": cost, "prepare": cost})
    by_name = {one.job.name: one for one in made.jobs.values()}
    # 30 updates, validations after 10, 20 and 30 of 6 images each, then 6 + 12 predictions.
    assert by_name["scratch.phantom.findings.10%.s0"].seconds == pytest.approx(7 + 30 * 2 + (3 * 6 + 18) * 0.5)
    # No final prediction; 30 updates, three validations.
    assert by_name["pretrain.refers.phantom"].seconds == pytest.approx(7 + 30 * 2 + 3 * 6 * 0.5)
    assert by_name["prepare.phantom.36px"].seconds == pytest.approx(7 + 60 * 2)
    assert made.assumed == (job_of(plan, "prepare").key,)
    assert made.schedule.total_s == pytest.approx(sum(one.seconds + HAND_OVER_S for one in made.jobs.values()))
    assert made.hours == pytest.approx(made.schedule.total_s / 3600)
    path = [made.jobs[key].job.kind for key in made.schedule.critical]
    assert path == ["prepare", "pretrain", "finetune"]


def test_bytes_of_pixels_weights_and_predictions(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()  # 60 images, assumed as 42, 6 and 12
    cost = Cost(step_s=1.0, evaluation_s=1.0, fixed_s=1.0, peak_bytes=1, checkpoint_bytes=77)
    found = forecast_with(plan, tmp_path, dict.fromkeys(("prepare", "pretrain", "finetune"), cost))
    bytes_of = {job.kind: found.jobs[job.key].disk_bytes for job in plan.jobs}
    job, prepare = job_of(plan, "scratch."), job_of(plan, "prepare.")
    assert len(job.spec["classes"]) > 1
    assert bytes_of == {
        "prepare": plan.images[prepare.key] * 36 * 36,
        "pretrain": 77,
        # A score of each class, 12 bytes once compressed.
        "finetune": (6 + 12) * len(job.spec["classes"]) * 12,
    }


def test_bytes_of_all_results_by_what_they_hold(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    kinds = Counter(job.kind for job in plan.jobs)
    classes = sum(len(job.spec["classes"]) for job in plan.jobs if job.kind == "finetune")
    device = Device(kind="cpu", name="a", threads=1)
    encoders = [modelled(job.spec, device).checkpoint_bytes for job in plan.jobs if job.kind == "pretrain"]
    assert kinds["prepare"] == 1 and encoders and min(encoders) > 4 * 2 * (4 * 32**2 + 2 * 32 * 64)
    assert disk_bytes(plan, Splits(plan, store)) == {
        "prepared images": 60 * 36 * 36,
        "checkpoints": sum(encoders),
        "predictions": (6 + 12) * classes * 12,
    }
    assert disk_bytes(Plan(name="m"), Splits(Plan(name="m"), store)) == {}


def test_splits_are_counted_once_the_data_are_prepared(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    data, job = job_of(plan, "prepare"), job_of(plan, "scratch.")
    folder = store.folder(data.key)
    folder.mkdir(parents=True)
    name = f"{job.spec['task']}:{job.spec['classes'][0]}"
    index = pd.DataFrame({
        "image_id": list("abcdefgh"), "study_id": list("aabbccdd"), "patient_id": list("aabbccdd"),
        "split": ["train"] * 4 + ["val"] * 2 + ["test"] * 2, "report": ["text"] * 6 + [None] * 2,
        name: pd.array([1, 0, None, None, 1, None, 0, 0], dtype="Int8"),
    })  # fmt: skip
    index.to_parquet(folder / "index.parquet")
    publish_json(folder / "run.json", {"key": data.key})
    splits = Splits(plan, store)
    counts = splits.of(job.spec)
    assert (counts.train, counts.val, counts.test, counts.counted) == (2, 1, 2, True)  # labelled images
    counts = splits.of(job_of(plan, "pretrain.refers").spec)
    assert (counts.train, counts.val, counts.test) == (2, 1, 0)  # studies with a report


def test_the_model_fills_what_was_never_measured_and_is_named(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()  # 60 images, assumed as 42, 6 and 12
    cost = Cost(step_s=1.0, evaluation_s=0.0, fixed_s=0.0, peak_bytes=0, source="probed")
    made = forecast_with(plan, tmp_path, {"pretrain": cost})
    sources = {one.name: one.sources for one in grouped(made.jobs.values(), lambda one: one.job.kind)}
    assert sources == {"prepare": {"model": 1}, "pretrain": {"probed": 2}, "finetune": {"model": 12}}


def test_a_preparation_of_nobody_knows_how_many_images_has_no_forecast(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = replace(plan_of(), images={})
    shapes = Shapes(plan.jobs)
    found = forecast(
        plan, plan.jobs, costs=completed({}, shapes, CPU), shapes=shapes, splits=Splits(plan, ResultStore(tmp_path)),
        device=CPU, slots=1,
    )  # fmt: skip
    assert [job.kind for job in found.uncounted] == ["prepare"]
    assert not {job.key for job in found.uncounted} & set(found.jobs)
    assert found.to_run == len(plan.jobs)
    assert found.assumed == (), "no splits are assumed of images that nobody counted"


def test_hours_are_those_of_the_gpus_a_worker_occupies(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    one = forecast_with(plan, tmp_path, {}, device=A100)
    four = forecast_with(plan, tmp_path, {}, device=replace(A100, gpus=4.0))
    assert four.hours == pytest.approx(4 * one.hours)
    assert (A100.unit, CPU.unit, replace(CPU, threads=3).units) == ("GPU", "CPU", 3.0)


@pytest.mark.parametrize(
    ("cores", "slots", "factor"),
    [
        (2, 2, 4.0),  # each has a core: all that was lost was lost to others
        (2, 4, 2.0),  # four workers on two cores take half of it from each other
        (1, 8, 1.0),  # nothing is left that others could have taken
        (0, 2, 4.0),  # unknown
    ],
)
def test_a_machine_of_ones_own_takes_the_processor_time(
    plan_of: PlanOf, tmp_path: Path, cores: int, slots: int, factor: float
) -> None:
    plan = plan_of()
    cost = Cost(step_s=2.0, evaluation_s=0.5, fixed_s=7.0, peak_bytes=9, source="probed", busy=4.0)
    costs = {"finetune": cost, "pretrain": cost, "prepare": cost}
    made = forecast_with(plan, tmp_path, costs, slots=slots, device=replace(CPU, cores=cores))
    assert made.schedule.total_s == pytest.approx(factor * made.undisturbed.total_s)
    assert made.schedule.wall_s == pytest.approx(factor * made.undisturbed.wall_s)
    alone = forecast_with(plan, tmp_path, {kind: replace(cost, busy=1.0) for kind in costs})
    assert alone.undisturbed is alone.schedule


def test_done_jobs_cost_nothing_and_hold_nobody_up(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    todo = [job for job in plan.jobs if job.kind == "finetune"]
    shapes = Shapes(plan.jobs)
    made = forecast(
        plan, todo, costs=completed({}, shapes, CPU), shapes=shapes, splits=Splits(plan, ResultStore(tmp_path)),
        device=CPU, slots=2,
    )  # fmt: skip
    assert set(made.jobs) == {job.key for job in todo}
    assert len(made.schedule.critical) == 1


# --- what is probed -------------------------------------------------------------------------------------------------


def probes_of(plan: Plan, results: Path, device: Device, costs: Mapping[str, Cost] | None = None) -> Any:
    return probes(Shapes(plan.jobs), costs or {}, Splits(plan, ResultStore(results)), device, slots=2)


def test_each_shape_is_probed_once_the_longest_first(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    wanted = probes_of(plan, tmp_path, CPU)
    assert len(wanted.jobs) == 6 and not wanted.refused
    assert {job.spec["steps"] for job in wanted.jobs} == {STEPS}
    shapes = Shapes(plan.jobs)
    known = {shapes.of[job_of(plan, "scratch.").key]: Cost(step_s=1, evaluation_s=0, fixed_s=0, peak_bytes=0)}
    assert len(probes_of(plan, tmp_path, CPU, known).jobs) == 5


def test_a_probe_that_would_take_long_has_fewer_updates_and_one_beyond_the_memory_is_refused(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    plan = plan_of(("{preset: smoke}", "{preset: paper}"))
    job = job_of(plan, "scratch.")
    assert modelled(job.spec, CPU).step_s > 10  # ViT-B/16 at batch 128 on one thread
    steps = {
        one.spec["job"]["name"]: one.spec["steps"]
        for one in probes_of(plan, tmp_path, replace(CPU, memory_bytes=0)).jobs
    }
    assert steps[job.name] == FEWEST
    refused = probes_of(plan, tmp_path, CPU).refused
    assert "GiB" in refused[job.name]
    assert not probes_of(plan, tmp_path, A100).refused
