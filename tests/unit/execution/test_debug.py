"""Jobs in the command's own process: their environment, what they print, and what a debugger's end means."""

from __future__ import annotations

import bdb
import os
from pathlib import Path
from typing import Any

import pytest

from refers_bench.execution import debug, worker
from refers_bench.execution.engine import Attempt, Settings, Slot
from tiny_jobs import job


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> debug.DebugEngine:
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "before")
    slots = [Slot(device="cuda", environment={"CUDA_VISIBLE_DEVICES": "3"})]
    settings = Settings(
        results=tmp_path,
        cache=tmp_path,
        slots=slots,
        threads=2,
        processes=8,
        entry="refers_bench.execution.worker:recipe",
    )
    return debug.DebugEngine(settings, {})


def test_a_job_runs_here_with_its_output_on_the_terminal(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def recipe(job: Any, context: Any) -> None:
        print("from the job")
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
        seen.append((os.getpid(), context.device, context.processes, context.attempt, *map(os.environ.get, names)))
        if job["name"] == "bad":
            raise ValueError("no such thing")

    monkeypatch.setattr(worker, "recipe", recipe, raising=False)
    with engine.opened():
        assert engine.room() == 1
        engine.start([Attempt(job=job("good"), number=2)])
        assert engine.room() == 0
        (ending,) = engine.wait(0.1)
        assert (ending.category, engine.room()) == ("ok", 1)
        engine.start([Attempt(job=job("bad"))])
        (ending,) = engine.wait(0.1)
    assert seen == [(os.getpid(), "cuda", 1, 2, "3", "2"), (os.getpid(), "cuda", 1, 1, "3", "2")]
    assert (ending.category, ending.message) == ("crash", "ValueError: no such thing")
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("from the job\n" * 2, ending.facts["traceback"])
    assert not (tmp_path / "logs").exists()


def test_leaving_the_debugger_ends_the_run_as_ctrl_c_does(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(job: Any, context: Any) -> None:
        raise bdb.BdbQuit

    monkeypatch.setattr(worker, "recipe", recipe, raising=False)
    engine.start([Attempt(job=job("any"))])
    with pytest.raises(KeyboardInterrupt):
        engine.wait(0.1)
