"""One's own method, dataset and report, each in one file: checked by the contract tests, and run to a figure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
NEW = ROOT / "tests" / "support" / "plugins"

MANIFEST = """
version: 1
protocol: {preset: smoke}
data:
  phantom: {phantom: {studies: 40, size: 40, views: 2}}
  county_tb: {phantom: {studies: 40, size: 40}}
source: {dataset: phantom}
methods: [{id: simsiam, params: {width: 8, hidden: 4}}, scratch]
targets: [{dataset: county_tb, tasks: [tuberculosis]}]
seeds: [0]
execution: {cpu_slots: 1}
"""


def check(what: str) -> subprocess.CompletedProcess[str]:
    """`plugins check` in a process of its own, away from the repository."""
    command = [sys.executable, "-m", "refers_bench", "plugins", "check", what]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("file", "kind"), [("simsiam", "method"), ("county_tb", "dataset")])
def test_a_new_file_keeps_the_contract(file: str, kind: str) -> None:
    done = check(str(NEW / f"{file}.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith(f"checking {kind} {file}\n")
    assert " passed" in done.stdout


def test_what_breaks_the_contract_is_named(tmp_path: Path) -> None:
    text = (NEW / "simsiam.py").read_text()
    (tmp_path / "drifting.py").write_text(
        text.replace("self.encoder = encoder", "self.encoder = encoder.requires_grad_(False)")
    )
    done = check(str(tmp_path / "drifting.py"))
    assert done.returncode == 1
    assert "no gradient for" in done.stdout
    assert "test_one_step_lowers_the_loss_and_reaches_all_that_fine_tuning_uses[drifting-tiny, paper]" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no folder or Python file"),
        ("x = 1", "holds no plug-in; allowed: a file with METHOD, DATASET or REPORT"),
        ("METHOD =", "this is not Python"),
    ],
)
def test_what_is_no_plug_in_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    done = check(str(tmp_path / "mine.py"))
    assert done.returncode == 2
    assert said in done.stderr and "mine.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_are_dropped_into_the_folders_pass_the_contract_tests_unedited(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "refers_bench", tmp_path / "refers_bench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(NEW / "simsiam.py", tmp_path / "refers_bench" / "methods")
    shutil.copy(NEW / "county_tb.py", tmp_path / "refers_bench" / "datasets")
    files = ["tests/contract/test_methods.py", "tests/contract/test_datasets.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "simsiam or county", *files]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = int(done.stdout.rsplit(" passed", 1)[0].split()[-1])
    assert passed >= 25, done.stdout


def test_a_new_method_meets_a_new_dataset(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MANIFEST)

    def call(*arguments: str) -> str:
        places = ("--results", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"))
        paths = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
        environment = {**os.environ, "PYTHONPATH": paths, "REFERS_BENCH_PLUGINS": str(NEW)}
        command = [sys.executable, "-m", "refers_bench", *places, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("run", str(tmp_path / "mine.yaml"))
    call("report", "mine", "--format", "csv")
    cells = pd.read_csv(tmp_path / "out" / "mine" / "report" / "tidy-cells.csv")
    assert list(cells["method"]) == ["simsiam", "scratch"]
    assert cells["mean_auc"].between(0, 1).all() and set(cells["dataset"]) == {"county_tb"}
    listed = call("plugins", "list")
    assert f"method   simsiam                  {NEW / 'simsiam.py'}" in listed
    assert "engine   local" in listed
