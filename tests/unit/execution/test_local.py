"""Workers of this machine: which process runs a job, and which place a preparation of images takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from refers_bench.execution.engine import Outcome, Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.plan.lock import Job
from tiny_jobs import job

#: A recipe that behaves as CUDA does: after an assertion on the device, every later call in the process fails.
RECIPE = """
import os, time
from pathlib import Path
from refers_bench.files import publish_json
from refers_bench.store.results import ResultStore

poisoned = False

class AcceleratorError(RuntimeError):
    pass

def run(job, context):
    global poisoned
    diary = context.results / "diary.jsonl"
    with diary.open("a") as out:
        out.write('{"name": "%s", "pid": %d, "device": "%s", "time": %f}\\n' % (job["name"], os.getpid(), context.device, time.time()))
    if poisoned:
        raise AcceleratorError("CUDA error: device-side assert triggered")
    if job["spec"].get("asserts"):
        poisoned = True
        raise AcceleratorError("CUDA error: device-side assert triggered")
    deadline = time.time() + 20
    while job["spec"].get("waits_for", "") not in diary.read_text() and time.time() < deadline:
        time.sleep(0.05)
    with diary.open("a") as out:
        out.write('{"name": "%s ended", "time": %f}\\n' % (job["name"], time.time()))
    if job["kind"] == "prepare":
        folder = context.cache / "prepared" / job["key"]
        folder.mkdir(parents=True)
        publish_json(folder / "meta.json", {})
    with ResultStore(context.results).publish(job["key"]) as stage:
        publish_json(stage / "run.json", {"category": "ok", "key": job["key"]})
"""


class Nobody:
    """Listens to nothing."""

    def started(self, job: Job) -> None: ...
    def ended(self, job: Job, category: str, seconds: float, message: str) -> None: ...
    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None: ...


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "like_cuda.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "like_cuda:run"


def run(
    tmp_path: Path, recipe: str, jobs: Sequence[Job], *, device: str, **how: Any
) -> tuple[Outcome, list[dict[str, Any]]]:
    settings = Settings(
        results=tmp_path / "results", cache=tmp_path / "cache", slots=[Slot(device=device)], retries={"crash": 0},
        entry=recipe, preload=("refers_bench.execution.worker",), **how,
    )  # fmt: skip
    (tmp_path / "results").mkdir()
    outcome = execute(jobs, settings, Nobody())
    lines = (tmp_path / "results" / "diary.jsonl").read_text().splitlines()
    return outcome, [json.loads(line) for line in lines]


def test_after_a_crash_on_a_gpu_the_next_job_runs_in_a_new_process(tmp_path: Path, recipe: str) -> None:
    jobs = [job("first"), job("asserts", asserts=True), job("second"), job("third")]
    outcome, diary = run(tmp_path, recipe, jobs, device="cuda")
    pid = {line["name"]: line["pid"] for line in diary if "pid" in line}
    assert outcome.failed == {jobs[1].key: "crash"}
    assert len(outcome.done) == 3
    assert pid["first"] == pid["asserts"] != pid["second"] == pid["third"]


def test_a_crash_that_is_tried_again_meets_a_new_process(tmp_path: Path, recipe: str) -> None:
    """The second attempt at a job does not fail for what the first has left behind."""
    (tmp_path / "like_cuda.py").write_text(RECIPE.replace('job["spec"].get("asserts")', "context.attempt == 1"))
    outcome, diary = run(tmp_path, recipe, [job("unlucky")], device="cuda")
    assert outcome.failed and len(diary) == 1  # no attempt is left
    (tmp_path / "again").mkdir()
    settings = Settings(
        results=tmp_path / "again" / "results", cache=tmp_path / "cache", slots=[Slot(device="cuda")],
        retries={"crash": 1}, entry=recipe, preload=("refers_bench.execution.worker",),
    )  # fmt: skip
    settings.results.mkdir()
    assert len(execute([job("unlucky")], settings, Nobody()).done) == 1


def test_images_are_prepared_beside_the_gpu_and_not_in_its_slot(tmp_path: Path, recipe: str) -> None:
    first = job("data one", kind="prepare", dataset="one")
    training = job("training", first)
    second = job("data two", kind="prepare", dataset="two", waits_for='"training"')
    jobs = [first, second, training]
    _, diary = run(tmp_path, recipe, jobs, device="cuda")
    at = {line["name"]: line["time"] for line in diary}
    devices = {line["name"]: line["device"] for line in diary if "device" in line}
    assert devices == {"data one": "cpu", "data two": "cpu", "training": "cuda"}
    # The training does not wait for data that it does not need.
    assert at["training"] < at["data two ended"]
