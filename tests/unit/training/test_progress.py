"""Does a running job say what is true of it: where it runs, how long it will take, what its GPU does?"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from refers_bench.training import progress as module
from refers_bench.training.progress import ProgressFile, Utilisation


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_says_where_it_runs_and_how_long_it_takes(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "progress.json"
    progress = ProgressFile(path)
    progress({"step": 100, "steps": 400})  # a resumed one: its own pace counts, not the updates before
    first = json.loads(path.read_text())
    assert "left_s" not in first
    clock[0] += 10
    progress({"step": 150, "steps": 400})
    found = json.loads(path.read_text())
    assert found["left_s"] == 50.0
    assert (found["host"], found["pid"], found["device"]) == (socket.gethostname(), os.getpid(), "cpu")
    assert found["peak_mem_bytes"] > 10_000_000
    assert abs(found["time"] - time.time()) < 60
    assert "gpu" not in found, "nothing is made up where there is none"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a program called `nvidia-smi` in front of all others; it notes how it was called."""

    def make(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return tmp_path / "asked"

    return make


def answered(utilisation: Utilisation, now: float) -> int | None:
    """After the question has been answered."""
    utilisation.percent(now)
    if utilisation.question is not None:
        utilisation.question.wait(timeout=30)
    return utilisation.percent(now)


def test_utilisation_is_asked_for_now_and_then(smi: Callable[[str], Path]) -> None:
    asked = smi("echo 87")
    utilisation = Utilisation("GPU-1")
    assert utilisation.percent(0.0) is None, "nobody waits for the answer"
    assert answered(utilisation, 1.0) == 87
    assert answered(utilisation, 9.0) == 87
    assert len(asked.read_text().splitlines()) == 1
    assert answered(utilisation, 11.0) == 87
    assert asked.read_text().splitlines()[0].startswith("--id=GPU-1 --query-gpu=utilization.gpu ")
    assert len(asked.read_text().splitlines()) == 2


@pytest.mark.parametrize("script", ["echo '[N/A]'", "echo 5; exit 6", "true"])
def test_no_answer_is_no_number(smi: Callable[[str], Path], script: str) -> None:
    smi(script)
    assert answered(Utilisation("GPU-1"), 0.0) is None


def test_an_answer_that_does_not_come_is_not_waited_for(smi: Callable[[str], Path]) -> None:
    smi("exec sleep 60")
    utilisation = Utilisation("GPU-1")
    utilisation.percent(0.0)
    assert utilisation.percent(31.0) is None
    assert utilisation.question is not None
    assert utilisation.question.wait(timeout=30) != 0
    assert utilisation.percent(60.0) is None
    assert utilisation.percent(100.0) is None
    assert not utilisation.asks


def test_without_nvidia_smi_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    utilisation = Utilisation("GPU-1")
    assert utilisation.percent(0.0) is None
    assert utilisation.question is None


def test_a_gpu(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, smi: Callable[[str], Path]) -> None:
    """By a stand-in for torch's questions: no GPU is needed to see what becomes of the answers."""
    asked = smi("echo 42")
    properties = SimpleNamespace(name="A GPU", total_memory=80 << 30, uuid="abc-def")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 30)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2 << 30)
    path = tmp_path / "progress.json"
    progress = ProgressFile(path, device=torch.device("cuda:1"))
    progress({"step": 1, "steps": 4})
    gpu = {"name": "A GPU", "mem_bytes": 1 << 30, "peak_mem_bytes": 2 << 30, "total_bytes": 80 << 30}
    assert json.loads(path.read_text())["gpu"] == gpu
    assert progress.utilisation.question is not None
    progress.utilisation.question.wait(timeout=30)
    clock[0] += 2
    progress({"step": 2, "steps": 4})
    assert json.loads(path.read_text())["gpu"] == {**gpu, "utilisation_percent": 42}
    assert json.loads(path.read_text())["device"] == "cuda:1"
    assert asked.read_text().startswith("--id=GPU-abc-def ")


@pytest.mark.parametrize(("known", "asked"), [("abc-def", "GPU-abc-def"), ("GPU-abc-def", "GPU-abc-def"), ("", "")])
def test_a_gpu_is_named_as_its_driver_names_it(monkeypatch: pytest.MonkeyPatch, known: str, asked: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=known))
    assert module._uuid(torch.device("cuda:0")) == asked
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace())
    assert module._uuid(torch.device("cuda:0")) == "", "older versions of torch do not tell"
