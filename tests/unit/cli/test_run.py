"""What a run starts, in which order, what it prints, and the exit code it ends with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

PREPARE, PRETRAIN = "prepare.phantom.36px", "pretrain.refers.phantom"
REFERS = ["refers.phantom.findings.50%.s0", "refers.phantom.findings.100%.s0"]
SCRATCH = ["scratch.phantom.findings.50%.s0", "scratch.phantom.findings.100%.s0"]
#: On one slot of this machine, as the scripted engine has one.
DRY = ("--dry-run", "--executor", "local", "--slots", "1")
ORDER = [PREPARE, PRETRAIN, *REFERS, *SCRATCH]
#: Modules that a process loads once, for all jobs that begin as copies of it.
LIGHT = ["refers_bench.execution.worker", "refers_bench.jobs.entry"]
HEAVY = [*(f"refers_bench.jobs.{kind}" for kind in ("prepare", "finetune", "pretrain")), "torch._dynamo"]
TEXT = ["transformers.models.bert.modeling_bert"]


def first(names: list[str]) -> list[str]:
    """Each in its first attempt."""
    return [f"{name} 1" for name in names]


def said(err: str) -> list[str]:
    """Lines with jobs that took no time."""
    return [re.sub(r" \d+ s  ", " 0 s  ", line) for line in err.splitlines()]


def test_everything_runs_once_in_the_order_of_needs(cli: Any) -> None:
    out, err = cli("run", "small.yaml", "--no-report")
    assert out == ""
    assert sorted(cli.started()) == sorted(first(ORDER))
    *shown, compared = said(err)
    assert re.fullmatch(r"6 jobs took \d+ s of slots; forecast \d+ s \([\d.]+ times as much; 6 model\)", compared)
    assert [line.partition("  AUC ")[0] for line in shown] == [
        "small: 6 of 6 jobs to run, on scripted",
        *(f"[{number + 1}/6] ok                0 s  {name}" for number, name in enumerate(ORDER)),
    ]
    out, err = cli("run", "small.yaml", "--no-report")
    assert (out, err, cli.started()) == ("", "small: 0 of 6 jobs to run, on scripted\n", [])


def test_ctrl_c_says_what_is_done_and_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("run", "small.yaml", "--no-report", "--only", "scratch*.50%*")

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refers_bench.execution.running.run", stopped)
    monkeypatch.setattr("sys.argv", ["refers-bench", "run", "small.yaml", "--set", "title=a b"])
    _, err = cli("run", "small.yaml", code=130)
    assert err == "stopped; 2 of 6 jobs are done; to resume: refers-bench run small.yaml --set 'title=a b'\n"


def test_a_dry_run_shows_and_writes_nothing(cli: Any, tmp_path: Path) -> None:
    out, err = cli("run", "small.yaml", "--dry-run")
    assert out.splitlines() == [
        f"to do        prepare   {PREPARE}",
        f"to do        pretrain  {PRETRAIN}",
        *(f"to do        finetune  {name}" for name in [*REFERS, *SCRATCH]),
        "jobs                 done      running        to do       failed  unavailable",
        "prepare                 0            0            1            0            0",
        "pretrain                0            0            1            0            0",
        "finetune                0            0            4            0            0",
    ]
    assert err == ""
    assert not (tmp_path / "results").exists()
    out, _ = cli("run", "small.yaml", "--dry-run", "--only", "scratch*100%*")
    assert out.splitlines()[:2] == [f"to do        prepare   {PREPARE}", f"to do        finetune  {SCRATCH[1]}"]


def test_only_takes_what_matches_with_what_it_needs(cli: Any) -> None:
    _, err = cli("run", "small.yaml", "--no-report", "--only", "scratch*.50%*", "--only", "*refers*100%*")
    assert cli.started() == first([PREPARE, PRETRAIN, REFERS[1], SCRATCH[0]])
    assert err.startswith("small: 4 of 6 jobs to run, on scripted\n")
    _, err = cli("run", "small.yaml", "--no-report")
    assert cli.started() == first([REFERS[0], SCRATCH[1]])
    _, err = cli("run", "small.yaml", "--only", "scrtch.phantom.findings.50%.s0", code=2)
    there = (
        f"matches no job; allowed: rows refers, scratch; jobs such as {PREPARE}, {PRETRAIN}, {REFERS[0]} ('plan MANIFEST "
        "--jobs' lists all)"
    )
    near = "did you mean 'scratch.phantom.findings.50%.s0'?"
    assert err == f"error: --only scrtch.phantom.findings.50%.s0 {there}; {near}\n"
    _, err = cli("run", "small.yaml", "--only", "scratch*", "--only", "xxxxxxxxxxxxxxxxxxxxxxx", code=2)
    assert err == f"error: --only xxxxxxxxxxxxxxxxxxxxxxx {there}\n"


def test_only_takes_names_of_rows(cli: Any) -> None:
    cli("run", "small.yaml", "--no-report", "--only", "scratch")
    assert cli.started() == first([PREPARE, *SCRATCH])
    cli("run", "small.yaml", "--no-report", "--only", "ref*")
    assert cli.started() == first([PRETRAIN, *REFERS])
    _, err = cli("run", "small.yaml", "--only", "scrach", code=2)
    assert err.endswith("; did you mean 'scratch'?\n")


def test_a_dry_run_shows_which_jobs_a_limited_run_starts(cli: Any, tmp_path: Path) -> None:
    for number in range(7):
        out, err = cli("run", "small.yaml", *DRY, "--max-jobs", str(number))
        lines = [line for line in out.splitlines() if line.startswith(("to do", "later"))]
        assert [line.split()[-1] for line in lines] == ORDER
        begun = [line.split()[-1] for line in lines if line.startswith("to do")]
        assert begun == ORDER[:number], "the first ones, in the order of their needs"
        said = f"{6 - number} of 6 jobs left for a later run by --max-jobs {number}"
        assert (said in out) == (number < 6)
        assert err == ""
    assert not (tmp_path / "results").exists()
    cli("run", "small.yaml", "--no-report", "--max-jobs", "2", code=3)
    assert cli.started() == first(ORDER[:2]), "what the dry run said"
    out, _ = cli("run", "small.yaml", *DRY, "--max-jobs", "1", "--only", "scratch")
    assert out.splitlines()[:3] == [
        f"done         prepare   {PREPARE}",
        f"to do        finetune  {SCRATCH[0]}",
        f"later        finetune  {SCRATCH[1]}",
    ]
    assert out.splitlines()[3:] == [
        "jobs                 done      running        to do       failed  unavailable",
        "prepare                 1            0            0            0            0",
        "finetune                0            0            2            0            0",
        "1 of 2 jobs left for a later run by --max-jobs 1",
    ], "of the jobs that are wanted alone"


def test_a_dry_run_shows_what_a_spending_limit_pays_for(cli: Any, tmp_path: Path) -> None:
    out, err = cli("run", "small.yaml", *DRY, "--budget", "1000h")
    assert "later" not in out
    assert re.search(r"refers +.*: fits\n +scratch +.*: fits\n", err)
    out, err = cli("run", "small.yaml", *DRY, "--budget", "0.000001m")
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("to do")] == [PREPARE]
    assert "5 of 6 jobs left for a later run by --budget 0.000001m" in out
    assert "refers" in err and "does not fit" in err
    assert not (tmp_path / "results").exists()


def test_failures_are_named_block_what_needs_them_and_are_tried_again_by_the_next_run(cli: Any, tmp_path: Path) -> None:
    cli.script(**{PRETRAIN: ["nan"], SCRATCH[0]: ["crash", "crash"], SCRATCH[1]: ["lost", "crash"]})
    out, err = cli("run", "small.yaml", "--no-report", code=4)
    assert out == ""
    scratch = [f"{SCRATCH[0]} 1", f"{SCRATCH[0]} 2", f"{SCRATCH[1]} 1", f"{SCRATCH[1]} 2"]
    assert sorted(cli.started()) == sorted([*first([PREPARE, PRETRAIN]), *scratch])
    key = {
        job["name"]: job["key"] for job in json.loads((tmp_path / "results/small/plan.lock.json").read_text())["jobs"]
    }
    assert said(err)[-4:] == [
        f"failed (nan): {PRETRAIN}; refers-bench logs {PRETRAIN} shows what it printed",
        f"failed (crash): {SCRATCH[0]}; refers-bench logs {SCRATCH[0]} shows what it printed",
        f"failed (crash): {SCRATCH[1]}; refers-bench logs {SCRATCH[1]} shows what it printed",
        "waiting for failed or unavailable ones: 2 jobs",
    ]
    assert "[3/6] crash             0 s  scratch.phantom.findings.50%.s0  crash as written" in said(err)
    record = json.loads((tmp_path / f"results/store/{key[SCRATCH[1]]}.failed.json").read_text())
    assert {name: record[name] for name in ("category", "message", "attempts", "name", "kind")} == {
        "category": "crash", "message": "crash as written", "attempts": 2, "name": SCRATCH[1], "kind": "finetune",
    }  # fmt: skip
    cli.script()
    _, err = cli("run", "small.yaml", "--no-report")
    assert cli.started() == first([PRETRAIN, *REFERS, *SCRATCH])
    assert err.startswith("small: 5 of 6 jobs to run")
    assert list((tmp_path / "results" / "store").glob("*.failed.json")) == []


@pytest.mark.parametrize(("most", "code", "left"), [(0, 3, 6), (2, 3, 4), (5, 3, 1), (6, 0, 0)])
def test_at_most_so_many_jobs(cli: Any, most: int, code: int, left: int) -> None:
    _, err = cli("run", "small.yaml", "--no-report", "--max-jobs", str(most), code=code)
    assert cli.started() == first(ORDER[:most])
    last = f"incomplete: 0 jobs unavailable, {left} left"
    assert (err.splitlines()[-1] == last) is (code == 3)


def test_what_cannot_be_had_is_named_and_the_rest_runs(cli: Any) -> None:
    cli.manifest(("methods: [refers, scratch]", "methods: [{id: checkpoint, name: mine}, scratch]"))
    _, err = cli("run", "small.yaml", "--no-report", code=3)
    assert cli.started() == first([PREPARE, *SCRATCH])
    lines = err.splitlines()
    assert lines[0] == "small: 3 of 5 jobs to run, on scripted"
    assert lines[-2].startswith("unavailable: data root 'checkpoint' is not set: set REFERS_BENCH_ROOT_CHECKPOINT")
    assert lines[-1] == "incomplete: 2 jobs unavailable, 0 left"
    _, err = cli("run", "small.yaml", "--no-report", "--only", "scratch*")
    assert err == "small: 0 of 5 jobs to run, on scripted\n"


def test_how_jobs_run_is_the_manifests_or_the_commands(cli: Any, tmp_path: Path) -> None:
    cli.script()
    cli("run", "small.yaml", "--no-report", "--max-jobs", "0", code=3)
    week = 7 * 86400.0
    usual = {
        "executor": "scripted", "options": {}, "device": "auto", "threads": 1, "processes": None,
        "arithmetic": "native", "time_limit": week, "micro_batches": 1, "max_jobs": 0, "budget_s": None,
        "retries": {"crash": 1, "lost": 2, "cuda_oom": 9, "host_oom": 9}, "slots": ["cuda"] * 8, "roots": {},
        "preload": [*LIGHT, *HEAVY, *TEXT],
    }  # fmt: skip
    assert cli.settings() == usual
    own = (
        "threads: 3, prepare_processes: 5, arithmetic: portable, time_limit: 90m, accumulate: 4, "
        "retries: {crash: 0, nan: 1}, options: {queue: long}"
    )
    cli.manifest(("executor: scripted", f"executor: scripted, {own}"))
    cli("run", "small.yaml", "--no-report", "--max-jobs", "0", "--device", "cpu", code=3)
    theirs = {
        **usual, "threads": 3, "processes": 5, "arithmetic": "portable", "time_limit": 5400.0, "micro_batches": 4,
        "retries": {"crash": 0, "lost": 2, "cuda_oom": 9, "host_oom": 9, "nan": 1}, "options": {"queue": "long"},
        "device": "cpu", "slots": ["cpu"] * 8,
    }  # fmt: skip
    assert cli.settings() == theirs
    options = ["--threads", "2", "--time-limit", "2h", "--accumulate", "8", "--max-jobs", "0", "--device", "cpu"]
    cli("run", "small.yaml", "--no-report", *options, code=3)
    assert cli.settings() == {**theirs, "threads": 2, "time_limit": 7200.0, "micro_batches": 8}


def test_networks_and_readers_of_reports_are_loaded_once_where_jobs_that_are_left_have_one(cli: Any) -> None:
    def loaded(*arguments: str, code: int = 0) -> object:
        cli("run", "small.yaml", "--no-report", *arguments, code=code)
        return cli.settings()["preload"]

    assert loaded("--only", "prepare*", "--max-jobs", "0", code=3) == LIGHT
    assert loaded("--only", "scratch*", "--max-jobs", "1", code=3) == [*LIGHT, *HEAVY]
    assert loaded() == [*LIGHT, *HEAVY, *TEXT], "a pre-training may read reports"
    assert loaded() == LIGHT


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--slots", "2"], "--slots: of this machine only; the executor scripted has places of its own"),
        (["--executor", "scriptd"], "error: unknown executor 'scriptd'; allowed: debug, local, ray, scripted, slurm; did you mean 'scripted'?"),
        (["--time-limit", "10"], "error: --time-limit 10; allowed: a number and a unit: 90s, 15m, 2h or 1d"),
        (["--max-jobs", "-1"], "Error: Invalid value for '--max-jobs': -1 is not in the range x>=0."),
        (["--accumulate", "0"], "Error: Invalid value for '--accumulate': 0 is not in the range x>=1."),
        (["--budget", "3 weeks"], "error: --budget 3 weeks; allowed: a number and a unit: 40gpuh, 90cpumin, 3h or 45m"),
        (["--executor", "local", "--device", "cuda"], "--device cuda: this machine shows no GPU (nvidia-smi lists none)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_done_starts_nothing(
    cli: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out, err = cli("run", "small.yaml", "--no-report", *arguments, code=2)
    assert (out, cli.started()) == ("", [])
    assert says in err.splitlines()[-1]


def test_a_run_in_the_commands_own_process(cli: Any) -> None:
    """One place, however many cores there are, and no display that would hide a debugger's prompt."""
    _, err = cli("run", "small.yaml", "--executor", "debug", "--only", "prepare*", "--no-report")
    assert err.splitlines()[0] == "small: 1 of 6 jobs to run, 1 at a time"
    assert "[1/1] ok" in err
