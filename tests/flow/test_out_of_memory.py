"""Out of memory at batch 128: the cell ends in micro-batches, as a run that began with them, and is footnoted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench.analysis.results import load as load_results
from refers_bench.execution.engine import ENTRY, PRELOAD, Outcome, Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.execution.progress import PlainView
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import load_roots
from refers_bench.manifest.schema import RETRIES
from refers_bench.plan import lock
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan
from refers_bench.reporting import page
from refers_bench.reports import cells
from refers_bench.store.results import ResultStore

#: Machines whose memory holds no more radiographs in a network at once, while it trains, than an entry's name says.
SMALL = """
import torch
from refers_bench.jobs import entry
from refers_bench.nets.radiograph_transformer import RadiographTransformer

forward = RadiographTransformer.forward

def limited(limit, error):
    def forward_or_not(self, x_BCHW):
        if self.training and len(x_BCHW) > limit:
            raise error
        return forward(self, x_BCHW)

    def run(job, context):
        RadiographTransformer.forward = forward_or_not
        try:
            entry.run(job, context)
        finally:
            RadiographTransformer.forward = forward

    return run

gpu_64 = limited(64, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
gpu_9 = limited(9, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
host_64 = limited(64, MemoryError("no more memory"))
host_0 = limited(0, MemoryError("no more memory"))
"""
MANIFEST = """
version: 1
protocol:
  preset: smoke
  overrides:
    finetune: {batch_size: 128, steps: 4, validate_every: 2, warmup_steps: 1, accumulate: 1}
    pretrain: {batch_size: 12, steps: 3, validate_every: 3, warmup_steps: 1, budget: updates}
data: {phantom: {phantom: {seed: 5, studies: 60, size: 40, views: 3}}}
source: {dataset: phantom}
methods: METHODS
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
FILES = {"small_machine.py": SMALL}


@pytest.fixture(autouse=True)
def _workers_find_small_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(home)


def planned(home: Path, methods: str) -> Plan:
    (home / "memory.yaml").write_text(MANIFEST.replace("METHODS", methods))
    return expand(load(home / "memory.yaml"), load_roots(), cache=home / "cache")


class Listening(PlainView):
    def __init__(self) -> None:
        super().__init__(1)
        self.endings: list[tuple[str, str]] = []

    def ended(self, job: Any, category: str, seconds: float, message: str) -> None:
        self.endings.append((job.kind, category))


def ran(home: Path, plan: Plan, results: str, **how: Any) -> tuple[Outcome, list[tuple[str, str]]]:
    settings = Settings(
        results=home / results, cache=home / "cache", slots=[Slot(device="cpu")], preload=PRELOAD, retries=RETRIES
    )
    lock.write(plan, home / results)
    view = Listening()
    return execute(plan.jobs, replace(settings, **how), view), view.endings


def record(home: Path, results: str, key: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ResultStore(home / results).folder(key) / "run.json").read_text())
    return content


def same(home: Path, key: str, name: str, first: str, second: str) -> bool:
    one, other = (ResultStore(home / results).folder(key) / name for results in (first, second))
    return one.read_bytes() == other.read_bytes()


def footnotes(home: Path, results: str) -> str:
    """Of the table of all cells."""
    table = cells.build(load_results(home / results, "memory"))
    return " ".join(note.text for note in table.footnotes())


@pytest.mark.parametrize("category", ["cuda_oom", "host_oom"])
def test_out_of_memory_at_batch_128(home: Path, category: str) -> None:
    entry = "small_machine:gpu_64" if category == "cuda_oom" else "small_machine:host_64"
    plan = planned(home, "[scratch]")
    (cell,) = (job.key for job in plan.jobs if job.kind == "finetune")
    outcome, endings = ran(home, plan, "small", entry=entry)
    assert outcome.failed == {}
    assert endings == [("prepare", "ok"), ("finetune", category), ("finetune", "ok")]
    found = record(home, "small", cell)
    assert found["attempts"] == 2
    assert found["facts"]["accumulation"] == {"parts": 2, "after": category, "batch_statistics": False}
    assert ResultStore(home / "small").failure(cell) is None

    # The same, asked for directly on a machine with enough memory; and at once, which rounds otherwise.
    ran(home, plan, "asked", entry=ENTRY, micro_batches=2)
    assert record(home, "asked", cell)["facts"]["accumulation"] == {
        "parts": 2, "after": "", "batch_statistics": False
    }  # fmt: skip
    assert same(home, cell, "predictions.parquet", "small", "asked")
    assert "batch processed in 2 parts after running out of memory" in footnotes(home, "small")
    assert "batch processed in 2 parts as asked for" in footnotes(home, "asked")
    if category == "host_oom":
        return
    ran(home, plan, "large", entry=ENTRY)
    assert "accumulation" not in record(home, "large", cell)["facts"]
    assert not same(home, cell, "predictions.parquet", "small", "large")

    assert "in 2 parts" not in footnotes(home, "large")
    assert "batch processed in 2 parts after running out of memory" in page.printed(home / "small", "memory")


def test_a_contrast_over_the_batch_keeps_all_its_studies(home: Path) -> None:
    """REFERS' pre-training fits in 4 parts of 3 studies of 3 views each."""
    plan = planned(home, "[refers]")
    plan = replace(plan, jobs=tuple(job for job in plan.jobs if job.kind != "finetune"), cells=())
    (key,) = (job.key for job in plan.jobs if job.kind == "pretrain")
    outcome, endings = ran(home, plan, "small", entry="small_machine:gpu_9")
    assert outcome.failed == {}
    assert endings == [("prepare", "ok"), *[("pretrain", "cuda_oom")] * 2, ("pretrain", "ok")]
    assert record(home, "small", key)["facts"]["accumulation"]["parts"] == 4
    ran(home, plan, "asked", entry=ENTRY, micro_batches=4)
    assert same(home, key, "checkpoint.safetensors", "small", "asked")


def test_one_example_too_many_is_a_failure_that_says_so(home: Path) -> None:
    plan = planned(home, "[scratch]")
    (cell,) = (job.key for job in plan.jobs if job.kind == "finetune")
    outcome, endings = ran(home, plan, "none", entry="small_machine:host_0")
    assert outcome.failed == {cell: "host_oom"}
    assert [category for kind, category in endings if kind == "finetune"] == ["host_oom"] * 8
    failure = ResultStore(home / "none").failure(cell) or {}
    assert failure["attempts"] == 8
    assert "one example at a time already (128 parts)" in failure["message"]
    assert load_results(home / "none", "memory").planned[0].run.state == "failed"
