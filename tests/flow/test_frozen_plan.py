"""A benchmark is frozen before it runs; from then on plan, run, report and bundle say what deviates, as a user sees it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from command_line import Commands, command, command_in
from refers_bench.files import publish_bytes
from refers_bench.store import frozen_plan

MANIFEST = """
version: 1
title: A small benchmark
protocol: {preset: smoke, overrides: {finetune: {steps: 2, warmup_steps: 1}}}
data: {phantom: {phantom: {seed: 4, studies: 60, size: 40}}}
methods: [scratch, {id: scratch, name: fast, label: Fast, overrides: {finetune.learning_rate: 0.02}}]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%, 100%]}]
seeds: [0, 1]
analysis: {reference: scratch, against: [fast], columns: [{dataset: phantom, label_ratios: [100%]}]}
execution: {cpu_slots: 1}
"""
FILES = {"small.yaml": MANIFEST}
DIGEST = r"[0-9a-f]{64}"


def frozen_of(home: Path, name: str = "small") -> Path:
    return frozen_plan.path_of(home / "results", name)


def deviations(text: str) -> list[str]:
    """The lines below the one that says how many there are."""
    _, _, rest = text.partition("frozen plan of ")
    return [line.strip() for line in rest.splitlines()[1:] if line.startswith("  ")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest that was frozen and then run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(MANIFEST)
    places = ("--results", str(folder / "results"), "--cache", str(folder / "cache"))
    with contextlib.chdir(folder):
        planned = command(*places, "plan", "small.yaml", "--freeze")
        assert planned.code == 0, planned.err
        ran = command(*places, "run", "small.yaml")
        assert ran.code == 0, ran.err
    (folder / "planned.txt").write_text(planned.out)
    (folder / "ran.txt").write_text(ran.err)
    return folder


@pytest.fixture
def done(finished: Path, home: Path) -> Path:
    """A working folder with the finished benchmark, to be changed."""
    shutil.copytree(finished / "results", home / "results")
    return home


def report(cli: Commands, home: Path) -> dict[str, Any]:
    """The table of the frozen plan in a report, as programs read it; {} for none."""
    cli("report", "small", "--format", "json")
    page = json.loads((home / "results" / "small" / "report" / "report.json").read_text())
    tables = {table["id"]: table for table in page["sections"][0]["tables"]}
    return dict(tables.get("frozen-plan", {}))


def rows(table: dict[str, Any], title: str) -> list[tuple[str, str]]:
    return [(row["cells"][0]["text"], row["cells"][1]["text"]) for row in table["rows"] if row["title"] == title]


def test_a_benchmark_that_ran_as_it_was_frozen_deviates_in_nothing(finished: Path, done: Path, cli: Commands) -> None:
    frozen = frozen_plan.read(frozen_of(done))
    said = (finished / "planned.txt").read_text()
    assert f"frozen: {frozen_of(finished)}\nSHA-256: {frozen.digest}\npost or commit the digest" in said
    line = f"frozen plan of {frozen.frozen}, SHA-256 {frozen.digest[:12]}: nothing deviates"
    assert line in (finished / "ran.txt").read_text().splitlines()
    assert line in cli("plan", "small.yaml").out.splitlines()
    table = report(cli, done)
    assert table["caption"] == f"Frozen plan of {frozen.frozen}, SHA-256 {frozen.digest[:12]}: nothing deviates."
    assert rows(table, "deviation") == [("none", "nothing deviates")]
    assert ("against", '["fast"]') in rows(table, "rule") and ("correction", "holm") in rows(table, "rule")
    assert str(finished) not in frozen_of(done).read_text()


def test_the_reports_follow_the_rules_that_were_frozen(done: Path, cli: Commands) -> None:
    cli("report", "small", "--format", "json")
    page = json.loads((done / "results" / "small" / "report" / "report.json").read_text())
    captions = {table["id"]: table["caption"] for table in page["sections"][0]["tables"]}
    assert captions["significance"].endswith("Random initialisation against Fast in each primary column.")
    assert "Exploratory: " in captions["significance-exploratory"]


def test_freezing_twice_changes_nothing_and_another_plan_is_not_frozen(done: Path, cli: Commands) -> None:
    before = frozen_of(done).read_bytes()
    frozen = frozen_plan.read(frozen_of(done))
    out, _ = cli("plan", "small.yaml", "--freeze")
    assert f"frozen on {frozen.frozen}, unchanged: {frozen_of(done)}\nSHA-256: {frozen.digest}\n" in out
    _, err = cli("plan", "small.yaml", "--freeze", "--seeds", "0,1,2", code=2)
    assert err == (
        f"error: {frozen_of(done)}: another plan was frozen on {frozen.frozen}; 'plan' without --freeze lists what "
        "differs; allowed: the plan as it was frozen; or to remove this file by hand first\n"
    )
    assert frozen_of(done).read_bytes() == before


def test_what_has_results_is_not_frozen(done: Path, cli: Commands) -> None:
    """Also under another name: the results are those of the cells."""
    frozen_of(done).unlink()
    _, err = cli("plan", "small.yaml", "--freeze", code=2)
    assert err == (
        f"error: {frozen_of(done)}: of 8 cells 8 with a result, such as scratch.phantom.findings.50%.s0; allowed: to "
        "freeze a plan before any of its cells has run\n"
    )
    (done / "other.yaml").write_text(MANIFEST.replace("seeds: [0, 1]", "seeds: [1, 7]"))
    _, err = cli("plan", "other.yaml", "--freeze", code=2)
    assert "of 8 cells 4 with a result, such as scratch.phantom.findings.50%.s1" in err
    assert not list(done.rglob("plan.frozen.json"))


def test_a_row_a_seed_a_constant_and_a_rule_that_change_are_listed(done: Path, cli: Commands) -> None:
    text = MANIFEST.replace("methods: [scratch,", "methods: [scratch, {id: scratch, name: late},")
    text = (
        text.replace("seeds: [0, 1]", "seeds: [0]").replace("steps: 2", "steps: 3").replace("small bench", "new bench")
    )
    (done / "small.yaml").write_text(text.replace("analysis: {", "analysis: {alpha: 0.1, "))
    key = "its key is another, so what decides its result changed"
    expected = [
        "row late: added since",
        "seed 1: left out since",
        'title of the report: "A small benchmark" -> "A new benchmark"',
        "rule alpha: 0.05 -> 0.1",
        "constant finetune.steps: 2 -> 3",
        *(f"changed cell {row}.phantom.findings.{ratio}: {key} (s0)" for row in ("scratch", "fast") for ratio in ("50%", "100%")),
    ]  # fmt: skip
    out, _ = cli("plan", "small.yaml")
    assert re.search(rf"^frozen plan of \S+, SHA-256 [0-9a-f]{{12}}: {len(expected)} deviations:$", out, re.MULTILINE)
    assert deviations(out) == expected
    _, err = cli("run", "small.yaml", "--max-jobs", "0", "--no-report", code=3)
    assert deviations(err)[: len(expected)] == expected
    table = report(cli, done)
    assert table["caption"].endswith(f": {len(expected) + 4} deviations.")
    listed = [f"{about}: {how}" for about, how in rows(table, "deviation")]
    where = "missing result {}.phantom.findings.{}: not run yet (s0)"
    missing = [where.format(row, ratio) for row in ("scratch", "fast") for ratio in ("50%", "100%")]
    assert listed == [*expected, *missing]


def test_options_of_the_command_line_deviate_as_an_edit_does(done: Path, cli: Commands) -> None:
    out, _ = cli("plan", "small.yaml", "--no-write", "--limit", "10")
    assert 'rule images of each split: "all" -> 10' in deviations(out)
    assert not [line for line in deviations(out) if line.startswith("constant ")]
    out, _ = cli("plan", "small.yaml", "--no-write", "--set", "analysis.test=welch")
    assert deviations(out) == ['rule test: "student" -> "welch"']


def test_a_file_that_was_edited_is_told_and_never_trusted(done: Path, cli: Commands) -> None:
    path = frozen_of(done)
    path.write_text(path.read_text().replace('"alpha": 0.05', '"alpha": 0.5'))
    out, _ = cli("plan", "small.yaml")
    said = rf"^frozen plan: {re.escape(str(path))}: changed since it was frozen: SHA-256 {DIGEST}, recorded {DIGEST}; "
    assert re.search(said, out, re.MULTILINE)
    assert "frozen plan: " in cli("run", "small.yaml", "--no-report").err, "and it hinders no run"
    _, err = cli("plan", "small.yaml", "--freeze", code=2)
    assert "changed since it was frozen" in err
    assert report(cli, done)["caption"].startswith("Frozen plan that cannot be trusted: changed since it was frozen")
    _, err = cli("results", "bundle", "small", code=2)
    assert "changed since it was frozen" in err


def test_without_a_frozen_plan_nobody_speaks_of_it(done: Path, cli: Commands) -> None:
    frozen_of(done).unlink()
    printed = [cli("plan", "small.yaml"), cli("run", "small.yaml", "--no-report")]
    assert "frozen plan" not in "".join(out + err for out, err in printed)
    assert report(cli, done) == {}


@pytest.mark.parametrize("other", [("--no-write",), ("--forecast",), ("--explain", "scratch*")])
def test_freeze_writes_a_plan_or_does_nothing(cli: Commands, home: Path, other: tuple[str, ...]) -> None:
    _, err = cli("plan", "small.yaml", "--freeze", *other, code=2)
    assert "--freeze: not with --explain, --forecast or --no-write" in err and not (home / "results").exists()


def test_cells_that_cannot_run_here_are_said_when_they_are_frozen(cli: Commands, home: Path) -> None:
    """Their keys are those of data that nobody has seen here."""
    text = MANIFEST.replace("data: {phantom: {phantom: {seed: 4, studies: 60, size: 40}}}\n", "")
    (home / "small.yaml").write_text(text)
    _, err = cli("plan", "small.yaml", "--freeze")
    assert err == "8 cells unavailable here: where their data are, their keys may be others\n"


def test_python_says_it_too(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import refers_bench

    refers_bench.run("small.yaml", results=done / "results", cache=done / "cache", rows=["fast", "scratch"], seeds=[0])
    assert deviations(capsys.readouterr().err)[0] == "seed 1: left out since"


# --- bundles ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "small.tar.gz"
    made = command_in(finished / "results", "results", "bundle", "small", "--out", str(path))
    assert made.code == 0, made.err
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {one.name.split("/", 1)[1]: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def packed(path: Path, content: dict[str, bytes]) -> Path:
    from refers_bench.store.archive import write

    write(path, {name: data for name, data in content.items() if name != "SHA256SUMS"}, top="small")
    return path


FILE = "results/small/plan.frozen.json"


def test_a_bundle_carries_the_frozen_plan_and_its_report_says_what_deviates(
    finished: Path, bundle: Path, home: Path
) -> None:
    content = members(bundle)
    assert content[FILE] == frozen_of(finished).read_bytes()
    assert b"nothing deviates" in content["report/index.html"]
    crate = json.loads(content["ro-crate-metadata.json"])
    assert {"@id": FILE} in crate["@graph"][1]["hasPart"]
    for name in ("small", "theirs"):
        taken = command_in(home / name, "results", "import", "bundle", str(bundle), "--name", name)
        assert taken.code == 0, taken.err
        assert frozen_plan.path_of(home / name, name).read_bytes() == content[FILE]
        again = command_in(home / name, "results", "import", "bundle", str(bundle), "--name", name)
        assert again.code == 0, again.err
        written = command_in(home / name, "report", name, "--format", "markdown")
        assert written.code == 0, written.err
        assert "nothing deviates" in (home / name / name / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"alpha": 0.05', b'"alpha": 0.5', "changed since it was frozen"),
        (b'"version": 1', b'"version": 9', "a frozen plan of version 9"),
        (b"{", b"", "cannot read"),
    ],
)
def test_a_bundle_with_a_frozen_plan_that_was_edited_is_refused(
    bundle: Path, home: Path, old: bytes, new: bytes, said: str
) -> None:
    content = members(bundle)
    assert old in content[FILE]
    forged = packed(home / "forged.tar.gz", {**content, FILE: content[FILE].replace(old, new, 1)})
    for words in (("verify", str(forged)), ("import", "bundle", str(forged))):
        ended = command_in(home / "theirs", "results", *words)
        assert ended.code == 2 and f"forged.tar.gz: {FILE}: {said}" in ended.err
    assert not (home / "theirs").exists()


def test_a_bundle_does_not_take_the_place_of_another_frozen_plan(bundle: Path, home: Path) -> None:
    taken = home / "theirs"
    assert command_in(taken, "results", "import", "bundle", str(bundle)).code == 0
    path = frozen_plan.path_of(taken, "small")
    path.write_text("{}")
    ended = command_in(taken, "results", "import", "bundle", str(bundle))
    assert ended.code == 2 and f"{path}: another frozen plan is here; allowed: another name: --name" in ended.err
    assert path.read_text() == "{}"


def test_an_import_that_fails_leaves_no_frozen_plan(bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refers_bench.jobs.imports import bundle as importing

    written: list[str] = []

    def failing(path: Path, content: bytes) -> None:
        written.append(path.name)
        if path.name == "plan.lock.json":
            raise OSError("no space left")
        publish_bytes(path, content)

    monkeypatch.setattr(importing, "publish_bytes", failing)
    with pytest.raises(OSError, match="no space left"):
        importing.publish(bundle, results=home / "r", scratch=home / "scratch", name=None)
    assert written == ["plan.frozen.json", "plan.lock.json"] and not list((home / "r").rglob("plan.*"))


def test_a_frozen_plan_with_a_path_of_this_machine_is_not_bundled(done: Path, cli: Commands) -> None:
    """To replace it would change the digest that others have."""
    frozen = frozen_plan.read(frozen_of(done))
    shown = {**vars(frozen), "title": f"In {done / 'results'}"}
    frozen_plan.write(frozen_plan.FrozenPlan(**shown), frozen_of(done))
    _, err = cli("results", "bundle", "small", code=2)
    assert f"{frozen_of(done)}: what was frozen holds an absolute path" in err
    assert not list(done.glob("*.tar.gz"))
