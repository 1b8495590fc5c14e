"""A user gets from a manifest to tables with the documented commands and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench.cli import COMMANDS

MANIFEST = """
version: 1
title: A small run
protocol: {preset: smoke, overrides: {pretrain.steps: 2, pretrain.warmup_steps: 1, pretrain.validate_every: 2, finetune: {steps: 2, warmup_steps: 1, validate_every: 2}}}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%, 100%]}]
seeds: [0, 1]
execution: {cpu_slots: 2}
"""
FILES = {"small.yaml": MANIFEST}


def test_from_manifest_to_tables_and_back(cli: Commands, tmp_path: Path) -> None:
    out, _ = cli("plan", "small.yaml", "--jobs")
    assert re.search(r"finetune +0 +0 +8 +0 +0", out)
    assert (tmp_path / "results" / "small" / "plan.lock.json").is_file()

    out, _ = cli("run", "small.yaml", "--dry-run")
    assert out.count("to do ") >= 10
    assert not (tmp_path / "results" / "store").exists()

    _, err = cli("run", "small.yaml", "--max-jobs", "3", "--no-report", code=3)
    assert "incomplete: 0 jobs unavailable, 7 left" in err
    out, _ = cli("status")
    assert out.startswith("small: A small run")
    assert re.search(r"pretrain +1 +0 +0 +0 +0", out)

    _, err = cli("run", "small.yaml", "--only", "refers.phantom.findings.50%.s*", "--no-report")
    assert "small: 2 of 10 jobs to run" in err or "small: 1 of 10 jobs to run" in err

    out, err = cli("run", "small.yaml")
    assert "report:" in out
    assert "REFERS" in out
    page = tmp_path / "results" / "small" / "report" / "index.html"
    assert "A small run" in page.read_text()

    _, err = cli("run", "small.yaml", "--no-report")
    assert "small: 0 of 10 jobs to run" in err

    out, _ = cli("report", "small.yaml", "--format", "latex", "--format", "markdown", "--format", "csv")
    written = [Path(line) for line in out.splitlines()]
    assert {path.suffix for path in written} >= {".tex", ".md", ".csv"}
    assert all(path.stat().st_size for path in written)

    out, _ = cli("plan", "small.yaml", "--explain", "scratch.phantom.findings.100%.s1")
    assert out.startswith("scratch.phantom.findings.100%.s1: done")


def test_check_finds_drift_and_what_is_missing(cli: Commands, tmp_path: Path) -> None:
    cli("run", "small.yaml", "--only", "scratch*", "--no-report")
    _, err = cli("check", "small.yaml", "--baseline", "b.json", "--update", code=2)
    assert "refers.phantom.findings.50%.s0: not run yet; allowed: only finished cells in a baseline" in err
    cli("run", "small.yaml", "--no-report")
    cli("check", "small.yaml", "--baseline", "b.json", "--update")
    (tmp_path / "elsewhere").mkdir()
    cli("--results", "elsewhere", "plan", "small.yaml")
    out, _ = cli("--results", "elsewhere", "check", "small.yaml", "--baseline", "b.json", code=3)
    assert "refers" in out, "what never ran is no success"
    out, _ = cli("check", "small.yaml", "--baseline", "b.json", "--junit", "j.xml", "--markdown", "s.md")
    assert (tmp_path / "j.xml").read_text().startswith("<?xml")
    assert (tmp_path / "s.md").stat().st_size
    baseline = json.loads((tmp_path / "b.json").read_text())
    text = re.sub(r'("auc": )(0\.\d+)', lambda m: f"{m[1]}{min(1.0, float(m[2]) + 0.3)}", json.dumps(baseline))
    assert text != json.dumps(baseline)
    (tmp_path / "b.json").write_text(text)
    out, _ = cli("check", "small.yaml", "--baseline", "b.json", code=5)
    assert "drift: " in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rn"], 2, "No such command 'rn'. Did you mean 'run'?"),
        (["run"], 2, "Missing argument 'MANIFEST'"),
        (["run", "absent.yaml"], 2, "error: absent.yaml: no such file; allowed: a YAML file"),
        (["run", "small.yaml", "--only", "refrs*"], 2, "error: --only refrs* matches no job"),
        (["run", "small.yaml", "--time-limit", "10"], 2, "a number and a unit"),
        (["run", "small.yaml", "--device", "cuda"], 2, "this machine shows no GPU"),
        (["status", "smal"], 2, "/results: unknown plan 'smal'"),
        (["report", "absent"], 2, "error: "),
        (["check", "small.yaml", "--baseline", "none.json"], 2, "error: "),
        (["data", "verify", "covid19"], 2, "error: unknown dataset 'covid19'; allowed: "),
        (
            ["data", "prepare", "covid19_idc"],
            2,
            "error: data root 'covid19_idc' is not set: set REFERS_BENCH_ROOT_COVID19_IDC",
        ),
        (["data", "verify", "covid19_idc", "--param", "missing=x"], 2, "error: --param missing"),
        (["validate"], 2, "name a manifest, or ask for --json-schema"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_errors(cli: Commands, arguments: list[str], code: int, message: str) -> None:
    _, err = cli(*arguments, code=code)
    assert message in err


def test_every_command_has_help(cli: Commands) -> None:
    out, _ = cli("--help")
    for name, line in COMMANDS.items():
        assert re.search(rf"^  {name} +", out, flags=re.MULTILINE)
        assert line.split(",")[0].split(";")[0][:40] in re.sub(r"\s+", " ", out)
        own, _ = cli(name, "--help")
        assert own.startswith(f"Usage: refers-bench {name}")
        assert "--help" in own


def test_what_there_is(cli: Commands) -> None:
    out, _ = cli("methods", "list")
    assert "refers" in out
    assert "report_pairing" in out
    out, _ = cli("methods", "list", "--json")
    assert json.loads(out)["refers"]["params"]["properties"]["views"]["default"] == 3
    out, _ = cli("datasets", "list", "--cards")
    assert "licence" in out
    out, _ = cli("doctor", "--no-torch")
    assert "refers-bench" in out
    out, _ = cli("validate", "--json-schema")
    assert json.loads(out)["properties"]["methods"]
    out, _ = cli("completion", "bash")
    assert "_REFERS_BENCH_COMPLETE" in out
    out, _ = cli("validate", "small.yaml")
    assert out == "small.yaml: right (2 methods, 1 target, 2 seeds)\n"


def test_nothing_planned_is_no_error(cli: Commands) -> None:
    out, _ = cli("status")
    assert out.startswith("nothing has been planned in ")


def test_prepared_images_are_found_by_a_run(cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data prepare` on another day saves `run` the decoding."""
    from refers_bench import plugins
    from refers_bench.data.phantoms.radiographs import PhantomParams

    root = tmp_path / "collection"
    root.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(root, PhantomParams(studies=40, size=40, views=1))
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    out, err = cli("data", "prepare", "covid19_idc", "--size", "36", "--workers", "0")
    assert "40/40 images" in err
    folder = Path(out.split(" images in ")[1].strip())
    stamp = (folder / "images.u8").stat().st_mtime_ns
    out, _ = cli("data", "verify", "covid19_idc")
    assert "every image could be read" in out
    text = MANIFEST.replace("dataset: phantom, tasks: [findings]", "dataset: covid19_idc, tasks: [covid19_vs_other]")
    (tmp_path / "other.yaml").write_text(text.replace("[refers, scratch]", "[scratch]"))
    cli("run", "other.yaml", "--no-report", "--only", "prepare*")
    assert (folder / "images.u8").stat().st_mtime_ns == stamp
    plan = json.loads((tmp_path / "results" / "other" / "plan.lock.json").read_text())
    assert folder.name in {job["key"] for job in plan["jobs"]}
