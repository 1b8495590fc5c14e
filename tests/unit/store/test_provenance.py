"""What is recorded of where a result was computed: checkout, packages, machine and scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import refers_bench
from refers_bench.store import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_has_a_commit_and_is_clean_or_not(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a").write_text("2")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": True}
    assert provenance.git_state(tmp_path / "none") == {"commit": None, "reason": "no git state: FileNotFoundError"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"SLURM_ARRAY_JOB_ID": "7"}, {}),
        ({"SLURM_JOB_ID": "8"}, {"task": "8", "node": "", "restarts": 0}),
        (
            {
                "SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURMD_NODENAME": "n1",
                "SLURM_RESTART_COUNT": "2",
            },
            {"task": "7_3", "node": "n1", "restarts": 2},
        ),
        ({"SLURM_JOB_ID": "8", "SLURM_RESTART_COUNT": ""}, {"task": "8", "node": "", "restarts": 0}),
    ],
)  # fmt: skip
def test_the_clusters_own_name_of_a_task(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: dict[str, object]
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert provenance.scheduler() == ({"scheduler": {"name": "slurm", **expected}} if expected else {})
    found = provenance.provenance(device="cpu", more=[1])
    assert (found["device"], found["more"], "scheduler" in found) == ("cpu", [1], bool(expected))
    assert {"git", "packages", "hardware"} <= set(found)


def test_packages_are_those_that_can_move_a_number() -> None:
    import numpy
    import pandas
    import pyarrow

    found = provenance.packages()
    versions = {"numpy": numpy.__version__, "pandas": pandas.__version__, "pyarrow": pyarrow.__version__}
    assert found.items() >= versions.items()
    python = ".".join(map(str, sys.version_info[:3]))
    assert list(found.items())[:2] == [("refers-bench", refers_bench.__version__), ("python", python)]
    assert list(found)[2:] == [
        "numpy", "pandas", "pillow", "pyarrow", "safetensors", "scipy", "timm", "tokenizers", "torch", "transformers",
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="only Linux says it in /proc")
def test_the_machine_is_what_its_system_says() -> None:
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    found = provenance.hardware()
    assert abs(found["memory_bytes"] - int(memory.split()[1]) * 1024) < 4096
    assert found["cores"] == os.cpu_count()
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    assert not names or found["cpu"] == names[0].split(": ", 1)[1].strip()
    highest = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    assert provenance.peak_memory_bytes() == pytest.approx(int(highest.split()[1]) * 1024, rel=0.05)


@pytest.mark.parametrize(("processor", "shown"), [("", "aarch64"), ("arm", "arm")])
def test_a_processor_without_a_model_name_is_named_by_its_kind(
    monkeypatch: pytest.MonkeyPatch, processor: str, shown: str
) -> None:
    monkeypatch.setattr("platform.processor", lambda: processor)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(Path, "read_text", lambda self, **how: "processor: 0\nBogoMIPS: 50\nFeatures: fp\n")
    assert provenance.hardware()["cpu"] == shown
    monkeypatch.setattr(Path, "read_text", lambda self, **how: "processor: 0\nmodel name\t: A: B\nflags: x\n")
    assert provenance.hardware()["cpu"] == "A: B"
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert provenance.hardware()["cpu"] == shown


def test_macos_counts_the_largest_memory_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = provenance.peak_memory_bytes()
    monkeypatch.setattr(provenance.sys, "platform", "darwin")
    assert provenance.peak_memory_bytes() == pytest.approx(here / 1024, rel=0.05)
