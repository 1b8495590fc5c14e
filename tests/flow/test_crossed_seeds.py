"""A manifest whose seeds are crossed runs, is reported, checked, compared, packed and read back."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from command_line import command_in

MANIFEST = """
version: 1
protocol: {preset: smoke, overrides: {finetune.steps: 3}}
data: {phantom: {phantom: {studies: 40, size: 40}}}
source: {dataset: phantom}
methods: [scratch]
targets:
  - {dataset: phantom, tasks: [findings], label_ratios: [50%, 100%], evaluation: [finetune, linear_probe]}
seeds: {subset: 2, init: 2, order: 2}
execution: {executor: debug}
"""


def done(results: Path, *arguments: str) -> str:
    ended = command_in(results, *arguments)
    assert ended.code == 0, ended.err
    return ended.out


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossed")
    (folder / "m.yaml").write_text(MANIFEST)
    assert "1 method, 1 target, 8 seeds" in done(folder / "r", "validate", str(folder / "m.yaml"))
    done(folder / "r", "--cache", str(folder / "cache"), "run", str(folder / "m.yaml"))
    return folder


def rows(folder: Path, results: Path) -> list[dict[str, str]]:
    """The tidy rows of classes that a report writes as CSV."""
    done(results, "report", "m", "--format", "csv", "--out", str(folder))
    (path,) = folder.rglob("tidy-classes.csv")
    return list(csv.DictReader(path.open()))


def test_every_distinct_run_is_made_once(ran: Path) -> None:
    lock = json.loads((ran / "r" / "m" / "plan.lock.json").read_text())
    names = {job["kind"]: [one["name"] for one in lock["jobs"] if one["kind"] == job["kind"]] for job in lock["jobs"]}
    assert {kind: len(some) for kind, some in names.items()} == {
        "prepare": 1, "finetune": 8 + 4, "features": 1, "heads": 1, "frozen": 2 + 1,
    }  # fmt: skip
    assert len(lock["cells"]) == 4 * 8 and lock["cells"][5]["crossed"] == [1, 0, 1]
    assert sum(1 for path in (ran / "r" / "store").glob("*/run.json")) == 1 + 12 + 1 + 1 + 3


def test_the_report_shows_the_variance_by_source(ran: Path, tmp_path: Path) -> None:
    done(ran / "r", "report", "m", "--format", "html", "--out", str(tmp_path))
    page = next(tmp_path.rglob("index.html")).read_text()
    assert "Variance of the mean class AUC of a single run by source" in page
    assert "seed 5 (label subset 1, initialisation 0, data order 1)" in page


def test_tidy_rows_have_the_combination(ran: Path, tmp_path: Path) -> None:
    found = rows(tmp_path, ran / "r")
    assert {(row["seed"], row["subset_seed"], row["init_seed"], row["order_seed"]) for row in found} == {
        (str(4 * s + 2 * i + o), str(s), str(i), str(o)) for s in (0, 1) for i in (0, 1) for o in (0, 1)
    }


def test_a_check_and_a_comparison_with_itself_find_nothing(ran: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    done(ran / "r", "check", "m", "--baseline", str(baseline), "--update")
    assert "same" in done(ran / "r", "check", "m", "--baseline", str(baseline))
    done(ran / "r", "results", "diff", "m", "m")


def test_a_bundle_is_read_back_and_its_manifest_is_the_same_plan(ran: Path, tmp_path: Path) -> None:
    done(ran / "r", "results", "bundle", "m", "--out", str(tmp_path / "m.tar.gz"))
    done(tmp_path / "other", "results", "import", "bundle", str(tmp_path / "m.tar.gz"))
    assert rows(tmp_path / "there", tmp_path / "other") == rows(tmp_path / "here", ran / "r")
    shutil.unpack_archive(tmp_path / "m.tar.gz", tmp_path / "unpacked", filter="data")
    (again,) = (tmp_path / "unpacked").rglob("m.yaml")
    done(tmp_path / "third", "plan", str(again))
    keys = [
        [cell["key"] for cell in json.loads((results / "m" / "plan.lock.json").read_text())["cells"]]
        for results in (tmp_path / "third", ran / "r")
    ]
    assert keys[0] == keys[1]
