"""Whatever dies, fills up or fails: nothing is lost, nothing half-written, and the rest goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from command_line import Commands, command
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.files import read_json
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.plan.lock import last
from refers_bench.store.results import ResultStore
from tiny_jobs import job

KILLS = 20
ROOT = Path(__file__).resolve().parents[2]


def published(results: Path) -> dict[str, str]:
    """SHA-256 of every file below every published result; fails on a result that is not whole."""
    store = results / "store"
    found = {}
    for folder in sorted(store.iterdir()) if store.is_dir() else []:
        if folder.name.startswith("."):  # staged: nobody reads it
            continue
        files = [folder] if folder.is_file() else sorted(folder.iterdir())
        for path in files:
            if path.suffix == ".json":
                read_json(path)
            elif path.suffix == ".parquet":
                pq.read_table(path)
            found[str(path.relative_to(store))] = hashlib.sha256(path.read_bytes()).hexdigest()
        assert folder.is_file() or folder / "run.json" in files, f"{folder} stands without its record"
    return found


def leftovers(results: Path) -> list[str]:
    """Staged folders and claims that nobody cleaned up."""
    return [str(path.relative_to(results)) for path in results.rglob("*") if path.suffix in (".part", ".old")] + [
        path.name for path in (results / "work" / "claims").glob("*.json")
    ]


# --- the orchestrator is killed -------------------------------------------------------------------------------------


def test_orchestrator_killed_at_random_moments(
    orchestrator: Any, kill_all: Callable[..., list[int]], tmp_path: Path
) -> None:
    first = [job(f"first{i}", sleep=0.02) for i in range(40)]
    jobs = first + [job(f"second{i}", one, sleep=0.02) for i, one in enumerate(first)]
    moments, before, folder = random.Random(7), {}, tmp_path / "results" / "store"

    def done() -> int:
        return sum(not path.name.startswith(".") for path in folder.glob("*"))

    for more in (0, 1, 9, 2, 0, 5, 1, 12):  # jobs that it has time to end
        process, there = orchestrator.start(jobs), done()
        deadline = time.monotonic() + 60
        while done() < there + more:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.03) if more else moments.uniform(0.1, 0.7))
        assert kill_all(process) == [], "workers outlive their orchestrator"
        now = published(tmp_path / "results")
        assert {name: now.get(name) for name in before} == before, "a finished result was lost or rewritten"
        before = now
    outcome = orchestrator.run(jobs)
    after = published(tmp_path / "results")
    assert outcome["failed"] == {}
    assert {name.partition("/")[0] for name in after} == {one.key for one in jobs}
    assert {name: after[name] for name in before} == before
    assert leftovers(tmp_path / "results") == []


@pytest.mark.slow
def test_smoke_manifest_killed_at_random_moments(tmp_path: Path, kill_all: Callable[..., list[int]]) -> None:
    """20 SIGKILLs of `refers-bench run manifests/smoke.yaml`; the bytes are those of an undisturbed run."""
    manifest = ROOT / "manifests" / "smoke.yaml"

    def start(name: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name), "REFERS_BENCH_SAVE_SECONDS": "0.2"}
        command = [sys.executable, "-m", "refers_bench", "--results", str(tmp_path / name / "results"), "run"]
        return subprocess.Popen(
            [*command, str(manifest), "--no-report"], env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    undisturbed = start("undisturbed")
    _, err = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, err
    moments, before = random.Random(11), {}
    for _ in range(KILLS):
        process = start("killed")
        time.sleep(moments.uniform(0.5, 12))
        assert kill_all(process) == [], "workers outlive their orchestrator"
        now = published(tmp_path / "killed" / "results")
        assert {name: now.get(name) for name in before} == before, "a finished result was lost or rewritten"
        before = now
    process = start("killed")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err

    def numbers(name: str) -> dict[str, str]:
        kept = ("predictions.parquet", "metrics.parquet", "subset.json", "checkpoint.safetensors", "index.parquet")
        files = published(tmp_path / name / "results")
        return {path: value for path, value in files.items() if path.endswith(kept)}

    assert numbers("killed") == numbers("undisturbed")
    assert leftovers(tmp_path / "killed" / "results") == []


def test_two_orchestrators_share_the_work(orchestrator: Any, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    jobs = [job(f"one{i}", sleep=0.05, diary=str(diary)) for i in range(30)]
    processes = [orchestrator.start(jobs) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert {name.partition("/")[0] for name in published(tmp_path / "results")} == {one.key for one in jobs}
    lines = [json.loads(line) for line in diary.read_text().splitlines()]
    begun = Counter(line["name"] for line in lines if line["what"] == "began")
    assert begun == {one.name: 1 for one in jobs}, "a job ran twice"
    assert leftovers(tmp_path / "results") == []


def test_what_has_failed_in_one_orchestrator_is_not_run_again_in_another(orchestrator: Any, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    bad = job("bad", sleep=300, diary=str(diary))
    jobs = [bad, job("good", diary=str(diary)), job("needs bad", bad)]

    def begun() -> dict[str, int]:
        lines = [json.loads(line) for line in diary.read_text().splitlines()] if diary.exists() else []
        return {line["name"]: line["pid"] for line in lines if line["what"] == "began"}

    processes = []
    for name in ("bad", "good"):  # the first is at the one while the second does the other
        processes.append(orchestrator.start(jobs, workers=1, retries={}))
        deadline = time.monotonic() + 60
        while name not in begun():
            assert time.monotonic() < deadline, name
            time.sleep(0.05)
    os.kill(begun()["bad"], signal.SIGKILL)
    for process in processes:
        out, err = process.communicate(timeout=60)
        outcome = json.loads(out.splitlines()[-1])
        assert (outcome["failed"], outcome["blocked"]) == ({bad.key: "crash"}, [jobs[2].key]), err
    assert [json.loads(line)["name"] for line in diary.read_text().splitlines()] == ["bad", "good", "good"]


# --- a job fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "category", "message"),
    [
        (
            "memory",
            "host_oom",
            "MemoryError: asked for by the job; a job of this kind has no batches to process in parts",
        ),
        ("nan", "nan", "NotFiniteLoss: asked for by the job"),
        ("data", "data_error", "DataError: asked for by the job"),
        ("bug", "crash", "RuntimeError: asked for by the job"),
        ("mistake", "crash", "KeyError: 'asked for by the job'"),
        ("exit", "crash", "worker died with exit status 13"),
        ("kill", "crash", "worker died with exit status -9"),
        ("hang", "timeout", "over its time limit of 1 s"),
    ],
)
def test_a_failing_job_is_recorded_and_the_rest_goes_on(
    orchestrator: Any, tmp_path: Path, fail: str, category: str, message: str
) -> None:
    bad = job("bad", fail=fail, fail_attempts=2)
    jobs = [bad, job("needs bad", bad), *(job(f"good{i}") for i in range(4))]
    limit = 1.0 if fail == "hang" else 60.0
    outcome = orchestrator.run(jobs, time_limit=limit)
    assert (outcome["failed"], outcome["blocked"]) == ({"bad": category}, ["needs bad"])
    assert outcome["done"] == [f"good{i}" for i in range(4)]
    store = ResultStore(tmp_path / "results")
    failure = store.failure(bad.key) or {}
    assert (failure["category"], failure["message"], failure["name"]) == (category, message, "bad")
    assert store.state(bad.key) == "failed"
    # A crash is tried twice in a run (it may have been the machine's) unless it would come again; asked again, it is tried
    # again, and once it works nothing of the failure is left.
    assert failure["attempts"] == (2 if category == "crash" and fail != "mistake" else 1)
    while (outcome := orchestrator.run(jobs, time_limit=limit))["failed"]:
        assert outcome["failed"] == {"bad": category}
    assert store.failure(bad.key) is None
    assert {store.state(one.key) for one in jobs} == {"done"}
    assert leftovers(tmp_path / "results") == []


def test_a_crash_that_does_not_come_again_is_no_failure(orchestrator: Any) -> None:
    outcome = orchestrator.run([job("once", fail="kill", fail_attempts=1), job("good")])
    assert (outcome["failed"], outcome["done"]) == ({}, ["good", "once"])


# --- a manifest whose cells fail ------------------------------------------------------------------------------------


MANIFEST = """
version: 1
title: fault
protocol: {preset: smoke, overrides: {finetune: {steps: 6, warmup_steps: 1, validate_every: 3}}}
data: {phantom: {phantom: {seed: 5, studies: 60, size: 40, views: 1}}}
source: {dataset: phantom}
methods:
  - scratch
  - {id: scratch, name: diverging, overrides: {finetune: {optimizer: sgd, learning_rate: 1.0e+30, clip_norm: 0.0}}}
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
"""


def states(home: Path, name: str = "fault") -> dict[str, str]:
    """State of every job of the last plan by name."""
    plan = last(home / "results" / name / "plan.lock.json")
    assert plan is not None
    return {job.name: ResultStore(home / "results").state(job.key) for job in plan.jobs}


def test_a_diverging_cell_is_shown_as_failed(home: Path, cli: Commands) -> None:
    (home / "fault.yaml").write_text(MANIFEST)
    out, err = cli("run", "fault.yaml", code=4)
    failed = {name for name, state in states(home).items() if state == "failed"}
    assert failed == {"diverging.phantom.findings.100%.s0", "diverging.phantom.findings.100%.s1"}
    assert {state for name, state in states(home).items() if name not in failed} == {"done"}
    assert "failed (nan): diverging.phantom.findings.100%.s0" in err
    assert "failed" in out, "the printed table does not say that a cell failed"
    page = (home / "results" / "fault" / "report" / "index.html").read_text()
    assert "NotFiniteLoss" in page


def test_an_unreadable_image_fails_its_dataset_and_is_named(
    home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = home / "collection"
    root.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(root, PhantomParams(studies=60, size=40, views=1))
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    text = MANIFEST.replace("targets: [", "targets: [{dataset: covid19_idc, tasks: [covid19_vs_other]}, ").replace(
        "  - {id: scratch, name: diverging", "#"
    )
    (home / "fault.yaml").write_text(text)
    image = sorted((root / "images").iterdir())[3]
    content = image.read_bytes()
    image.write_bytes(content[:150])
    _, err = cli("run", "fault.yaml", "--no-report", code=4)
    assert image.name in err
    wanted = {name: "done" if "phantom" in name else "to do" for name in states(home)}
    (prepare,) = (name for name in wanted if name.startswith("prepare.covid19"))
    assert states(home) == {**wanted, prepare: "failed"}
    image.write_bytes(content)
    cli("run", "fault.yaml", "--no-report")
    assert set(states(home).values()) == {"done"}


# --- the results folder cannot be written ---------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs on `folder`; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="mounts a tmpfs (Linux)")
@pytest.mark.parametrize("step", [256, pytest.param(96, marks=pytest.mark.slow)])
def test_full_disk_keeps_what_is_there(home: Path, step: int) -> None:
    """A real full file system, again and again with a little more room."""
    (home / "fault.yaml").write_text(MANIFEST.replace("  - {id: scratch, name: diverging", "#"))
    results, before, refusals = home / "small", {}, 0
    with mounted(results, "size=64k"):
        for size in range(step, 2000, step):
            code, _, printed = command("--results", str(results), "run", "fault.yaml")
            now = published(results)
            assert {name: now.get(name) for name in before} == before, "a finished result was lost or rewritten"
            before = now
            if code == 0:
                break
            assert code == 2, printed
            assert "no space left on the device" in printed
            refusals += 1
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(results)], check=True)
        assert code == 0, printed
        assert refusals >= 2
        assert len(json.loads((results / "fault" / "plan.lock.json").read_text())["jobs"]) == len(
            [name for name in before if name.endswith("run.json")]
        )


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="mounts a tmpfs (Linux)")
def test_read_only_results_are_refused_before_any_work(home: Path, cli: Commands) -> None:
    (home / "fault.yaml").write_text(MANIFEST.replace("  - {id: scratch, name: diverging", "#"))
    command = ("--results", str(home / "small"))
    with mounted(home / "small", "size=4m"):
        cli(*command, "run", "fault.yaml", "--no-report", "--max-jobs", "2", code=3)
        before = published(home / "small")
        subprocess.run(["mount", "-o", "remount,ro", str(home / "small")], check=True)
        _, printed = cli(*command, "run", "fault.yaml", code=2)
        assert "the file system is read-only; allowed: a writable folder" in printed
        assert published(home / "small") == before
        # What is there can still be looked at.
        cli(*command, "status", "fault")
        subprocess.run(["mount", "-o", "remount,rw", str(home / "small")], check=True)
        cli(*command, "run", "fault.yaml", "--no-report")
        after = published(home / "small")
        assert {name: after[name] for name in before} == before


def test_one_cell_over_its_time_limit(home: Path, cli: Commands) -> None:
    """A real training that never ends in time; the other method's cells are done."""
    steps = resolve_sections("smoke")["finetune"]["steps"] * 10_000
    text = MANIFEST.replace("optimizer: sgd, learning_rate: 1.0e+30, clip_norm: 0.0", f"steps: {steps}")
    text = text.replace("seeds: [0, 1]", "seeds: [1]")
    (home / "fault.yaml").write_text(text.replace("name: diverging", "name: endless"))
    _, err = cli("run", "fault.yaml", "--no-report", "--time-limit", "3s", code=4)
    assert "failed (timeout): endless.phantom.findings.100%.s1" in err
    assert {state for name, state in states(home).items() if not name.startswith("endless")} == {"done"}
