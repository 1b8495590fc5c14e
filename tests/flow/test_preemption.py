"""A preempted worker saves its state in the middle of a training, and resumes later to the very same bytes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refers_bench.execution.engine import ENTRY, PRELOAD, Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.execution.progress import PlainView
from refers_bench.execution.worker import work
from refers_bench.jobs import entry
from refers_bench.manifest import protocols
from refers_bench.plan.lock import Job
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from tiny_jobs import prepare_job

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="needs SIGUSR2")

WORK = """
import json, sys
from pathlib import Path
from refers_bench.execution.engine import ENTRY
from refers_bench.execution.worker import work
from refers_bench.store.context import JobContext
if __name__ == "__main__":
    print(json.dumps(work(ENTRY, json.loads(sys.argv[1]), JobContext(results=Path(sys.argv[2]), cache=Path(sys.argv[3])))))
"""
PREPARE = prepare_job()


def job(kind: str, processes: int = 1) -> dict[str, Any]:
    """A training of some seconds, with dropout, momentum, validation and, in pre-training, Lookahead."""
    sections = protocols.resolve_sections("smoke")
    common = {"batch_size": 8, "warmup_steps": 2, "validate_every": 20}
    spec: dict[str, Any] = {
        "kind": kind, "method": "refers" if kind == "pretrain" else "scratch", "params": {}, "impl": 1, "seed": 0,
        "network": sections["network"], "image": sections["image"],
    }  # fmt: skip
    if kind == "pretrain":
        spec["pretrain"] = {**sections["pretrain"], **common, "steps": 40, "processes": processes}
        spec["source"] = {
            "dataset": "phantom", "params": {}, "prepare": PREPARE["key"], "task": "findings", "has_reports": True
        }  # fmt: skip
    else:
        spec |= {
            "finetune": {**sections["finetune"], **common, "steps": 120}, "dataset": "phantom", "prepare": PREPARE["key"],
            "task": "findings", "classes": ["Cardiomegaly", "Effusion", "Nodule"], "label_ratio": 1.0, "pretrain": None,
        }  # fmt: skip
    key = f"{kind}{processes}"
    return {"key": key, "kind": kind, "name": key, "needs": [], "spec": spec}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preemption")
    entry.run(PREPARE, JobContext(results=folder / "prepared", cache=folder / "cache"))
    return folder / "cache"


def published(results: Path, key: str) -> dict[str, bytes]:
    """What is a result; records and curves also hold times."""
    folder = ResultStore(results).folder(key)
    names = ("predictions.parquet", "metrics.parquet", "checkpoint.safetensors", "text.json")
    found = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    assert found
    return found


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive a test that fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("kind", "processes", "number", "everybody"),
    [
        ("finetune", 1, "SIGUSR2", False),
        pytest.param("pretrain", 1, "SIGTERM", False, marks=pytest.mark.slow),
        pytest.param("pretrain", 2, "SIGTERM", False, marks=pytest.mark.slow),
        pytest.param("pretrain", 2, "SIGUSR2", True, marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_mid_training_costs_nothing(
    kind: str,
    processes: int,
    number: str,
    everybody: bool,
    tmp_path: Path,
    cache: Path,
    processes_of: Callable[[Path], list[int]],
) -> None:
    """`everybody`: as schedulers do that signal all processes of a job at once."""
    one, results = job(kind, processes), tmp_path / "cut"
    store = ResultStore(results)
    folder = store.work_folder(one["key"])
    command = [sys.executable, "-c", WORK, json.dumps(one), str(results), str(cache)]
    with started(command) as worker:
        wait_for(lambda: (folder / "progress.json").is_file() or worker.poll() is not None)
        for pid in processes_of(results) if everybody else [worker.pid]:
            os.kill(pid, getattr(signal, number))
        out, _ = worker.communicate(timeout=300)
    ending = json.loads(out.splitlines()[-1])
    assert ending["category"] == "preempted", ending
    assert "state saved" in ending["message"]
    assert worker.returncode == 0
    assert (folder / "state.safetensors").is_file()
    assert (store.state(one["key"]), store.failure(one["key"])) == ("to do", None)

    assert work(ENTRY, one, JobContext(results=results, cache=cache)) == {"category": "ok"}
    record = json.loads((store.folder(one["key"]) / "run.json").read_text())
    assert 0 < record["facts"]["resumed_from"] < record["facts"]["steps"]
    assert processes == 1 or record["facts"]["resumed_from"] % 10 == 0, "the processes did not agree"
    assert not folder.exists()
    entry.run(one, JobContext(results=tmp_path / "straight", cache=cache))
    assert published(results, one["key"]) == published(tmp_path / "straight", one["key"])


#: An entry that leaves the worker's process number before it runs the job.
TELLING = """
import os
from refers_bench.jobs import entry
def run(job, context):
    with open(context.results / "workers.txt", "a") as file:
        print(os.getpid(), file=file)
    entry.run(job, context)
"""


class Signalling(PlainView):
    """Sends a signal to the worker as soon as it trains, once; remembers endings."""

    def __init__(self, results: Path) -> None:
        super().__init__(1)
        self.results, self.sent, self.endings = results, False, list[str]()

    def tick(self, running: Any, left: Any) -> None:
        if not self.sent and running and all(view.get("step") for view in running.values()):
            self.sent = True
            os.kill(int((self.results / "workers.txt").read_text()), signal.SIGTERM)

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        self.endings.append(category)


def test_the_run_goes_on_with_a_preempted_job_and_does_not_count_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling_entry.py").write_text(TELLING)
    monkeypatch.syspath_prepend(tmp_path)
    one, results = job("finetune"), tmp_path / "cut"
    one["spec"]["finetune"]["steps"] = 400  # the coordinator looks four times a second
    settings = Settings(
        results=results, cache=cache, slots=[Slot(device="cpu")], preload=PRELOAD, retries={},
        entry="telling_entry:run",
    )  # fmt: skip
    view = Signalling(results)
    outcome = execute([Job(**one)], settings, view)
    assert (view.endings, outcome.done, outcome.failed) == (["preempted", "ok"], [one["key"]], {})
    record = json.loads((ResultStore(results).folder(one["key"]) / "run.json").read_text())
    assert record["attempts"] == 1
    assert 0 < record["facts"]["resumed_from"] < 400
    entry.run(one, JobContext(results=tmp_path / "straight", cache=cache))
    assert published(results, one["key"]) == published(tmp_path / "straight", one["key"])


def test_prepare_just_ends_and_is_no_failure(tmp_path: Path) -> None:
    """Without a training to save, the signal has its default effect, and what was decoded is kept."""
    slow = {**PREPARE, "spec": {**PREPARE["spec"], "phantom": {"seed": 2, "studies": 3000, "size": 300, "views": 1}}}
    command = [sys.executable, "-c", WORK, json.dumps(slow), str(tmp_path / "results"), str(tmp_path / "cache")]
    with started(command) as worker:
        wait_for(lambda: (tmp_path / "cache").exists() or worker.poll() is not None)
        worker.send_signal(signal.SIGUSR2)
        worker.communicate(timeout=300)
    assert worker.returncode == -signal.SIGUSR2
