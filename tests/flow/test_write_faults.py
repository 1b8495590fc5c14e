"""Every write of a run may fail or be its last: the run ends with one line, and the next one completes to the same bytes.

A small real run (images, pre-training, fine-tuning, frozen features) is repeated with a fault at one write operation:
the process is killed, the operation fails once, or the disk is full from there on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import write_faults
from command_line import command

pytestmark = pytest.mark.skipif(write_faults.compiler() is None, reason="needs a C compiler, and LD_PRELOAD (Linux)")
#: Points in the fast tests: some at random, for each way to fail.
SAMPLED = 2
#: Exit codes of a run that met a fault: done, a place that cannot be used, incomplete, failed jobs.
SANE = (0, 2, 3, 4)
MANIFEST = """
version: 1
title: faults
protocol:
  preset: smoke
  overrides:
    pretrain: {steps: 2, warmup_steps: 1, validate_every: 1}
    finetune: {steps: 2, warmup_steps: 1, validate_every: 1}
data: {phantom: {phantom: {seed: 5, studies: 24, size: 40, views: 1}}}
source: {dataset: phantom}
methods: [lsp_transformer]
targets: [{dataset: phantom, tasks: [findings], evaluation: [finetune, linear_probe]}]
seeds: [0]
"""
FILES = {"faults.yaml": MANIFEST}
WORKERS = ["run", "faults.yaml", "--no-report"]
RUN = [*WORKERS, "--executor", "debug"]
FSCK = ["results", "fsck"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counter of write operations, compiled."""
    return write_faults.built(tmp_path_factory.mktemp("library"))


def wrong(found: dict[str, Any], *, alone: bool = True) -> list[str]:
    """What is not as promised after a fault at one point; jobs run in the process of the command alone, or in workers."""
    how, status, printed, again = found["point"][1], found["status"], found["printed"], found["again"]
    said = "failed (" in printed or "error: /" in printed
    checks = {
        f"exit code {status}": status == -9 if how == "kill" and alone else status in (*SANE, -9),
        "a traceback": "Traceback" not in printed,
        "no path is named": status in (0, -9) or said,
        f"the store holds {found['broken']}": not found["broken"],
        f"the next run ends with {again['status']}: {again['printed'][-2000:]}": again["status"] == 0,
        f"the next run gives another {found['different']}": not found["different"],
    }
    return [f"{found['operation']} ({how}): {text}: {printed[-2000:]}" for text, good in checks.items() if not good]


def ran(
    library: Path, folder: Path, points: Callable[[int], Iterable[tuple[int, str]]], arguments: list[str] = RUN
) -> list[dict[str, Any]]:
    """What became of each point, which are chosen by the number of write operations of the undisturbed run."""
    checks = [FSCK] if command(*FSCK, "--help").code == 0 else []
    chosen: list[tuple[int, str]] = []

    def choose(whole: Mapping[str, Any]) -> list[tuple[int, str]]:
        chosen.extend(points(len(whole["operations"])))
        return chosen

    whole, *found = write_faults.outcomes(library, folder, [arguments], choose, FILES, checks)
    assert whole["status"] == 0, whole["printed"]
    kinds = {operation.split()[1] for operation in whole["operations"]}
    assert kinds >= {"open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "truncate"}
    written = " ".join(whole["operations"])
    assert all(name in written for name in ("checkpoint.safetensors", "predictions.parquet", "run.json", "features"))
    assert [tuple(one["point"]) for one in found] == chosen
    return found


def sampled(seed: int, number: int) -> Callable[[int], list[tuple[int, str]]]:
    """So many operations at random, for each way to fail."""

    def points(count: int) -> list[tuple[int, str]]:
        chosen = random.Random(seed)
        return [(one, how) for how in write_faults.HOW for one in chosen.sample(range(1, count + 1), number)]

    return points


def test_a_run_survives_faults_at_some_writes(library: Path, tmp_path: Path) -> None:
    found = ran(library, tmp_path, sampled(3, SAMPLED))
    assert len(found) == len(write_faults.HOW) * SAMPLED
    assert [text for one in found for text in wrong(one)] == []


@pytest.mark.slow
def test_a_run_with_workers_survives_faults_at_some_writes_of_any_process(library: Path, tmp_path: Path) -> None:
    """Where a worker is killed, its job is tried again, and the run ends well."""
    found = ran(library, tmp_path, sampled(4, 2 * SAMPLED), WORKERS)
    assert len(found) == len(write_faults.HOW) * 2 * SAMPLED
    assert [text for one in found for text in wrong(one, alone=False)] == []
    assert 0 in [one["status"] for one in found if one["point"][1] == "kill"], "no worker was killed"


@pytest.mark.slow
@pytest.mark.parametrize("how", write_faults.HOW)
def test_a_run_survives_a_fault_at_every_write(library: Path, tmp_path: Path, how: str) -> None:
    found = ran(library, tmp_path, lambda count: [(number, how) for number in range(1, count + 1)])
    bad = [text for one in found for text in wrong(one)]
    print(f"{how}: {len(found)} faults, {len(bad)} problems")
    assert bad == []
