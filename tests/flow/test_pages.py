"""The pages first_hour.md, review.md, ci.md and statistics.md run as they stand, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from page_blocks import Shell, blocks, shell_in


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs lines of a shell in an empty folder, where the package is what an installation has of it."""
    return shell_in(tmp_path)


def done(shell: Shell, lines: str) -> str:
    """What lines printed on standard output that ended well."""
    ended = shell(lines)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_first_hour_leads_to_a_table(shell: Shell, tmp_path: Path) -> None:
    here, first, again, numbers = blocks("first_hour.md")
    assert "smoke" in done(shell, here)
    assert "first.yaml: right" in done(shell, first)
    page = tmp_path / "work" / "results" / "first" / "report" / "index.html"
    assert page.is_file()
    said = done(shell, again)
    assert "finetune.steps" in said, "the reason why a cell is stale"
    assert done(shell, numbers).splitlines()[-3].startswith("manifest,method,")
    cells = pd.read_csv(page.parent / "tidy-cells.csv")
    assert set(cells["method"]) == {"scratch"} and set(cells["seed"]) == {0, 1, 2}
    assert cells["state"].eq("done").all()


def test_released_predictions_are_checked(shell: Shell, tmp_path: Path) -> None:
    (block,) = blocks("review.md")
    said = done(shell, block)
    assert "ours" in said and "theirs" in said
    work = tmp_path / "work"
    cells = pd.read_csv(work / "results" / "released" / "report" / "tidy-cells.csv").set_index("method")["mean_auc"]
    assert cells["ours"] > cells["theirs"] > 0.6
    assert (work / "results" / "released" / "report" / "test-images.csv").is_file()


def test_a_baseline_is_made_and_kept(shell: Shell, tmp_path: Path) -> None:
    (block,) = blocks("ci.md")
    done(shell, block)
    work = tmp_path / "work"
    assert "<testsuite" in (work / "check.xml").read_text() and (work / "check.md").read_text()
    # The exit code of the page's table: AUCs that have moved are drift.
    baseline = work / "baseline.json"
    moved = re.sub(r'"auc": ?0\.\d+', '"auc": 0.01', baseline.read_text())
    assert moved != baseline.read_text()
    baseline.write_text(moved)
    assert shell("refers-bench check nightly --baseline baseline.json").returncode == 5


def test_a_benchmark_is_frozen_and_what_deviates_is_listed(shell: Shell, tmp_path: Path) -> None:
    (block,) = blocks("statistics.md")
    said = done(shell, block)
    assert re.search(r"^frozen: .*plan\.frozen\.json\nSHA-256: [0-9a-f]{64}$", said, re.MULTILINE)
    assert "P (Holm), Random initialisation against Fast" in said
    first, rest = said.rpartition("frozen plan of ")[::2]
    assert "deviation" not in first and "  constant finetune.steps: " in rest.splitlines()[1]
