"""What a machine can run, as it is printed, and the exit code when a data root is not there."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, 5 << 30 if place.is_dir() else 0))


def test_folders_and_packages(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = cli("doctor", "--no-torch")
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("python 3.") and lines[0].endswith(f", {os.cpu_count()} cores")
    assert lines[1] == "packages"
    names = ["torch", "transformers", "tokenizers", "timm", "torchvision", "pandas", "pyarrow", "pydicom"]
    assert [line.split()[0] for line in lines[2:10]] == names
    assert lines[7] == f"  pandas        {importlib.metadata.version('pandas')}"
    assert lines[10:] == [
        "folders",
        f"  results       {tmp_path / 'results'}  (writable, 5 GiB free)",
        f"  cache         {tmp_path / 'cache' / 'refers-bench'}  (writable, 5 GiB free)",
        "data roots",
        "  none set: REFERS_BENCH_ROOT_<NAME>=FOLDER, or data_roots in the config file",
    ]
    monkeypatch.setattr(os, "access", lambda place, how: how != os.W_OK)

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    lines = cli("--results", "elsewhere", "doctor", "--no-torch")[0].splitlines()
    assert lines[2] == "  torch         not installed"
    assert lines[11] == f"  results       {tmp_path / 'elsewhere'}  (NOT WRITABLE, 5 GiB free)"


def test_data_roots_that_are_there_and_one_that_is_not(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openi").mkdir()
    (tmp_path / "w.npz").write_bytes(b"")
    monkeypatch.setenv("REFERS_BENCH_ROOT_OPENI", str(tmp_path / "openi"))
    monkeypatch.setenv("REFERS_BENCH_ROOT_A_FILE", str(tmp_path / "w.npz"))
    there = [
        f"  a_file              {tmp_path / 'w.npz'}  ($REFERS_BENCH_ROOT_A_FILE)",
        f"  openi               {tmp_path / 'openi'}  ($REFERS_BENCH_ROOT_OPENI)",
    ]
    assert cli("doctor", "--no-torch")[0].splitlines()[-2:] == there
    monkeypatch.setenv("REFERS_BENCH_ROOT_GONE", str(tmp_path / "gone"))
    gone = f"  gone                {tmp_path / 'gone'}  ($REFERS_BENCH_ROOT_GONE)  MISSING"
    assert cli("doctor", "--no-torch", code=2)[0].splitlines()[-3:] == [there[0], gone, there[1]]
