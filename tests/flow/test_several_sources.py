"""From a manifest with two source datasets to a table: planned, forecast, run, exported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from command_line import Commands
from refers_bench.jobs import entry
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from tiny_jobs import finetune_job, prepare_job, pretrain_job, sent_job

MANIFEST = """
version: 1
protocol:
  preset: smoke
  overrides:
    pretrain: {steps: 2, warmup_steps: 1, validate_every: 2}
    finetune: {steps: 2, warmup_steps: 1, validate_every: 2}
data:
  phantom: {phantom: {seed: 4, studies: 30, size: 40, views: 2}}
  covid19_idc: {phantom: {seed: 5, studies: 40, size: 40}}
source: [phantom, covid19_idc]
methods: [refers, {id: transvw, params: {words: 4, features: 8, feature_size: 16, feature_steps: 2}}]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
FILES = {"two.yaml": MANIFEST, "again.yaml": MANIFEST.replace("[phantom, covid19_idc]", "[covid19_idc, phantom]")}


def test_planned_and_forecast(cli: Commands) -> None:
    out = cli("run", "two.yaml", "--dry-run").out
    for name in ("discover.transvw", "pretrain.transvw", "pretrain.refers"):
        assert f"{name}.covid19_idc+phantom" in out
    out = cli("plan", "two.yaml", "--forecast", "--no-probe").out
    assert re.search(r"pretrain +2 ", out) and re.search(r"prepare +2 ", out)
    locks = [Path("results") / name / "plan.lock.json" for name in ("two", "again")]
    for path in ("two.yaml", "again.yaml"):
        cli("plan", path)
    keys = [[job["key"] for job in json.loads(lock.read_text())["jobs"]] for lock in locks]
    assert keys[0] == keys[1]


@pytest.mark.slow
def test_run_reported_and_exported(cli: Commands, tmp_path: Path) -> None:
    out = cli("run", "two.yaml", "--executor", "debug").out
    assert "report:" in out
    page = (tmp_path / "results" / "two" / "report" / "index.html").read_text()
    assert "pre-trained on covid19_idc and phantom together" in page
    cli("weights", "export", "two.yaml", "refers", "encoder.safetensors", "--layout", "refers-bench")
    data = json.loads(Path("encoder.safetensors.json").read_text())["data"]
    assert [part["id"] for part in data] == ["covid19_idc", "phantom"] and data[0]["licence"]
    assert data[0]["digest"] != data[1]["digest"]


def test_pretrained_on_two_prepared_stores_and_fine_tuned(tmp_path: Path) -> None:
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    store, prepared = ResultStore(context.results), [prepare_job("covid19_idc"), prepare_job("phantom")]
    alone = [pretrain_job("model_genesis", one, steps=4) for one in prepared]
    together = sent_job(**{**alone[0]["spec"], "source": [one["spec"]["source"] for one in alone]})
    tuned = finetune_job("model_genesis", prepared[1], together["key"], steps=2)
    for job in (*prepared, *alone, together, tuned):
        entry.run(job, context)
    facts = [(store.record(job["key"]) or {})["facts"] for job in (*alone, together)]
    for split in ("train", "val"):
        assert facts[2]["examples"][split] == facts[0]["examples"][split] + facts[1]["examples"][split] > 0
    assert facts[2]["data_digest"] == {"covid19_idc": facts[0]["data_digest"], "phantom": facts[1]["data_digest"]}
    assert len(pd.read_parquet(store.folder(tuned["key"]) / "predictions.parquet")) > 0
    # The stores stay where they are: no third one of the union.
    assert {path.name for path in (context.cache / "prepared").iterdir()} == {one["key"] for one in prepared}
