"""Damaged prepared images give no figures: cells fail, the message says what to do, and doing it mends them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench.plan.lock import last

FILES = {
    "small.yaml": """
version: 1
title: A small run
protocol: {preset: smoke, overrides: {finetune: {steps: 2, warmup_steps: 1, validate_every: 2}}}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [100%]}]
seeds: [0]
execution: {cpu_slots: 1}
"""
}


CELL = "scratch.phantom.findings.100%.s0"


@pytest.fixture
def prepared(cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of images that the manifest has prepared; nothing is trained yet."""
    monkeypatch.chdir(tmp_path)
    cli("run", "small.yaml", "--only", "prepare*", "--no-report")
    plan = last(tmp_path / "results" / "small" / "plan.lock.json")
    assert plan is not None
    (key,) = (job.key for job in plan.jobs if job.kind == "prepare")
    (pixels,) = tmp_path.rglob(f"prepared/{key}/images.u8")
    return pixels.parent


@pytest.mark.parametrize(("name", "said"), [("images.u8", "has another SHA-256"), ("meta.json", "damaged: no JSON")])
def test_a_cell_on_damaged_images_fails_until_they_are_prepared_again(
    cli: Commands, prepared: Path, name: str, said: str
) -> None:
    before, size = (prepared / name).read_bytes(), (prepared / name).stat().st_size
    (prepared / name).write_bytes(bytes(size))
    cli("run", "small.yaml", "--no-report", code=4)
    out, _ = cli("plan", "small.yaml", "--explain", CELL)
    assert "failed (data_error)" in out and said in out and f"{prepared / name}: " in out and "delete the folder" in out
    shutil.rmtree(prepared)
    cli("run", "small.yaml", "--no-report")
    assert (prepared / name).read_bytes() == before


@pytest.mark.parametrize("plans", [(), ("small",)], ids=["all", "of a plan"])
def test_fsck_finds_damaged_images_and_marks_them_as_not_prepared(
    cli: Commands, prepared: Path, plans: tuple[str, ...]
) -> None:
    before = (prepared / "images.u8").read_bytes()
    assert "1 folder of the cache checked, 0 damaged" in cli("results", "fsck", *plans).out
    (prepared / "images.u8").write_bytes(bytes(len(before)))
    out, _ = cli("results", "fsck", *plans, code=1)
    assert f"{prepared / 'images.u8'}: " in out and "1 folder of the cache checked, 1 damaged" in out
    assert f"marked as not made: {prepared}" in cli("results", "fsck", *plans, "--repair", code=1).out
    cli("run", "small.yaml", "--only", "prepare*", "--no-report")
    assert (prepared / "images.u8").read_bytes() == before
    cli("results", "fsck", *plans)
