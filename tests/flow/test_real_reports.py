"""Pre-training and fine-tuning on real reports with procedural radiographs, as a user would run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Commands

MANIFEST = """
version: 1
name: prose
protocol: {preset: smoke, overrides: {pretrain: {steps: 6, warmup_steps: 1, validate_every: 3}, finetune: {steps: 4}}}
data: {openi: {phantom: {reports: openi, studies: 60, size: 64, views: 2}}}
source: {dataset: openi}
methods:
  - {id: refers, params: {views: 2}}
  - {id: refers, name: shuffled, params: {views: 2, report_pairing: shuffled}}
targets: [{dataset: openi, tasks: [mesh12]}]
seeds: [0]
"""


@pytest.mark.slow
def test_refers_reads_radiologists_prose(
    cli: Commands, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prose.yaml"
    path.write_text(MANIFEST)
    assert "REFERS_BENCH_ROOT_OPENI_REPORTS" in cli("run", str(path), code=3).out
    monkeypatch.setenv("REFERS_BENCH_ROOT_OPENI_REPORTS", str(real_data / "labels" / "NLMCXR_reports.tgz"))
    out = cli("run", str(path)).out
    assert "synthetic" in out
    (page,) = (tmp_path / "results" / "prose" / "report").glob("index.html")
    assert "real reports, procedural radiographs (openi)" in page.read_text()
