"""One store gives the same bytes in every format, twice, and wherever and whenever it is rendered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refers_bench.reporting.page import FORMATS

PLACES: dict[str, dict[str, str]] = {
    "here": {"PYTHONHASHSEED": "1"},
    "elsewhere": {"PYTHONHASHSEED": "3", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
    "again": {"PYTHONHASHSEED": "5"},
    "plain": {"PYTHONHASHSEED": "4", "LC_ALL": "C", "TZ": "America/St_Johns", "SOURCE_DATE_EPOCH": "1"},
}


@pytest.fixture
def results(folder: Any) -> Path:
    for method, base in (("refers", 0.8), ("c2l", 0.7), ("caf\u00e9 \u00df \u0130", 0.6)):
        for ratio in (0.01, 1.0):
            for seed in range(3):
                state = "failed" if (base, seed) == (0.6, 2) else "done"
                aucs = {"a": base + 0.01 * seed, "b": base - 0.02 * seed}
                folder.cell(method, seed=seed, ratio=ratio, state=state, aucs=aucs, label=method)
    path: Path = folder.save()
    return path


def test_every_format_has_the_same_bytes_everywhere(results: Path, tmp_path: Path) -> None:
    written: dict[str, dict[str, bytes]] = {}
    for place, settings in PLACES.items():
        out = tmp_path / place
        if place != "again":  # which reads back what was computed and drawn before
            shutil.rmtree(results / "statistics", ignore_errors=True)
        formats = [word for name in FORMATS for word in ("--format", name)]
        line = [sys.executable, "-m", "refers_bench", "--results", str(results), "report", "tiny", "--out", str(out)]
        done = subprocess.run(
            [*line, *formats], env={**os.environ, **settings}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        written[place] = {path.name: path.read_bytes() for path in out.iterdir()}
    first = written["here"]
    assert {"index.html", "report.md", "report.tex", "report.json", "cells.csv", "figure-auc.pdf"} <= set(first)
    for place, files in written.items():
        assert set(files) == set(first), place
        assert [name for name in first if files[name] != first[name]] == [], place
