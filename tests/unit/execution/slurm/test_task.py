"""An array task that runs again leaves failed jobs alone, and recognises the warning of its time limit."""

from __future__ import annotations

import dataclasses
import datetime
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refers_bench.execution import task
from refers_bench.execution.engine import PRELOAD, Attempt, Outcome, Settings
from refers_bench.execution.slurm import events
from refers_bench.execution.slurm import task as slurm_task
from refers_bench.execution.slurm.folder import Array
from refers_bench.execution.slurm.script import AGAIN
from refers_bench.files import publish_json
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore
from tiny_jobs import ENTRY


def batch_of(folder: Path, **specs: dict[str, object]) -> task.Batch:
    """Jobs of a task, in their order, that leave a line when they begin."""
    jobs = [
        Job(key=name, kind="noop", name=name, spec={"kind": "noop", "diary": str(folder / "diary"), **spec})
        for name, spec in specs.items()
    ]
    settings = Settings(results=folder / "results", cache=folder / "cache", retries={}, preload=PRELOAD, entry=ENTRY)
    attempts = [Attempt(job=job, token="t") for job in jobs]
    return task.Batch(engine="slurm", token="t", device="cpu", attempts=attempts, settings=settings)


def begun(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "diary").read_text().splitlines()]
    return [line["name"] for line in lines if line["what"] == "began"]


def test_what_has_failed_is_not_run_again(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, bad={"fail": "data"}, good={}, late={})
    store = ResultStore(tmp_path / "results")
    store.fail("late", category="nan", record={"token": "of an earlier coordinator"})
    first = task.run(batch)
    assert (first.failed, first.done) == ({"bad": "data_error"}, ["good", "late"])
    again = task.run(batch)
    assert (again.failed, again.done, again.left) == ({}, [], [])
    assert begun(tmp_path) == ["bad", "good", "late"]


def test_the_arithmetic_goes_with_the_batch(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, one={})
    batch = dataclasses.replace(batch, settings=dataclasses.replace(batch.settings, arithmetic="portable"))
    batch.write(tmp_path / "batch.json")
    assert task.run(task.Batch.read(tmp_path / "batch.json")).done == ["one"]
    record = ResultStore(tmp_path / "results").record("one")
    assert record is not None and record["provenance"]["arithmetic"] == "portable"


def test_a_cell_that_gets_no_further_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    """Between two time limits the first of three got nowhere: the others are run, in a third run of the task."""
    batch = batch_of(tmp_path, stuck={"sleep": 300}, second={}, third={})
    array = Array(folder=tmp_path, token="t")
    left = Outcome(left=["stuck", "second", "third"])
    assert [slurm_task._get_on(batch, array, 0, ["stuck"], left) for _ in range(2)] == [True, True]
    assert (ResultStore(tmp_path / "results").failure("stuck") or {})["category"] == "timeout"
    assert task.run(batch).done == ["second", "third"]
    assert begun(tmp_path) == ["second", "third"]


def test_a_cell_that_gets_further_goes_on(tmp_path: Path) -> None:
    """Of two that were stopped at two time limits, one has done an update more; its step at the last limit counts."""
    batch = batch_of(tmp_path, slow={}, stuck={}, third={})
    array, store = Array(folder=tmp_path, token="t"), ResultStore(tmp_path / "results")
    answers = []
    for slow, left in ((5, ["slow", "stuck"]), (6, ["slow", "stuck"]), (6, ["slow"])):
        for key, step in (("slow", slow), ("stuck", 4)):
            publish_json(store.progress(key), {"step": step})
        answers.append(slurm_task._get_on(batch, array, 0, left, Outcome(left=left)))
        failed = [key for key in ("slow", "stuck", "third") if store.failure(key)]
        assert failed == [[], ["stuck"], ["slow", "stuck"]][len(answers) - 1]
    assert answers == [True, True, False]
    failure = store.failure("slow") or {}
    assert failure["message"] == "got no further between two time limits of its Slurm task (step 6)"
    assert [failure[name] for name in ("category", "name", "kind", "attempts", "token")] == [
        "timeout", "slow", "noop", 1, "t",
    ]  # fmt: skip
    assert json.loads((tmp_path / "task-0.limits.json").read_text()) == {"slow": 6, "stuck": 4}


@pytest.mark.parametrize(("left_s", "warning_s", "near"), [(130, 120, True), (900, 120, False), (7100, 7200, True)])
def test_a_warning_of_the_time_limit(tmp_path: Path, left_s: float, warning_s: float, near: bool) -> None:
    path = tmp_path / "task-0.end"
    end = datetime.datetime.now() + datetime.timedelta(seconds=left_s)
    path.write_text(end.isoformat(timespec="seconds") + "\n")
    assert slurm_task._limit_is_near(path, warning_s) is near
    path.write_text("NONE\n")
    assert not slurm_task._limit_is_near(path, warning_s)


RUN_TASK = "import sys; from refers_bench.execution.slurm.task import main; sys.exit(main(sys.argv[1:]))"


def test_a_task_that_is_told_to_leave_says_so_and_ends_as_it_was_told(tmp_path: Path) -> None:
    """A cancellation ends with 143, a warning that is none of the time limit's asks for another run, and left alone: 0."""
    told = {"SIGTERM": 143, "SIGUSR2": AGAIN, "": 0}
    running: dict[str, tuple[Array, subprocess.Popen[bytes]]] = {}
    for name in told:
        array = Array(folder=tmp_path / f"s{name}" / "token" / "array", token="token")
        array.folder.mkdir(parents=True)
        batch_of(array.folder, long={"sleep": 60 if name else 0, "saves": bool(name)}).write(array.batch(3))
        running[name] = array, subprocess.Popen([sys.executable, "-c", RUN_TASK, str(array.folder), "3", "60"])
    for name, (array, process) in running.items():
        deadline = time.monotonic() + 60
        while name and not (array.folder / "diary").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        if name:
            process.send_signal(getattr(signal, name))
        assert process.wait(60) == told[name]
        first, *_, last = events.events(array.diary(3))
        assert (first["what"], first["pid"]) == ("began", process.pid)
        facts = {key: value for key, value in last.items() if key != "time"}
        over = {"what": "over", "done": 1, "failed": 0, "left": 0}
        assert facts == ({"what": "told", "signal": name, "left": 1} if name else over)
