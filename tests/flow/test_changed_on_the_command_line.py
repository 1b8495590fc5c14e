"""What the command line changes of a manifest runs, is recorded, and is said by tables, page and errors."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from command_line import Commands

MANIFEST = """
version: 1
title: A small run
protocol: {preset: smoke, overrides: {pretrain.steps: 2, pretrain.warmup_steps: 1, finetune: {steps: 2, warmup_steps: 1}}}
data: {phantom: {phantom: {seed: 4, studies: 60, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
execution: {cpu_slots: 1}
"""
FILES = {"small.yaml": MANIFEST}


def lock(home: Path, name: str = "small") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "results" / name / "plan.lock.json").read_text())
    return found


def keys(home: Path, name: str = "small") -> dict[str, str]:
    return {job["name"]: job["key"] for job in lock(home, name)["jobs"]}


def test_a_value_is_set_and_recorded_as_an_edited_manifest_would_be(cli: Commands, home: Path) -> None:
    cli("plan", "small.yaml")
    plain = (home / "results" / "small" / "plan.lock.json").read_bytes()
    assert "changes" not in lock(home) and "plugins" not in lock(home)
    cli("plan", "small.yaml", "--set", "finetune.steps=3", "--set", "title=Longer")
    found = lock(home)
    value = found["values"]["finetune.steps"]
    assert (value["value"], value["origin"], value["overridden"]) == (3, "--set finetune.steps=3", True)
    assert found["changes"] == ["--set finetune.steps=3", "--set title=Longer"]
    assert found["title"] == "Longer"
    assert found["manifest"]["protocol"]["overrides"]["finetune.steps"] == 3
    (home / "edited.yaml").write_text(MANIFEST.replace("finetune: {steps: 2", "finetune: {steps: 3"))
    cli("plan", "edited.yaml")
    assert keys(home) == keys(home, "edited"), "an option is an edit"
    cli("plan", "small.yaml")
    assert (home / "results" / "small" / "plan.lock.json").read_bytes() == plain, (
        "the next plan is the manifest's again"
    )


def test_some_rows_and_seeds_run_alone_and_are_shared_with_the_whole_manifest(cli: Commands, home: Path) -> None:
    out, err = cli("run", "small.yaml", "--rows", "scratch", "--seeds", "1")
    assert "small: 2 of 2 jobs to run" in err
    assert "Random init" in out and "REFERS" not in out
    page = (home / "results" / "small" / "report" / "index.html").read_text()
    assert "refers-bench run small.yaml --seeds 1 --rows scratch" in page
    assert "Changed on the command line: --seeds 1, --rows scratch." in page
    some = keys(home)
    out, _ = cli("report", "small", "--format", "csv")
    cells = pd.read_csv(home / "results" / "small" / "report" / "tidy-cells.csv")
    assert cells[["method", "seed"]].to_numpy().tolist() == [["scratch", 1]], (
        "the report is about the plan that is there"
    )
    out, _ = cli("run", "small.yaml", "--dry-run")
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("done")][:1] == ["prepare.phantom.36px"]
    cli("plan", "small.yaml")
    assert some.items() < keys(home).items()


def test_a_limited_run_is_another_run_and_says_so_everywhere(cli: Commands, home: Path) -> None:
    out, err = cli("run", "small.yaml", "--limit", "10", "--rows", "scratch", "--seeds", "0")
    assert "small: 2 of 2 jobs to run" in err
    limited = keys(home)
    assert list(limited) == ["prepare.phantom.36px.limit10", "scratch.phantom.findings.100%.s0"]
    mark = "Limited data: at most 10 images of each split."
    assert out.startswith(mark)
    folder = home / "results" / "store"
    index = pd.read_parquet(folder / limited["prepare.phantom.36px.limit10"] / "index.parquet")
    assert index["split"].value_counts().to_dict() == {"train": 10, "val": 10, "test": 10}
    predicted = pd.read_parquet(folder / limited["scratch.phantom.findings.100%.s0"] / "predictions.parquet")
    assert set(predicted.groupby("split")["image_id"].nunique()) == {10}
    cli(
        "report", "small", *(word for one in ("html", "latex", "markdown", "csv", "json") for word in ("--format", one))
    )
    report = home / "results" / "small" / "report"
    found = json.loads((report / "report.json").read_text())
    text = json.dumps(found)
    tables = [item for section in found["sections"] for item in section["tables"]]
    assert tables and all(table["caption"].startswith(mark) for table in tables)
    assert mark in text
    page = (report / "index.html").read_text()
    assert page.count(mark) > len(tables), "tables, figures and the page's first sentence"
    for path in report.glob("*.tex"):
        if "caption" in path.read_text():
            assert mark in path.read_text(), path.name
    assert set(pd.read_csv(report / "tidy-cells.csv")["limit"]) == {10}
    spreadsheets = [path for path in report.glob("*.csv") if not path.name.startswith("tidy")]
    assert len(spreadsheets) == len(tables)
    for path in spreadsheets:
        assert pd.read_csv(path)["notes"].str.startswith(mark).all(), path.name
    assert lock(home)["manifest"]["limit"] == 10
    assert lock(home)["images"][limited["prepare.phantom.36px.limit10"]] == 30

    cli("plan", "small.yaml", "--rows", "scratch", "--seeds", "0")
    whole = keys(home)
    assert not set(whole.values()) & set(limited.values()), "nothing is shared with the run on all images"
    assert set(whole) != set(limited)


def test_a_manifest_may_state_a_limit(cli: Commands, home: Path) -> None:
    (home / "few.yaml").write_text(f"{MANIFEST}limit: 10\n")
    cli("plan", "few.yaml")
    cli("plan", "small.yaml", "--limit", "10")
    assert keys(home) == keys(home, "few")


def test_a_manifest_comes_from_standard_input(cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(*arguments: str, text: str = f"name: piped\n{MANIFEST}", code: int = 0) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return cli(*arguments, code=code)

    out, err = piped("run", "-", "--rows", "scratch", "--seeds", "0")
    assert "piped: 2 of 2 jobs to run" in err and "Random init" in out
    assert (home / "results" / "piped" / "report" / "index.html").is_file()
    _, err = piped("run", "-", "--rows", "scratch", "--seeds", "0", "--no-report")
    assert "piped: 0 of 2 jobs to run" in err
    out, _ = piped("validate", "-")
    assert out == "-: right (2 methods, 1 target, 2 seeds)\n"
    _, err = piped("run", "-", text=MANIFEST, code=2)
    assert "<stdin>:1:1: the name '-'" in err or "the name '-'; allowed: letters" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "finetune.stepz=3"], r"error: --set finetune\.stepz=3: unknown constant 'finetune\.stepz'.*did you mean 'finetune\.steps'\?"),
        (["--set", "finetune.steps"], r"'finetune\.steps' is not KEY=VALUE"),
        (["--set", "steps=3"], r"unknown key 'steps'.*did you mean 'pretrain\.steps', 'finetune\.steps'\?"),
        (["--set", "protocol.overrides={}", "--set", "finetune.steps=2"], r"finetune\.warmup_steps is still that of smoke: set it, too"),
        (["--rows", "scrach"], r"--rows scrach: unknown row 'scrach'; allowed: refers, scratch; did you mean 'scratch'\?"),
        (["--rows", "refers,,scratch"], r"a name is missing between commas"),
        (["--seeds", "0,x"], r"'x' is no seed; such as --seeds 0,1"),
        (["--seeds", "-1"], r"'-1' is no seed"),
        (["--limit", "0"], r"Invalid value for '--limit'"),
        (["--limit", "many"], r"Invalid value for '--limit'"),
        (["--plugins", "nowhere"], r"Invalid value for --plugins: 'nowhere' is no folder or Python file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_a_mistake_in_an_option_ends_with_its_message(
    cli: Commands, home: Path, command: str, arguments: list[str], said: str
) -> None:
    out, err = cli(command, "small.yaml", *arguments, code=2)
    assert re.search(said, err), err
    assert out == "" and not (home / "results").exists()
