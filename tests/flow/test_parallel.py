"""One pre-training in two processes gives what one process gives, and fails and ends as jobs do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench.errors import NotFiniteLoss
from refers_bench.jobs import entry
from refers_bench.manifest import protocols
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import read_tensors
from tiny_jobs import prepare_job

pytestmark = pytest.mark.cluster

PREPARE = prepare_job()


def pretraining(reading: str, processes: int, method: str = "refers", **section: Any) -> dict[str, Any]:
    """The same key for any number of processes: it names the random streams."""
    sections = protocols.resolve_sections("smoke")
    pretrain = {
        **sections["pretrain"], "steps": 10, "batch_size": 8, "warmup_steps": 2, "validate_every": 5,
        "processes": processes, "optimizer": "sgd", "learning_rate": 0.01, **section,
    }  # fmt: skip
    for part in ("text_encoder", "decoder"):
        pretrain[part] = {**pretrain[part], "dropout": 0.0}
    spec = {
        "kind": "pretrain", "method": method, "params": {"queue": 64} if method == "c2l" else {}, "impl": 1, "seed": 0,
        "network": {**sections["network"], "reading": reading, "dropout": 0.0}, "image": sections["image"],
        "pretrain": pretrain,
        "source": {
            "dataset": "phantom", "params": {}, "prepare": PREPARE["key"], "task": "findings", "has_reports": True
        },
    }  # fmt: skip
    key = f"pretrain_{method}"
    return {"key": key, "kind": "pretrain", "name": key, "needs": [PREPARE["key"]], "spec": spec, "unavailable": ""}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    entry.run(PREPARE, JobContext(results=folder / "prepared", cache=folder / "cache"))
    return folder / "cache"


def ran(job: dict[str, Any], folder: Path, cache: Path) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Losses of each update by name, and the encoder's weights."""
    entry.run(job, JobContext(results=folder, cache=cache))
    found = ResultStore(folder).folder(job["key"])
    history = pd.read_parquet(found / "history.parquet")
    losses = history[history["name"].str.match("loss/|val/")].sort_values("step").groupby("name")["value"].agg(list)
    return dict(losses), read_tensors(found / "checkpoint.safetensors")[0]


@pytest.mark.parametrize("method", ["refers", pytest.param("lsp_transformer", marks=pytest.mark.slow)])
def test_two_processes_equal_one_on_the_same_global_batch(method: str, tmp_path: Path, cache: Path) -> None:
    one, weights = ran(pretraining("paper", 1, method), tmp_path / "one", cache)
    two, others = ran(pretraining("paper", 2, method), tmp_path / "two", cache)
    assert set(one) == set(two)
    assert len(one["loss/total"]) == 10
    for name, values in one.items():
        assert two[name] == pytest.approx(values, abs=1e-5), name
    for name, value in weights.items():
        assert (value - others[name]).abs().max() < 1e-4, name
    assert not (tmp_path / "two" / "work" / f"pretrain_{method}" / "processes").exists()


@pytest.mark.slow
def test_local_negatives_make_the_contrast_easier(tmp_path: Path, cache: Path) -> None:
    """Each process has 3 negatives in place of 7: ln 4 against ln 8 before anything is learned."""
    one, _ = ran(pretraining("official_code", 1), tmp_path / "one", cache)
    two, _ = ran(pretraining("official_code", 2), tmp_path / "two", cache)
    name = "loss/study_report_consistency"
    assert two[name][0] < one[name][0] - 0.3
    assert two["loss/report_generation"][0] == pytest.approx(one["loss/report_generation"][0], abs=1e-5)


@pytest.mark.slow
def test_momentum_keys_of_all_processes_are_queued(tmp_path: Path, cache: Path) -> None:
    losses, _ = ran(pretraining("paper", 2, "c2l"), tmp_path, cache)
    assert len(losses["loss/total"]) == 10
    assert all(value == value for value in losses["loss/total"])


@pytest.mark.slow
def test_a_failure_in_a_process_is_the_jobs_failure(tmp_path: Path, cache: Path) -> None:
    job = pretraining("paper", 2, learning_rate=1e30, clip_norm=0.0)
    with pytest.raises(NotFiniteLoss, match="at update"):
        entry.run(job, JobContext(results=tmp_path, cache=cache))
    assert not ResultStore(tmp_path).folder(job["key"]).exists()


RUN = """
import json, sys
from pathlib import Path
from refers_bench.jobs import entry
from refers_bench.store.context import JobContext
if __name__ == "__main__":
    entry.run(json.loads(sys.argv[1]), JobContext(results=Path(sys.argv[2]), cache=Path(sys.argv[3])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end processes with their parent")
def test_no_process_outlives_a_killed_worker(
    tmp_path: Path, cache: Path, processes_of: Callable[[Path], list[int]]
) -> None:
    job = pretraining("paper", 2, steps=100_000)
    worker = subprocess.Popen([sys.executable, "-c", RUN, json.dumps(job), str(tmp_path), str(cache)])
    wait_for(lambda: len(processes_of(tmp_path)) >= 4)  # the worker, torchrun, two ranks
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not processes_of(tmp_path))


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)
