"""A user runs a manifest from Python: what is stored is what the command line stores, and its CSV says the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import refers_bench as rb
from command_line import Commands

STEPS = {"steps": 2, "warmup_steps": 1, "validate_every": 2}
MANIFEST: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "title": "A small run",
    "protocol": {"preset": "smoke", "overrides": {"pretrain": STEPS, "finetune": STEPS}},
    "data": {"phantom": {"phantom": {"seed": 4, "studies": 30, "size": 40, "views": 2}}},
    "source": {"dataset": "phantom"},
    "methods": ["lsp_transformer", "scratch"],
    "targets": [{"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%"]}],
    "seeds": [0, 1],
    "execution": {"cpu_slots": 2, "arithmetic": "portable"},
}
FILES = {
    "small.yaml": """
version: 1
title: A small run
protocol: {preset: smoke, overrides: {pretrain: &short {steps: 2, warmup_steps: 1, validate_every: 2}, finetune: *short}}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [lsp_transformer, scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%]}]
seeds: [0, 1]
execution: {cpu_slots: 2, arithmetic: portable}
"""
}


def test_from_python_and_from_the_command_line(cli: Commands, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = rb.run(MANIFEST, only="scratch.*", results="python")
    assert capsys.readouterr().err.splitlines()[0] == "small: 3 of 6 jobs to run, 2 at a time"
    assert list(ours.cells()["state"]) == ["missing", "missing", "done", "done"]
    ours = rb.run(MANIFEST, results="python")
    assert set(ours.cells()["state"]) == {"done"}
    said = capsys.readouterr().err
    assert said.startswith("small: 3 of 6 jobs to run") and "[3/3] ok" in said

    cli("run", "small.yaml")
    cli("report", "small.yaml", "--format", "csv")
    for name, frame in (("cells", ours.cells()), ("classes", ours.classes())):
        theirs = pd.read_csv(home / "results" / "small" / "report" / f"tidy-{name}.csv", keep_default_na=False)
        assert list(theirs["key"]) == list(frame["key"])
        value = "mean_auc" if name == "cells" else "auc"
        assert list(pd.to_numeric(theirs[value])) == list(frame[value])

    # The predictions give the stored AUCs again, by another library.
    predictions = ours.predictions()
    for row in ours.classes().query("split == 'test'").to_dict("records"):
        one = predictions[(predictions["key"] == row["key"]) & (predictions["class"] == row["class"])].dropna()
        assert roc_auc_score(one["label"].astype(int), one["logit"]) == pytest.approx(row["auc"], abs=1e-12)
    (row,) = ours.compare("lsp_transformer", "scratch").to_dict("records")
    assert (row["n_first"], row["n_second"], row["unit"]) == (2, 2, "patient")
    assert ours.figure("forest").svg().count("<svg") == 1


def test_a_failed_job_raises_after_the_others_have_run(home: Path) -> None:
    endless = {"preset": "smoke", "overrides": {"pretrain": STEPS, "finetune": {**STEPS, "steps": 1_000_000}}}
    broken = {**MANIFEST, "protocol": endless, "execution": {"cpu_slots": 2, "retries": {"timeout": 0}}}
    with pytest.raises(rb.JobsFailed) as caught:
        rb.run(broken, only="scratch.*.s0", time_limit="1s", results="python")
    assert set(caught.value.failed.values()) == {"timeout"}
    assert "refers-bench logs NAME" in str(caught.value)
    found = rb.run(broken, only="scratch.*.s0", time_limit="1s", results="python", check=False)
    assert "failed" in set(found.cells()["state"])


def test_a_script_without_a_guard(home: Path) -> None:
    """Workers, and processes that draw figures, must not run the script again."""
    (home / "script.py").write_text(
        "import refers_bench as rb\n"
        "print('begun')\n"
        "found = rb.run('small.yaml', only='scratch.*.s0')\n"
        "print(len(found.report(['html', 'markdown'])) > 5, __file__.endswith('script.py'))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["begun", "True", "True"]
