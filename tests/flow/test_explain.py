"""`explain` shows where a finished cell looked, trains again only once, and refuses what it cannot prove."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from command_line import Commands
from refers_bench.store import schemas
from results_folder import record_again

MANIFEST = """
version: 1
title: Attention in little
protocol: {preset: smoke, overrides: {pretrain: {steps: 2, warmup_steps: 1, validate_every: 2}, finetune: {steps: 6, warmup_steps: 1, validate_every: 3}}}
data:
  nih_chestxray14: {phantom: {seed: 4, studies: 60, size: 40, views: 1, contrast: 3.0, prevalence: 0.4}}
  shenzhen_tb: {phantom: {seed: 5, studies: 40, size: 40, views: 1}}
  phantom: {phantom: {seed: 4, studies: 60, size: 40, views: 1}}
source: {dataset: phantom}
methods: [refers, scratch, {id: checkpoint, name: absent, params: {root: nowhere}}]
targets:
  - {dataset: nih_chestxray14, tasks: [findings], label_ratios: [100%]}
  - {dataset: shenzhen_tb, tasks: [tuberculosis]}
seeds: [0, 1]
execution: {cpu_slots: 1}
"""
FILES = {"m.yaml": MANIFEST}
CELL = "scratch.nih_chestxray14.findings.100%.s0"


def listed(folder: Path) -> dict[str, Any]:
    (one,) = json.loads((folder / "results" / "m" / "explain.lock.json").read_text())["explained"]
    return dict(one)


def test_from_a_finished_cell_to_boxes_in_the_report(cli: Commands, tmp_path: Path) -> None:
    _, err = cli("explain", "m.yaml", "--cell", CELL, code=2)
    assert "no plan here; allowed: 'refers-bench plan MANIFEST' writes one" in err
    cli("plan", "m.yaml")
    _, err = cli("explain", "m.yaml", "--cell", CELL, code=2)
    assert f"{CELL} has no result (to do); allowed: a finished cell: refers-bench run m.yaml --only '{CELL}'" in err
    cli("run", "m.yaml", "--only", CELL, "--no-report")
    assert "attention" not in cli("report", "m.yaml", "--format", "markdown")[0], "nothing is shown unasked"

    out, err = cli("explain", "m.yaml", "--cell", "scratch.nih*s0", "--images", "3")
    assert "2 of 3 jobs to run" in err
    assert "Synthetic data. Where the networks look" in out and "class activation: all classes" in out
    store, one = tmp_path / "results" / "store", listed(tmp_path)
    record = json.loads((store / one["attend"] / "run.json").read_text())
    assert record["facts"]["predictions"] == "equal to the stored ones"
    page = (tmp_path / "results" / "m" / "report" / "index.html").read_text()
    assert "figure-attention-" in page and 'id="attention"' in page
    assert "refers-bench explain m.yaml" in page, "the page says how it is made again"

    annotated = schemas.read(store / one["attend"] / "annotated.parquet", "annotated")
    index = next(pd.read_parquet(path) for path in store.glob("*/index.parquet"))
    test = set(index.loc[index["split"] == "test", "image_id"])
    assert set(annotated["image_id"]) <= test and len(annotated), "test images alone"
    maps = load_file(store / one["attend"] / "maps.safetensors")
    overlaps = schemas.read(store / one["localise"] / "overlaps.parquet", "overlaps")
    assert len(maps["rollout"]) == annotated["image_id"].nunique()
    assert len(maps["class"]) == len(annotated[["image_id", "class"]].drop_duplicates()) == len(overlaps) / 2
    assert np.isfinite(maps["class"]).all() and (maps["class"] >= 0).all()
    assert len(load_file(store / one["localise"] / "shown.safetensors")["pixels"]) == 3

    program = "import sys\nfrom refers_bench.cli import main\ntry:\n  main(sys.argv[1:])\nfinally:\n  print('torch' in sys.modules)"
    asked = [sys.executable, "-c", program, "explain", "m", "--cell", CELL, "--images", "3", "--no-report"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n"), "the command needs no torch, its workers do"

    # Again: nothing to do, the same page. Another threshold: no training, and no radiograph where none is wanted.
    _, err = cli("explain", "m.yaml", "--cell", CELL, "--images", "3")
    assert "0 of 3 jobs to run" in err
    assert (tmp_path / "results" / "m" / "report" / "index.html").read_text() == page
    _, err = cli("explain", "m.yaml", "--cell", CELL, "--threshold", "0.5", "--map", "class", "--images", "0")
    assert "1 of 3 jobs to run" in err and re.search(r"\[1/1\] ok .* localise\.", err)
    again = listed(tmp_path)
    assert again["attend"] == one["attend"] and again["localise"] != one["localise"]
    assert not (store / again["localise"] / "shown.safetensors").exists()
    page = (tmp_path / "results" / "m" / "report" / "index.html").read_text()
    assert "figure-attention-" not in page and 'id="attention"' in page and "attention rollout" not in page


def test_a_classifier_that_is_not_the_stored_one_is_refused(cli: Commands, tmp_path: Path) -> None:
    cli("run", "m.yaml", "--only", CELL, "--no-report")
    (path,) = (tmp_path / "results" / "store").glob("*/predictions.parquet")
    frame = schemas.read(path, "predictions")
    frame.loc[5, "logit"] = np.nextafter(frame.loc[5, "logit"], np.float32(9))
    schemas.write(path, frame, "predictions")
    record_again(path.parent)
    _, err = cli("explain", "m.yaml", "--cell", CELL, code=4)
    assert "does not give its stored predictions: logits differ by up to" in err
    assert not (tmp_path / "results" / "m" / "report").exists()
    (failure,) = (tmp_path / "results" / "store").glob("*.failed.json")
    assert json.loads(failure.read_text())["category"] == "data_error"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "scrach*"], "--cell scrach* matches no cell; allowed: names such as"),
        (["--cell", "refers.nih_chestxray14.findings.100%.s2"], "did you mean 'refers.nih_chestxray14.findings.100%.s"),
        (["--cell", "scratch.shenzhen*"], "dataset shenzhen_tb has no annotated boxes; allowed: nih_chestxray14, "),
        (["--cell", "absent.nih*s0"], "has no result (data root 'nowhere' is not set"),
        (["--cell", "*", "--threshold", "1"], "Invalid value for '--threshold'"),
        (["--cell", "*", "--images", "13"], "Invalid value for '--images'"),
        ([], "Missing option '--cell'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_errors(cli: Commands, arguments: list[str], message: str) -> None:
    cli("plan", "m.yaml")
    _, err = cli("explain", "m", *arguments, code=2)
    assert message in re.sub(r"\s+", " ", err)
