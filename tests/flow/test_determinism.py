"""A cell gives the same bytes twice, with one and two workers, and after being killed midway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refers_bench.execution.engine import Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.execution.progress import PlainView
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore
from tiny_jobs import job

#: Runs one job as a worker would, in a process that a test may kill.
RUN = """
import json, pathlib, sys
from refers_bench.jobs import entry
from refers_bench.store.context import JobContext
job, results, cache = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
entry.run(job, JobContext(results=results, cache=cache, threads=1, arithmetic=sys.argv[4]))
"""


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    sections = resolve_sections("smoke")
    # Long enough to be killed in the middle, also on a busy machine.
    sections["finetune"]["steps"] = 60
    common = {"params": {}, "impl": 1, "network": sections["network"], "image": sections["image"]}
    prepare = job(
        "prepare", kind="prepare", dataset="phantom", params={}, impl=1, digest="planned",
        phantom={"seed": 3, "studies": 50, "size": 40}, prepared_size=sections["image"]["prepared_size"],
    )  # fmt: skip
    source = {"dataset": "phantom", "params": {}, "prepare": prepare.key, "task": "findings", "has_reports": True}
    pretrain = job(
        "pretrain", prepare, kind="pretrain", method="refers", pretrain=sections["pretrain"], seed=0, source=source,
        **common,
    )  # fmt: skip
    cells = [
        job(
            f"{method}.s{seed}", prepare, pretrain, kind="finetune", method=method, finetune=sections["finetune"],
            dataset="phantom", prepare=prepare.key, task="findings", classes=["Effusion", "Nodule"], label_ratio=0.5,
            seed=seed, pretrain=pretrain.key if method == "refers" else None, **common,
        )
        for method, seed in [("refers", 0), ("refers", 1), ("scratch", 0)]
    ]  # fmt: skip
    return [prepare, pretrain, *cells]


def run(jobs: list[Job], folder: Path, *, workers: int) -> Path:
    settings = Settings(
        results=folder / "results", cache=folder / "cache", slots=[Slot(device="cpu")] * workers, threads=1
    )
    outcome = execute(jobs, settings, PlainView(len(jobs)))
    assert sorted(outcome.done) == sorted(job.key for job in jobs), outcome
    return folder / "results"


@pytest.fixture(scope="module")
def once(jobs: list[Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(jobs, tmp_path_factory.mktemp("once"), workers=1)


def tables(results: Path, jobs: list[Job]) -> dict[str, bytes]:
    """What must not differ between runs, by job and file."""
    names = {"pretrain": ["checkpoint.safetensors", "text.json"], "prepare": ["index.parquet"]}
    return {
        f"{job.name}/{name}": (ResultStore(results).folder(job.key) / name).read_bytes()
        for job in jobs
        for name in names.get(job.kind, ["predictions.parquet", "metrics.parquet", "subset.json"])
    }


def test_two_workers_give_the_bytes_of_one(jobs: list[Job], once: Path, tmp_path: Path) -> None:
    assert tables(run(jobs, tmp_path, workers=2), jobs) == tables(once, jobs)


def test_seeds_and_methods_give_different_predictions(jobs: list[Job], once: Path) -> None:
    predictions = {value for name, value in tables(once, jobs).items() if name.endswith("predictions.parquet")}
    assert len(predictions) == 3


@pytest.mark.slow
def test_killed_and_resumed_gives_the_bytes_of_an_uninterrupted_run(
    jobs: list[Job], once: Path, tmp_path: Path
) -> None:
    results, environment = tmp_path / "results", {**os.environ, "REFERS_BENCH_SAVE_SECONDS": "0"}
    store, resumed = ResultStore(results), {}
    for one in jobs[:3]:
        payload = json.dumps({"key": one.key, "kind": one.kind, "name": one.name, "needs": [], "spec": one.spec})
        command = [sys.executable, "-c", RUN, payload, str(results), str(tmp_path / "cache"), "native"]
        if one.kind != "prepare":
            kill_once_saved(command, environment, store.work_folder(one.key) / "state.safetensors")
            assert store.state(one.key) == "to do"
        subprocess.run(command, env=environment, check=True)
        resumed[one.kind] = (store.record(one.key) or {})["facts"].get("resumed_from")
    assert resumed["pretrain"] > 0
    assert resumed["finetune"] > 0
    assert tables(results, jobs[:3]) == tables(once, jobs[:3])


#: An emulator of other processors, from this version on: those before compute some AVX instructions wrongly.
EMULATOR, EMULATES_AVX = "qemu-x86_64", 8


def emulator() -> str:
    """Its path; the test is skipped where there is none."""
    path = shutil.which(EMULATOR)
    if path is None:
        pytest.skip(f"no {EMULATOR} (of qemu-user) to stand for another processor")
    found = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if (version := int(found.partition("version ")[2].partition(".")[0])) < EMULATES_AVX:
        pytest.skip(f"{EMULATOR} {version}; {EMULATES_AVX} is the first that emulates AVX2 rightly")
    return path


@pytest.mark.slow
def test_other_processors_give_the_same_bytes_in_portable_arithmetic(jobs: list[Job], tmp_path: Path) -> None:
    """An Intel and an AMD processor of other generations than this machine's, each without AVX-512."""
    emulated = emulator()
    found = {}
    for name, prefix in (
        ("here", []), ("intel", [emulated, "-cpu", "Haswell"]), ("amd", [emulated, "-cpu", "EPYC-Rome"]),
    ):  # fmt: skip
        for one in jobs[:3]:
            payload = json.dumps({"key": one.key, "kind": one.kind, "name": one.name, "needs": [], "spec": one.spec})
            folders = [str(tmp_path / name / "results"), str(tmp_path / name / "cache")]
            command = [*prefix, sys.executable, "-c", RUN, payload, *folders, "portable"]
            subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        found[name] = tables(tmp_path / name / "results", jobs[:3])
    assert found["here"] == found["intel"] == found["amd"]


def kill_once_saved(command: list[str], environment: dict[str, str], state: Path) -> None:
    """Start a job and SIGKILL it as soon as there is a resumable state."""
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the job ended before it could be killed"
