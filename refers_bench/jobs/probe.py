"""Measures what an update of a job costs on this device: runs the job itself, shortened, in temporary folders.

A probe runs the real recipe on a sample of the prepared images, or on random pixels and texts of the same shape where
nothing is prepared yet. Nothing of it reaches the results store; its measurement is one file below the probes.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from refers_bench import plugins
from refers_bench.data.cache_meta import META
from refers_bench.data.prepare import PreparedImages, prepare
from refers_bench.errors import DataError
from refers_bench.files import publish_json
from refers_bench.jobs import entry, probe_data, setup
from refers_bench.jobs.prepare import read_index
from refers_bench.jobs.record import Record
from refers_bench.plan.forecast.cost_model import batch_size
from refers_bench.plan.forecast.measurements import PROBES, VERSION
from refers_bench.plan.forecast.splits import preparations
from refers_bench.plugins import Dataset
from refers_bench.store import provenance, schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import reader_of
from refers_bench.store.results import ResultStore

#: Validations of a probe: the first one may pay for what a device does once.
VALIDATIONS = 3


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Measure one shape and store ``<results>/probes/<key>.json``.

    Args:
        job: of kind "probe"; its specification holds the job that is cut short, its shape and the device's label, and
            how many updates to measure (`refers_bench.plan.forecast.probes`).
        context: folders and device.

    Raises:
        DataError: the job's data or its own specification cannot be used.
        StorageError: the results cannot be written.
    """
    spec, place = job["spec"], context.results / PROBES
    work = place / f".{job['key']}.work"
    shutil.rmtree(work, ignore_errors=True)
    _warm(context)
    _reset_peak()
    wall, processor = time.perf_counter(), time.process_time()
    inner = replace(context, results=work / "results", cache=work / "cache")
    try:
        if spec["job"]["kind"] == "prepare":
            measurement = _preparation(spec, replace(inner, processes=1), work)
        else:
            measurement = _training(spec, context, inner)
        measurement |= {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    content = {
        "version": VERSION,
        "key": job["key"],
        "name": spec["job"]["name"],
        **{name: spec[name] for name in ("shape", "device")},
        "measurement": measurement,
        "provenance": provenance.provenance(device=context.device, threads=context.threads),
    }
    publish_json(place / f"{job['key']}.json", content)


def _warm(context: JobContext) -> None:
    """Pay what a worker pays once, so that it is not counted as this job's."""
    weight = torch.zeros(2, 2, device=context.device, requires_grad=True)
    for optimizer in (torch.optim.SGD([weight], lr=0.1), torch.optim.AdamW([weight], lr=0.1)):
        (weight @ weight).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


# --- trainings ------------------------------------------------------------------------------------------------------


def _training(spec: Mapping[str, Any], context: JobContext, inner: JobContext) -> dict[str, Any]:
    short, steps = _short(spec)
    data, store = spec["job"]["spec"], ResultStore(inner.results)
    keys = preparations(data)
    real = all((context.prepared(key) / META).is_file() for key in keys)
    # Of each of several sources its share: a probe looks at as many images as with one.
    sample = {split: -(-count // len(keys)) for split, count in spec["sample"].items()}
    for key in keys:
        if real:
            probe_data.sampled(context.prepared(key), inner.prepared(key), spec=data, sample=sample)
        else:
            probe_data.synthetic(inner.prepared(key), spec=data, sample=sample)
    if "discover" in data:
        words = probe_data.words(setup.open_source(inner, data).index, spec=data)
        with Record({**spec["job"], "key": data["discover"]}, store).published({}) as stage:
            schemas.write(stage / "words.parquet", words, "words")
    job = {**spec["job"], "spec": short}
    entry.recipe_of(job["kind"])(job, inner)
    record = store.record(job["key"])
    if record is None:
        raise DataError(f"{job['name']} ended without a record")
    found = _measured(record, short, _update_seconds(store, record, steps, warm_up=spec["warm_up"]))
    checkpoint = store.folder(job["key"]) / "checkpoint.safetensors"
    return {
        **found,
        "peak_bytes": _peak(record),
        "steps": spec["steps"],
        "warm_up": spec["warm_up"],
        "checkpoint_bytes": checkpoint.stat().st_size if checkpoint.is_file() else 0,
        "data": "prepared images" if real else "random pixels: nothing is prepared",
    }


def _short(spec: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The job's specification with few updates, and nothing that another job or a file would have to provide."""
    short = copy.deepcopy(dict(spec["job"]["spec"]))
    steps = spec["steps"] + spec["warm_up"]
    if short["kind"] == "discover":
        short["discovery"] |= {"feature_steps": steps, "words": min(4, short["discovery"]["words"])}
        return short, steps
    section = short[short["kind"]]
    section |= {"steps": steps, "warmup_steps": 1, "validate_every": -(-steps // VALIDATIONS), "patience": 0}
    short["network"] |= {"init": "random", "init_path_name": ""}
    short.pop("weights", None)
    if short["kind"] == "finetune":
        short |= {"pretrain": None, "label_ratio": 1.0}
    else:
        section["text_encoder"] |= {"path_name": ""}
    return short, steps


def _update_seconds(store: ResultStore, record: Mapping[str, Any], steps: int, *, warm_up: int) -> float:
    """Mean seconds of an update, the first ones left out.

    The history of a short training has one row an update, with its throughput: of equal batches the seconds are as
    its inverse.
    """
    history = schemas.read(store.folder(record["key"]) / "history.parquet", "history")
    rates = history.loc[history["name"] == "images_per_s", "value"].to_numpy()
    if len(rates) != steps or not (rates > 0).all():
        raise DataError(f"{len(rates)} throughputs of {steps} updates in {record['name']}")
    share = (1 / rates) / (1 / rates).sum()
    return float(record["facts"]["train_s"] * share[warm_up:].mean())


def _measured(record: Mapping[str, Any], short: Mapping[str, Any], step_s: float) -> dict[str, float]:
    """Seconds of an update, of a radiograph's or study's evaluation, and of all else."""
    facts, kind = record["facts"], record["kind"]
    examples = facts["examples"] if kind == "pretrain" else facts.get("images", {})
    validation_s, val = facts["validation_s"] or 0.0, examples.get("val", 0)
    # Where there was no validation: a pass without gradient is about a third of an update's.
    evaluation_s = validation_s / val if val and validation_s else step_s / (3 * batch_size(short))
    evaluated = facts["validations"] * val + (examples["val"] + examples["test"] if kind == "finetune" else 0)
    rest = record["wall_s"] - facts["train_s"] - evaluated * evaluation_s
    return {"step_s": step_s, "evaluation_s": evaluation_s, "fixed_s": max(0.0, rest)}


# --- preparations ---------------------------------------------------------------------------------------------------


def _preparation(spec: Mapping[str, Any], inner: JobContext, work: Path) -> dict[str, Any]:
    """Seconds an image, of a few that are decoded; phantoms are drawn first."""
    whole, started = spec["job"]["spec"], time.perf_counter()
    if whole["phantom"]:
        # Ten studies at least; drawing is part of the cost.
        studies = max(10, spec["decoded"] // whole["phantom"]["views"])
        few = {**whole, "phantom": {**whole["phantom"], "studies": studies}}
        entry.recipe_of("prepare")({**spec["job"], "spec": few}, inner)
        images, fixed = PreparedImages.open(inner.prepared(spec["job"]["key"])).meta["count"], 0.0
    else:
        dataset: Dataset = plugins.load("dataset", reader_of(whole))
        root, params = inner.data_root(whole["dataset"]), dataset.Params(**whole["params"])
        index = read_index(dataset, whole, root=root, context=inner)
        fixed, started = time.perf_counter() - started, time.perf_counter()
        few_rows = index.sample(min(spec["decoded"], len(index)), random_state=0)
        images = len(few_rows)
        prepare(
            few_rows,
            root=root,
            folder=inner.prepared(spec["job"]["key"]),
            work=work / "chunks",
            size=whole["prepared_size"],
            dicom=dataset.dicom(params),
            formats=dataset.formats(params),
            allow_missing=images - 1,
        )
    return {
        "step_s": (time.perf_counter() - started) / images,
        "evaluation_s": 0.0,
        "fixed_s": fixed,
        "checkpoint_bytes": 0,
        "peak_bytes": _peak(None),
        "steps": images,
        "warm_up": 0,
        "data": f"{images} images decoded",
    }


# --- memory ---------------------------------------------------------------------------------------------------------


def _reset_peak() -> None:
    """Reset the record of this process's largest resident memory, where Linux allows it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak(record: Mapping[str, Any] | None) -> int:
    """Largest memory: of the GPU, where the job has one, or of this process since `_reset_peak`."""
    gpu = record["provenance"].get("gpu") if record else None
    if gpu:
        return int(gpu["peak_mem_bytes"])
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return found[0] if found else provenance.peak_memory_bytes()
