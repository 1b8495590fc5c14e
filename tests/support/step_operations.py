"""Counts what one update of a training asks of a device: operations, copies between host and device, waits.

The recipe of the job itself runs with all of its networks and batches on torch's `meta` device, which has shapes and no
values. There, whatever would read a value raises, so an update that ends has no place at which the host waits for the
device; each copy goes through the dispatcher, where it is counted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import tiny_jobs
from refers_bench import plugins
from refers_bench.jobs import entry, probe_data, setup
from refers_bench.jobs.record import Record
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.loop import Training

META = torch.device("meta")
#: Updates before the one that is counted: the first ones build the optimiser's moments.
WARM_UP = 3
#: Split -> images that are prepared.
SAMPLE = {"train": 40, "val": 10, "test": 10}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of one update.

    Attributes:
        operations: on the device, by name; views are none.
        copies: between host and device, by the shape that was copied.
    """

    operations: Mapping[str, int]
    copies: Mapping[str, int]


class Counting(TorchDispatchMode):
    """Counts while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note one operation and do it."""
        result = func(*args, **(kwargs or {}))
        given, made = list(tensors(args)) + list(tensors((kwargs or {}).values())), list(tensors([result]))
        devices = {one.device.type for one in given if one.ndim or one.device == META} | {
            one.device.type for one in made
        }
        if "meta" not in devices:
            return result
        if "cpu" in devices:
            moved, waits = made[0] if made else given[0], not (kwargs or {}).get("non_blocking")
            self.copies[
                f"{func.overloadpacket.__name__} {tuple(moved.shape)}{', the host waits' if waits else ''}"
            ] += 1
        elif not func.is_view and func.overloadpacket.__name__ not in ("detach", "empty", "_unsafe_view"):
            self.operations[func.overloadpacket.__name__] += 1
        return result


def tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)


class Counted(Exception):
    """Ends a recipe once an update was counted; holds the counts."""


class OneUpdate(Training):
    """A training that stops after it has counted an update."""

    def run(self) -> Any:
        for _ in range(WARM_UP):
            self.update()
        with Counting() as counting:
            self.update()
        raise Counted(Counts(operations=dict(counting.operations), copies=dict(counting.copies)))


class Unwaited(Training):
    """On a GPU: a training of a few updates, in the last of which torch raises where the host waits for the device."""

    def run(self) -> Any:
        for _ in range(WARM_UP):
            self.update()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self.update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        raise Counted(Counts(operations={}, copies={}))


def of_job(job: Mapping[str, Any], context: JobContext) -> Counts:
    """What an update of a pre-training or fine-tuning takes, as its recipe does it."""
    with pytest.MonkeyPatch.context() as patch:
        if context.device == "meta":
            patch.setattr(setup, "Training", OneUpdate)
            patch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no `meta` device
        else:
            patch.setattr(setup, "Training", Unwaited)
        try:
            entry.recipe_of(job["kind"])(job, context)
        except Counted as counted:
            counts: Counts = counted.args[0]
            return counts
    raise AssertionError("the recipe trained nothing")


def of_method(name: str, folder: Path, *, device: str = "meta", **section: Any) -> Counts:
    """Of a pre-training by a method, on prepared images of random pixels."""
    method = plugins.load("method", name)
    params = method.Params(**method.small)
    job = tiny_jobs.pretrain_job(name, {"key": "0" * 16, "spec": {"dataset": "phantom"}}, **section)
    job["spec"]["params"] = params.model_dump()
    if method.discovery is not None:
        job["spec"]["discover"] = "1" * 16
    return of_job(job, prepared(job, folder, device=device))


def of_fine_tuning(name: str, folder: Path, *, device: str = "meta", **section: Any) -> Counts:
    """Of a fine-tuning of a method's network with random weights."""
    job = tiny_jobs.finetune_job(name, {"key": "0" * 16, "spec": {}}, None, **section)
    job["spec"]["params"] = plugins.load("method", name).small
    return of_job(job, prepared(job, folder, device=device))


def prepared(job: Mapping[str, Any], folder: Path, **how: Any) -> JobContext:
    """Folders with what the job reads, and `how` it is to run; on the `meta` device unless another is named."""
    context = JobContext(results=folder / "results", cache=folder / "cache", **{"device": "meta", **how})
    probe_data.synthetic(context.prepared("0" * 16), spec=job["spec"], sample=SAMPLE)
    if "discover" in job["spec"]:
        words = probe_data.words(setup.open_source(context, job["spec"]).index, spec=job["spec"])
        found = tiny_jobs.job("words", kind="discover")
        with Record({**found.__dict__, "key": "1" * 16}, ResultStore(context.results), context).published({}) as stage:
            schemas.write(stage / "words.parquet", words, "words")
    return context
