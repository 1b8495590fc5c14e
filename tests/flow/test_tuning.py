"""A manifest that tunes runs, chooses on validation images alone, and is reported, checked, packed and read back."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from command_line import Ended, command_in
from refers_bench.analysis.results import load
from refers_bench.analysis.sensitivity import sensitivities
from refers_bench.store.plan import Cell, read

#: A rate of 1e30 is not finite after the first update.
MANIFEST = """
version: 1
protocol: {preset: smoke, overrides: {finetune.steps: 4}}
data: {phantom: {phantom: {studies: 60, size: 40}}}
source: {dataset: phantom}
tuning:
  finetune: {learning_rate: [0.02, 0.5, 1.0e+30]}
  network.readout: [cls, mean]
methods: [context_restoration, scratch]
targets:
  - {dataset: phantom, tasks: [findings], evaluation: [finetune, linear_probe]}
seeds: [0, 1]
execution: {cpu_slots: 2}
"""


def done(results: Path, *arguments: str, code: int = 0) -> Ended:
    ended = command_in(results, *arguments)
    assert ended.code == code, ended.err
    return ended


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "m.yaml").write_text(MANIFEST)
    ended = done(folder / "r", "--cache", str(folder / "cache"), "run", str(folder / "m.yaml"), code=4)
    lost = [line for line in ended.err.splitlines() if line.startswith("failed (nan): ")]
    assert len(lost) == 2 * 2 * 2 and all("learning_rate=1e+30" in line for line in lost)
    return folder


def cells(folder: Path) -> tuple[Cell, ...]:
    return read(folder / "r" / "m" / "plan.lock.json").cells


def metrics(folder: Path, key: str) -> dict[str, list[float]]:
    """Split -> the AUCs that the store holds of a job."""
    table = pq.read_table(folder / "r" / "store" / key / "metrics.parquet").to_pylist()
    found: dict[str, list[float]] = {"val": [], "test": []}
    for row in table:
        if row["auc"] is not None:
            found[row["split"]].append(row["auc"])
    return found


def by_hand(folder: Path) -> dict[tuple[Any, ...], tuple[str, float]]:
    """Row, label ratio and seed -> the candidate with the best validation AUC, and its test AUC: from the files alone."""
    best: dict[tuple[Any, ...], tuple[float, str, float]] = {}
    for cell in cells(folder):
        if cell.candidate and "1e+30" not in cell.candidate[0]:
            found = metrics(folder, cell.key)
            val, test = (sum(found[split]) / len(found[split]) for split in ("val", "test"))
            place = (cell.method, cell.label_ratio, cell.seed)
            if place not in best or val > best[place][0]:
                best[place] = (val, " ".join(cell.candidate), test)
    return {place: (candidate, test) for place, (_, candidate, test) in best.items()}


def aucs_of(folder: Path) -> dict[tuple[Any, ...], list[float]]:
    """Row, label ratio and seed -> the test AUCs of all candidates."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for cell in cells(folder):
        if cell.candidate and "1e+30" not in cell.candidate[0]:
            aucs = metrics(folder, cell.key)["test"]
            found.setdefault((cell.method, cell.label_ratio, cell.seed), []).append(sum(aucs) / len(aucs))
    return found


def rows(folder: Path, results: Path, name: str = "tidy-cells.csv") -> list[dict[str, str]]:
    done(results, "report", "m", "--format", "csv", "--out", str(folder))
    (path,) = folder.rglob(name)
    return list(csv.DictReader(path.open()))


def test_the_candidate_with_the_best_validation_auc_stands_in_the_tables(ran: Path, tmp_path: Path) -> None:
    expected = by_hand(ran)
    assert len(expected) == 2 * 2
    found = {
        (row["method"], float(row["label_ratio"]), int(row["seed"])): row
        for row in rows(tmp_path, ran / "r")
        if row["evaluation"] == "finetune"
    }
    assert found.keys() == expected.keys()
    for place, (candidate, test) in expected.items():
        assert found[place]["candidate"] == candidate
        assert float(found[place]["mean_auc"]) == pytest.approx(test, abs=1e-12)
    # Otherwise the test would not tell a choice on validation from one on test images.
    assert any(test < max(tests) for (_, test), tests in zip(expected.values(), aucs_of(ran).values(), strict=True))


def test_what_is_not_fine_tuned_is_not_tuned(ran: Path, tmp_path: Path) -> None:
    found = [row for row in rows(tmp_path, ran / "r") if row["evaluation"] == "linear_probe"]
    assert len(found) == 2 * 2 and {row["candidate"] for row in found} == {""}


def test_the_report_shows_the_search_and_how_far_figures_move(ran: Path, tmp_path: Path) -> None:
    done(ran / "r", "report", "m", "--format", "markdown", "--format", "html", "--out", str(tmp_path))
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    said = "best of 6 on validation, for each seed: finetune.learning_rate 0.02, 0.5, 1e+30; network.readout cls, mean"
    for shown in (text.replace("\\", ""), page):
        assert said in shown
        assert "Tuning on validation images, and how far the mean class AUC" in shown
        assert "4 of 6 candidates have a figure of every seed." in shown
        assert (
            "not chosen, as their loss was not finite: finetune.learning_rate=1e+30, network.readout=cls and " in shown
        )
    assert (tmp_path / "figure-tuning.svg").is_file()


def test_ranges_are_those_of_the_stored_figures(ran: Path) -> None:
    for one in sensitivities(load(ran / "r", "m")):
        means = {}
        for candidate in one.complete:
            aucs = [
                metrics(ran, cell.key)["test"]
                for cell in cells(ran)
                if (cell.method, cell.label_ratio) == (one.method, one.target.label_ratio)
                and cell.candidate == candidate
            ]
            means[candidate] = sum(sum(seed) / len(seed) for seed in aucs) / len(aucs)
        assert len(means) == 4
        assert one.spread == pytest.approx(max(means.values()) - min(means.values()), abs=1e-12)
        rate, readout = "finetune.learning_rate", "network.readout"
        pairs = [
            (means[f"{rate}={r}", f"{readout}=cls"], means[f"{rate}={r}", f"{readout}=mean"]) for r in ("0.02", "0.5")
        ]
        assert one.spread_of(readout) == pytest.approx(sum(abs(a - b) for a, b in pairs) / 2, abs=1e-12)
        assert sorted(seed for seeds in one.chosen.values() for seed in seeds) == [0, 1]


def test_a_seed_waits_while_a_candidate_is_missing(ran: Path, tmp_path: Path) -> None:
    shutil.copytree(ran, tmp_path / "copy")
    one = next(cell for cell in cells(ran) if cell.method == "scratch" and cell.candidate)
    shutil.rmtree(tmp_path / "copy" / "r" / "store" / one.key)
    found = [
        row for row in rows(tmp_path / "out", tmp_path / "copy" / "r")
        if row["evaluation"] == "finetune" and row["state"] != "done"
    ]  # fmt: skip
    assert [(row["method"], int(row["seed"])) for row in found] == [(one.method, one.seed)]
    assert (found[0]["state"], found[0]["reason"], found[0]["mean_auc"]) == ("missing", "not run yet", "")


def test_one_candidate_can_be_run_alone(ran: Path, tmp_path: Path) -> None:
    cache, pattern = str(tmp_path / "cache"), "scratch.*.s0.learning_rate=0.5.readout=cls"
    ended = done(
        tmp_path / "r", "--cache", cache, "run", str(ran / "m.yaml"), "--only", pattern, "--no-report", "--dry-run"
    )
    assert ended.out.count("learning_rate=0.5.readout=cls") == 1 and "learning_rate=0.02" not in ended.out


def test_a_baseline_and_a_bundle_hold_what_was_chosen(ran: Path, tmp_path: Path) -> None:
    baseline, manifest = str(tmp_path / "baseline.json"), str(ran / "m.yaml")
    done(ran / "r", "check", manifest, "--baseline", baseline, "--update")
    assert "same" in done(ran / "r", "check", manifest, "--baseline", baseline).out
    bundle = str(tmp_path / "m.tar.gz")
    done(ran / "r", "results", "bundle", "m", "--out", bundle)
    done(tmp_path / "other", "results", "import", "bundle", bundle)
    before, after = (
        {
            (r["method"], r["label_ratio"], r["seed"], r["evaluation"]): (r["candidate"], r["mean_auc"])
            for r in rows(tmp_path / str(i), results)
        }
        for i, results in enumerate((ran / "r", tmp_path / "other"))
    )
    assert before == after and len(before) == 8
