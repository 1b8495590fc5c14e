"""A shell completes manifests, plans, cells, datasets and executors by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.manifest import packaged
from results_folder import Folder


def completed(folder: Path, *words: str) -> list[str]:
    """What bash is offered for the last word; files are "file," and the word."""
    environment = {
        **os.environ,
        "_REFERS_BENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("refers-bench", *words)),
        "COMP_CWORD": str(len(words)),
    }
    code = "from refers_bench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, method in {"tiny": "refers", "other": "scratch"}.items():
        folder = Folder(tmp_path / "results", name)
        folder.cell(method)
        folder.save()
    return tmp_path


def test_names_are_completed(place: Path) -> None:
    assert completed(place, "run", "smo") == ["smoke", "file,smo"]
    assert set(packaged.names()) < set(completed(place, "plan", ""))
    assert completed(place, "report", "t") == ["tiny", "file,t"]
    assert completed(place, "logs", "refers") == ["refers+covid19_idc-viral_vs_bacterial-1-0"]
    assert completed(place, "data", "prepare", "nih") == ["nih_chestxray14"]
    assert completed(place, "data", "prepare", "ta") == [], "a reader of one's own images is no dataset"
    assert completed(place, "run", "smoke", "--executor", "") == list(plugins.engines())


def test_another_results_folder_is_heeded_and_an_unreadable_one_completes_to_nothing(place: Path) -> None:
    assert completed(place, "--results", "elsewhere", "logs", "") == []
    (place / "results" / "tiny" / "plan.lock.json").write_text("{")
    assert completed(place, "logs", "refers") == []
