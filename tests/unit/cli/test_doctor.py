"""What a machine can run, as it is printed, and the exit code when a data root is not there."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.manifest import roots

ANY = "  a manifest may want others: REFERS_BENCH_ROOT_<NAME>=PATH, or data_roots in the config file, sets any name"


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
        f"  config        {tmp_path / 'config' / 'refers-bench' / 'config.yaml'}  (no such file)",
        "data roots",
        f"  not set: {', '.join(name for name in plugins.names('dataset') if name not in ('folder', 'table'))}",
        ANY,
    ]

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert cli("doctor", "--no-torch")[0].splitlines()[2] == "  torch         not installed"


@pytest.mark.parametrize("option", ["--results", "--cache"])
def test_a_folder_that_cannot_be_written(option: str, cli: Any, tmp_path: Path) -> None:
    """Whoever runs the tests may write to any folder, but not below a file, nor make files in /proc."""
    (tmp_path / "file").write_text("")
    for folder, reason in (
        (tmp_path / "file" / "below", f"{tmp_path / 'file'} is no folder"),
        ("/proc/none", "nothing can be written to /proc"),
    ):
        out, _ = cli(option, str(folder), "doctor", "--no-torch", code=1)
        assert f"  {option[2:]:<14}{folder}  (NOT WRITABLE: {reason})" in out.splitlines()


def test_misspelt_variables_are_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESULT", "ROOT_NIH_CHESTXRAY", "ROOT_MY_OWN_LISTS", "UNHEARD_OF", "ROOT_OPENI", "REAL_DATA"):
        monkeypatch.setenv(f"REFERS_BENCH_{name}", "/")
    said = [line for line in cli("doctor", "--no-torch")[0].splitlines() if "nothing reads" in line]
    assert said == [
        "  nothing reads REFERS_BENCH_RESULT; did you mean REFERS_BENCH_RESULTS?",
        "  nothing reads REFERS_BENCH_ROOT_NIH_CHESTXRAY; did you mean REFERS_BENCH_ROOT_NIH_CHESTXRAY14?",
        "  nothing reads REFERS_BENCH_UNHEARD_OF",
    ]


def test_every_variable_that_is_read_is_known() -> None:
    root = Path(roots.__file__).parents[1]
    read = {
        name for path in root.rglob("*.py") for name in re.findall(r"(?<![_\w])REFERS_BENCH_[A-Z_]+", path.read_text())
    }
    others = {name for name in read - set(roots.VARIABLES) if not name.startswith(roots.PREFIX)}
    assert not others and roots.PREFIX in read


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
    assert cli("doctor", "--no-torch")[0].splitlines()[-4:-2] == there
    monkeypatch.setenv("REFERS_BENCH_ROOT_GONE", str(tmp_path / "gone"))
    gone = f"  gone                {tmp_path / 'gone'}  ($REFERS_BENCH_ROOT_GONE)  MISSING"
    assert cli("doctor", "--no-torch", code=2)[0].splitlines()[-5:-2] == [there[0], gone, there[1]]
