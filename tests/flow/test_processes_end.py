"""No process outlives its coordinator: whatever is killed, and when, all that it has started is gone within 5 s."""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from command_line import command
from finished_plan import finish
from marked_processes import Marked
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc (Linux)")
#: The promise, in seconds.
GONE_S = 5.0
#: A kill comes within so many seconds.
SPAN_S = 6.0
MANIFEST = """
version: 1
title: killed
protocol: {preset: smoke, overrides: {finetune: {steps: 6, warmup_steps: 1, validate_every: 3}}}
data: {phantom: {phantom: {seed: 5, studies: 60, size: 40, views: 1}}}
source: {dataset: phantom}
methods: [scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
execution: {cpu_slots: 2}
"""
RUN, REPORT = ("run", "killed.yaml"), ("report", "killed")
PREPARE = ("data", "prepare", "covid19_idc")
FORECAST = ("plan", "killed.yaml", "--forecast", "--probe-again")

#: Processes of each, this included: keeper of semaphores, server that forks, and at least one that works.
ALL = {RUN: 4, REPORT: 4, PREPARE: 2, FORECAST: 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest and the results of a run of it."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "killed.yaml").write_text(MANIFEST)
    results, cache = (folder / "whole" / name for name in ("results", "cache"))
    done = command("--results", str(results), "--cache", str(cache), "plan", str(folder / "killed.yaml"))
    assert done.code == 0, done.err
    finish(results, cache, "killed")
    return folder


def draw_images(folder: Path) -> None:
    """Images that take seconds to prepare."""
    if not (folder / "images").exists():
        (folder / "images").mkdir()
        phantom = PhantomParams(studies=600, size=128, views=1)
        plugins.load("dataset", "covid19_idc").write_layout(folder / "images", phantom)


def environment(folder: Path, name: str) -> dict[str, str]:
    """Results and cache of a name, and where the images are."""
    return {
        "XDG_CACHE_HOME": str(folder / name / "cache"),
        "REFERS_BENCH_RESULTS": str(folder / name / "results"),
        "REFERS_BENCH_ROOT_COVID19_IDC": str(folder / "images"),
        "OMP_NUM_THREADS": "1",
    }


def fresh(folder: Path, killed: tuple[str, ...]) -> dict[str, str]:
    """The environment of a command that has all its work before it."""
    name = "whole" if killed == REPORT else "again"
    shutil.rmtree(folder / "again", ignore_errors=True)
    shutil.rmtree(folder / "whole" / "results" / "killed" / "report", ignore_errors=True)
    for drawings in (folder / "whole" / "results").rglob("drawings"):
        shutil.rmtree(drawings)
    return environment(folder, name)


@pytest.mark.parametrize(
    ("killed", "kills"),
    [
        *[pytest.param(command, 1, id=f"{command[0]}-once") for command in (RUN, REPORT)],
        *[pytest.param(command, 30, id=command[0], marks=pytest.mark.slow) for command in (RUN, REPORT)],
        *[pytest.param(command, 9, id=command[0], marks=pytest.mark.slow) for command in (PREPARE, FORECAST)],
    ],
)
def test_all_processes_are_gone_with_their_coordinator(place: Path, killed: tuple[str, ...], kills: int) -> None:
    """Of three kills one comes at any moment, one once all processes run, and one while these are stopped."""
    if killed == PREPARE:
        draw_images(place)
    moments, longest_s, most, left = random.Random(kills), 0.0, 0, []
    for number in range(1, kills + 1):
        marked = Marked(*killed, cwd=place, environment=fresh(place, killed))
        while number % 3 and marked.process.poll() is None and len(marked.alive()) < ALL[killed]:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1 if number % 3 else SPAN_S))
        if number % 3 == 2:
            marked.stop_others()
        others, seconds, stayed = marked.killed(within_s=2 * GONE_S)
        longest_s, most, left = max(longest_s, seconds), max(most, others), left + stayed
    print(f"{killed[0]}: {kills} kills, at most {most} others, {len(left)} left, longest {longest_s:.2f} s")
    assert left == [] and longest_s < GONE_S
    assert most >= ALL[killed] - 1, "not all processes were seen"
