"""Evidence of a run: what is kept of it, and that another outcome is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import collect
import pytest

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.store import plan
from refers_bench.store.schemas import read

MANIFEST = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 4, studies: 60, size: 40}}}
source: {dataset: phantom}
methods: [pixels, metadata_only]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%], evaluation: linear_probe}]
seeds: [0]
"""


@pytest.mark.slow
def test_what_is_kept_of_a_run_and_that_another_outcome_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "ROOT", tmp_path)
    monkeypatch.setattr(collect, "EVIDENCE", tmp_path / "evidence")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "tiny.yaml").write_text(MANIFEST)
    where = ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    assert collect.main(["tiny", *where]) == 0
    folder = tmp_path / "evidence" / "tiny"
    kept = {path.name for path in folder.iterdir()}
    assert kept >= {"manifest.yaml", "plan.lock.json", "baseline.json", "subsets.json", "report.md", "README.md"}
    assert str(tmp_path) not in (folder / "report.md").read_text() + (folder / "plan.lock.json").read_text()
    # Figures are those of the stored predictions, and subsets those of the results.
    planned = plan.read(folder / "plan.lock.json")
    baseline = json.loads((folder / "baseline.json").read_text())["cells"]
    assert list(json.loads((folder / "subsets.json").read_text())) == [cell.name for cell in planned.cells]
    for cell in planned.cells:
        frame = read(tmp_path / "results" / "store" / cell.key / "predictions.parquet", "predictions")
        for name, one in frame[frame["split"] == "test"].groupby("class"):
            auc = class_aucs(one[["label"]].to_numpy(float), one[["logit"]].to_numpy()).auc_K[0]
            assert baseline[cell.name]["classes"][name]["auc"] == pytest.approx(auc)
    assert collect.main(["tiny", *where]) == 0, "the same again"
    changed = json.loads((folder / "baseline.json").read_text())
    first = next(iter(changed["cells"].values()))["classes"]
    for one in first.values():
        one["auc"] = 0.01
    (folder / "baseline.json").write_text(json.dumps(changed))
    assert collect.main(["tiny", *where]) == 5, "drift"
