"""Which GPUs are listed, and with what facts, where nvidia-smi lists some, fails, or is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.execution.gpus import gpu_models, visible_gpus

LISTS = """#!/bin/sh
case "$1" in
  --query-gpu=index) printf '0\\n1\\n' ;;
  --query-gpu=name,memory.total) printf 'NVIDIA H100 80GB HBM3, 81559\\nSome GPU, with a comma, [N/A]\\n' ;;
  *) exit 9 ;;
esac
"""


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_indices_names_and_memory_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, LISTS)
    assert visible_gpus() == ["0", "1"]
    assert gpu_models() == [("NVIDIA H100 80GB HBM3", 81559 << 20), ("Some GPU, with a comma", 0)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,-1")
    assert visible_gpus() == ["3"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho No devices were found\n"])
def test_none_is_seen_where_it_fails_or_finds_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, text)
    assert visible_gpus() == []
    assert gpu_models() == []


def test_none_is_seen_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == [] and gpu_models() == []
