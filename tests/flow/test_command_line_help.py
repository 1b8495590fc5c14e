"""Every command's usage, options, ranges, defaults and exit codes, as the documentation states them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

Commands = Callable[..., tuple[str, str]]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WEIGHTS = ["--layout [timm|refers-bench]  [default: timm]"]
IMPORTED = [
    "--name TEXT  [default: from the source]", "--selected-on [val|test|none|unknown]", "--probabilities", "--report",
]  # fmt: skip
OWN = "--manifest FILE"
PARAM, SIZE = "--param NAME=VALUE", "--size INTEGER RANGE  [default: 256; 16<=x<=2048]"
CHANGES = ["--set KEY=VALUE", "--limit N  [x>=1]", "--seeds 0,1", "--rows NAME,...", "--plugins FOLDER"]

#: Command with its arguments -> its options, each with its range and default.
COMMANDS = {
    "COMMAND [ARGS]...": [
        "--results DIRECTORY  [default: results, or 'results' of the config file]",
        "--cache DIRECTORY  [default: refers-bench in the user's cache folder]",
        "--plugins FOLDER", "--version",
    ],
    "run MANIFEST": [
        "--dry-run", "--only PATTERN", "--executor NAME  [default: the manifest's, else local]",
        "--max-jobs INTEGER RANGE  [x>=0]", "--budget HOURS",
        "--slots INTEGER RANGE  [default: the manifest's, else one per 2 cores; with GPUs one per GPU]  [x>=1]",
        "--threads INTEGER RANGE  [default: the manifest's, else 1]  [x>=1]",
        "--device [auto|cpu|cuda]  [default: auto]", "--time-limit DURATION  [default: the manifest's]",
        "--accumulate N  [default: the manifest's, else 1]  [x>=1]", "--accept-imported", "--no-report", *CHANGES,
    ],
    "plan MANIFEST": [
        "--explain CELL", "--jobs", "--no-write", "--freeze", "--forecast", "--only PATTERN",
        "--slots INTEGER RANGE  [default: this machine's]  [x>=1]",
        "--threads INTEGER RANGE  [default: the manifest's, else 1]  [x>=1]",
        "--device [auto|cpu|cuda]  [default: auto]", "--on GPU", "--no-probe", "--probe-again", "--json", *CHANGES,
    ],
    "status [NAME]...": ["--failed", "--watch [SECONDS]  [x>=0.2]"],
    "logs CELL": ["-f, --follow", "--lines N  [default: 200; x>=0]"],
    "report [MANIFEST]...": [
        "--format [html|latex|markdown|csv|json]  [default: html]", "--out DIRECTORY  [default: RESULTS/<name>/report]",
        "--published / --no-published  [default: published]", "--style [full|paper]  [default: full]",
        "--footnotes / --no-footnotes  [default: footnotes]", "--checklist [claim|tripod-ai|neurips|reforms]", "--open", "--watch [SECONDS]  [x>=0.5]",
    ],
    "explain MANIFEST": [
        "--cell PATTERN  [required]", "--map [rollout|class|both]  [default: both]",
        "--threshold FLOAT RANGE  [default: 0.3; 0<x<1]", "--images INTEGER RANGE  [default: 6; 0<=x<=12]",
        "--slots INTEGER RANGE  [default: as 'run']  [x>=1]", "--no-report",
    ],
    "claims [MANIFEST]": ["--file FILE  [default: those of the REFERS paper]", "--others", "--fail", "--json"],
    "results COMMAND [ARGS]...": [],
    "results bundle MANIFEST": ["--out FILE  [default: <name>.tar.gz]", "--checkpoints"],
    "results fsck [PLAN]...": ["--repair"],
    "results diff A B": ["--json", "--all"],
    "results import COMMAND [ARGS]...": [],
    "results import bundle FILE": ["--name TEXT  [default: the bundle's]"],
    "results import csv FILE": IMPORTED,
    "results import parquet FILE": IMPORTED,
    "results import refers-release FOLDER": [IMPORTED[0], "--allow-unread", "--report"],
    "results mlflow MANIFEST": ["--out DIRECTORY  [default: RESULTS/<name>/mlflow]", "--uri TEXT", "--only PATTERN"],
    "results publish MANIFEST": ["--out DIRECTORY  [required]"],
    "results registry COMMAND [ARGS]...": [],
    "results registry build FOLDER": ["--out DIRECTORY  [required]"],
    "results tensorboard MANIFEST": ["--out DIRECTORY  [default: RESULTS/<name>/tensorboard]", "--only PATTERN"],
    "results trackio MANIFEST": ["--out DIRECTORY  [default: RESULTS/<name>/trackio]", "--only PATTERN"],
    "results verify FILE": [],
    "results wandb MANIFEST": ["--out DIRECTORY  [default: RESULTS/<name>/wandb]", "--only PATTERN"],
    "check MANIFEST": [
        "--baseline FILE  [required]", "--update", "--tolerance FLOAT RANGE  [default: 0.02; 0<=x<=1]",
        "--bands [fixed|test-images]  [default: fixed]", "--junit FILE", "--markdown FILE",
    ],
    "validate [MANIFESTS]...": ["--json-schema", *CHANGES],
    "data COMMAND [ARGS]...": [],
    "data croissant DATASET": [PARAM, OWN, SIZE, "--out FILE  [default: <results>/data/<dataset>/croissant.json]"],
    "data list": ["--cards"],
    "data prepare DATASET": [
        PARAM, OWN, SIZE, "--interpolation [bilinear|bicubic]  [default: bilinear]",
        "--fit [stretch|crop]  [default: stretch]", f"--workers INTEGER RANGE  [default: {CORES}; x>=0]",
        "--allow-missing INTEGER RANGE  [default: 0; x>=0]",
    ],
    "data verify DATASET": [
        PARAM, OWN, "--decode / --no-decode  [default: decode]", f"--workers INTEGER RANGE  [default: {CORES}; x>=0]",
        "--report DIRECTORY", "--strict",
    ],
    "data audit [DATASET]": [
        PARAM, OWN, "--with DATASET", "--with-param NAME=VALUE", "--list FILE[:COLUMN]",
        "--images / --no-images  [default: images]", SIZE, "--distance INTEGER RANGE  [default: 40; 0<=x<=200]",
        f"--workers INTEGER RANGE  [default: {CORES}; x>=1]", "--report DIRECTORY", "--strict",
    ],
    "data overlap [WHAT]...": [
        "--manifest FILE", "--images", SIZE, f"--workers INTEGER RANGE  [default: {CORES}; x>=1]", "--report DIRECTORY",
        "--strict",
    ],
    "new {method|dataset|report|manifest} NAME": ["--folder DIRECTORY  [default: .]"],
    "plugins COMMAND [ARGS]...": [],
    "plugins check FILE|PACKAGE|NAME": [],
    "plugins list": [],
    "manifests COMMAND [ARGS]...": [],
    "manifests copy NAME": ["--to DIRECTORY  [default: .]"],
    "manifests list": [],
    "methods COMMAND [ARGS]...": [],
    "methods list": ["--json"],
    "datasets COMMAND [ARGS]...": [],
    "datasets list": ["--cards"],
    "weights COMMAND [ARGS]...": [],
    "weights convert FILE OUT": WEIGHTS,
    "weights export MANIFEST ROW OUT": [*WEIGHTS, "--hub"],
    "weights fingerprint FILE": [
        "--layout TEXT", "--variant TEXT", "--architecture TEXT", "--argument NAME=VALUE",
        "--image-size INTEGER RANGE  [default: 0; x>=0]", "--positions TEXT", "--expect TEXT", "--json",
    ],
    "weights inspect FILE": ["--preset TEXT  [default: the one that fits best]", "--depth [18|50|101]", "--json"],
    "doctor": ["--no-torch"],
    "completion {bash|zsh|fish}": [],
}  # fmt: skip
#: What stands on a line of its own, however wide the terminal is.
LINES = {
    "": ["Exit codes: 0 done, 1 bug, 2 user error, 3 incomplete, 4 failed jobs, 5 drift (check)."],
    "run": [
        "Exit codes: 0 all done, 1 damaged, 2 user error, 3 incomplete (unavailable or left out), 4 failed jobs, 130 Ctrl-C."
    ],
    "report": ["Exit codes: 0 written, 1 written without damaged results, 2 user error."],
    "results fsck": ["Exit codes: 0 sound, 1 damaged, 2 user error."],
    "logs": ["Exit codes with -f: 0 done, 3 nobody runs it any more, 4 failed."],
    "explain": ["Exit codes: 0 done, 2 user error, 3 incomplete, 4 failed jobs."],
    "check": ["Exit codes: 0 same, 1 bug, 2 user error, 3 incomplete, 4 failed jobs, 5 drift."],
    "results diff": ["Exit codes: 0 same, 1 bug, 2 user error, 5 different."],
    "completion": [
        "bash: refers-bench completion bash >> ~/.bashrc",
        "zsh:  refers-bench completion zsh >> ~/.zshrc",
        "fish: refers-bench completion fish > ~/.config/fish/completions/refers-bench.fish",
    ],
}


def options(text: str) -> list[str]:
    """Each option as the help names it, with what it says in brackets of range and default."""
    _, _, rest = text.partition("Options:\n")
    rest = re.sub(r"\n {4,}", "  ", rest.partition("\n\n")[0])
    found = []
    for line in rest.splitlines():
        name, _, said = line.strip().partition("  ")
        said = re.sub(r"\s+", " ", said)
        # An option without words has its brackets only.
        found.append("  ".join([name, *re.findall(r"(?<![\w>])\[[^\]]*\]", said)]))
    assert found.pop() == "-h, --help"
    return found


@pytest.mark.parametrize("usage", COMMANDS)
def test_a_commands_help_states_its_options_and_exit_codes(cli: Commands, usage: str) -> None:
    arguments = re.match(r"[a-z\- ]*", usage)
    assert arguments is not None
    name = arguments[0].strip()
    out, err = cli(*name.split(), "--help")
    assert err == ""
    usage_line = " ".join(["Usage: refers-bench", *name.split(), "[OPTIONS]", usage.removeprefix(name).strip()])
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == usage_line.strip()
    assert options(out) == COMMANDS[usage]
    assert [line for line in lines if line in LINES.get(name, [])] == LINES.get(name, [])
    assert "\\b" not in out


def test_every_command_is_listed_above(cli: Commands) -> None:
    names = {re.sub(r" ?[A-Z\[{].*", "", usage) for usage in COMMANDS} - {""}
    for group in ("", "results", "results import", "data", "manifests", "methods", "datasets", "plugins", "weights"):
        out, _ = cli(*group.split(), "--help")
        listed = re.findall(r"^  ([a-z\-]+) ", out.partition("Commands:\n")[2], flags=re.MULTILINE)
        assert sorted(listed) == sorted({
            name.removeprefix(group).split()[0] for name in names if name.startswith(f"{group} ".lstrip())
        })  # fmt: skip
