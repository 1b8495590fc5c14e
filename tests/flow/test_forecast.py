"""What a run will take is said beforehand and measured only once, and a budget finishes whole rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from command_line import Commands
from refers_bench.store.results import ResultStore
from tiny_jobs import job

MANIFEST = """
version: 1
title: A small run
protocol: {preset: smoke, overrides: {pretrain: {steps: 6, warmup_steps: 1, validate_every: 3}, finetune: {steps: 6, warmup_steps: 1, validate_every: 3}}}
data: {phantom: {phantom: {seed: 4, studies: 40, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [lsp_transformer, scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [100%]}]
seeds: [0, 1]
execution: {cpu_slots: 1}
"""
FILES = {"small.yaml": MANIFEST}


def forecast(cli: Commands, *options: str) -> dict[str, Any]:
    out, _ = cli("plan", "small.yaml", "--forecast", "--json", *options)
    content: dict[str, Any] = json.loads(out)
    return content


def sources(content: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {kind["name"]: kind["sources"] for kind in content["kinds"]}


def test_modelled_then_probed_then_recorded(cli: Commands, tmp_path: Path) -> None:
    modelled = forecast(cli, "--no-probe")
    assert sources(modelled) == {"prepare": {"model": 1}, "pretrain": {"model": 1}, "finetune": {"model": 4}}
    assert not list(tmp_path.glob("results/probes/*")) and not (tmp_path / "results" / "store").exists()
    assert modelled["jobs_to_run"] == 6 and modelled["unit"] == "CPU-hours" and modelled["slots"] == 1
    assert modelled["wall_s"] > modelled["bound_s"] >= modelled["critical_path"]["seconds"] > 0
    assert [name.partition(".")[0] for name in modelled["critical_path"]["jobs"]] == [
        "prepare", "pretrain", "lsp_transformer",
    ]  # fmt: skip
    said = "compilation (execution.compile) is not counted in 5 jobs, nor what it saves"
    assert said in forecast(cli, "--no-probe", "--set", "execution.compile=true")["notes"]
    assert said not in modelled["notes"]
    part = forecast(cli, "--no-probe", "--only", "scratch.*")
    assert sources(part) == {"prepare": {"model": 1}, "finetune": {"model": 2}}
    wider = forecast(cli, "--no-probe", "--slots", "4")
    assert wider["wall_s"] < modelled["wall_s"] and wider["hours"] == modelled["hours"]

    out, err = cli("plan", "small.yaml", "--forecast")
    assert "probing 4 shapes of jobs" in err and "4/4 probes" in err
    assert "nothing was prepared" in out and "0 jobs recorded, 6 jobs probed, 0 jobs model" in out
    assert re.search(r"total +\d+\.\d\d CPU-hours", out) and re.search(r"wall time +\d+ (s|min|h)\b", out)
    assert re.search(r"lsp_transformer +3 .* 3 probed", out) and re.search(r"\(data\) +1 .* 1 probed", out)
    files = sorted(path.name for path in tmp_path.glob("results/probes/*"))
    assert len(files) == 4 and not (tmp_path / "results" / "store").exists()

    _, err = cli("plan", "small.yaml", "--forecast")
    assert "probing" not in err
    probed = forecast(cli)
    assert sources(probed) == {"prepare": {"probed": 1}, "pretrain": {"probed": 1}, "finetune": {"probed": 4}}

    cli("run", "small.yaml", "--only", "scratch.*s0", "--no-report")
    after = forecast(cli)
    assert after["jobs_done"] == 2 and after["jobs_to_run"] == 4
    by_name = {job["name"]: job["source"] for job in after["jobs"]}
    assert by_name["scratch.phantom.findings.100%.s1"] == "recorded"
    assert by_name["pretrain.lsp_transformer.phantom"] == "probed"
    assert not any("7 : 1 : 2" in note for note in after["notes"])  # the index is there now

    cli("run", "small.yaml", "--no-report")
    done = forecast(cli)
    assert (done["jobs_to_run"], done["hours"], done["wall_s"]) == (0, 0, 0)


def test_a_gpu_that_is_not_here_is_modelled(cli: Commands) -> None:
    found = forecast(cli, "--on", "NVIDIA A100 80GB", "--slots", "8")
    assert found["unit"] == "GPU-hours" and found["slots"] == 8
    assert found["device"] == {"kind": "cuda", "label": "NVIDIA A100 80GB", "memory_bytes": 80 << 30}
    assert all(set(kind["sources"]) == {"model"} for kind in found["kinds"])


def test_gpus_at_hand_are_the_slots_and_the_unit(
    cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\n[ $1 = --query-gpu=index ] && printf '0\\n1\\n2\\n' || echo 'NVIDIA L40S, 46068'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = forecast(cli, "--no-probe")
    assert found["device"] == {"kind": "cuda", "label": "NVIDIA L40S", "memory_bytes": 46068 << 20}
    assert found["slots"] == 3 and found["unit"] == "GPU-hours"
    assert forecast(cli, "--no-probe", "--device", "cpu")["unit"] == "CPU-hours"


def test_options_of_a_forecast_without_one_are_refused(cli: Commands) -> None:
    _, err = cli("plan", "small.yaml", "--json", "--slots", "3", "--on", "A100", code=2)
    assert "--json, --slots, --on: only with --forecast" in err


def test_a_budget_says_which_rows_it_pays_for_and_leaves_the_rest(cli: Commands, tmp_path: Path) -> None:
    _, err = cli("run", "small.yaml", "--budget", "0.001m", "--no-report", code=3)
    assert (
        re.search(r"lsp_transformer +.*: does not fit", err) and "0 jobs recorded, 0 jobs probed, 6 jobs model" in err
    )
    store = ResultStore(tmp_path / "results")
    first = sorted(path.name for path in store.root.iterdir())
    assert len(first) == 1  # the preparation took more than 60 ms; no job started after it
    assert "5 left" in err

    _, err = cli("run", "small.yaml", "--budget", "2cpuh", "--no-report")
    assert len(re.findall(r": fits", err)) == 2
    assert [re.split(r"  +", line.strip())[2] for line in err.splitlines() if " ok " in line] == [
        "pretrain.lsp_transformer.phantom",
        "lsp_transformer.phantom.findings.100%.s0", "lsp_transformer.phantom.findings.100%.s1",
        "scratch.phantom.findings.100%.s0", "scratch.phantom.findings.100%.s1",
    ]  # fmt: skip
    _, err = cli("run", "small.yaml", "--budget", "1h", "--no-report")
    assert len(re.findall("nothing to run", err)) == 2


@pytest.mark.parametrize(("budget", "says"), [("40gpuh", "slots are on the CPU"), ("soon", "a number and a unit")])
def test_a_budget_that_cannot_be_had_starts_nothing(cli: Commands, tmp_path: Path, budget: str, says: str) -> None:
    _, err = cli("run", "small.yaml", "--budget", budget, "--device", "cpu", code=2)
    assert says in err
    assert not (tmp_path / "results" / "store").exists()


def test_jobs_start_in_the_order_of_their_ranks_until_the_budget_is_spent(orchestrator: Any) -> None:
    jobs = [job(f"j{i}", sleep=0.5) for i in range(8)]
    order = {one.key: float(-number) for number, one in enumerate(jobs)}
    outcome = orchestrator.run(jobs, workers=1, order=order, budget_s=1.25)
    # The last ones first. Each takes half a second or more, so a fourth would start after the budget was spent; the one
    # that runs then is let finish.
    started = len(outcome["done"])
    assert 1 <= started <= 3
    assert outcome["done"] == [f"j{i}" for i in range(8 - started, 8)]
    assert outcome["failed"] == {} and outcome["blocked"] == []
    rest = orchestrator.run(jobs, workers=4)
    assert len(rest["done"]) == 8 - started  # what is done is not run again
