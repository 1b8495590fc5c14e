"""Trained on one collection and tested on another: Shenzhen's images train, all of Montgomery's test."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import Commands
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.store.plan import LOCK, read

MANIFEST = """
version: 1
protocol: {preset: smoke, overrides: {finetune: {steps: 4, warmup_steps: 1, validate_every: 2}}}
source: {dataset: shenzhen_tb}
methods: [scratch]
targets:
  - {dataset: montgomery_tb, params: {training: shenzhen}, tasks: [tuberculosis]}
  - {dataset: shenzhen_tb, tasks: [tuberculosis]}
seeds: [0]
"""
FILES = {"external.yaml": MANIFEST}
PHANTOMS = {"montgomery_tb": 20, "shenzhen_tb": 66}


@pytest.fixture
def both(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both collections, which is the data root of each."""
    root = home / "nlm"
    root.mkdir()
    for name, studies in PHANTOMS.items():
        plugins.load("dataset", name).write_layout(root, PhantomParams(studies=studies, size=40, views=1, seed=2))
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name.upper()}", str(root))
    return root


def test_every_image_of_the_other_collection_is_tested_and_none_trains(cli: Commands, both: Path, home: Path) -> None:
    cli("run", "external.yaml")
    tested, trained = {}, {}
    for cell in read(home / "results" / "external" / LOCK).cells:
        folder = home / "results" / "store" / cell.key
        table = pq.read_table(folder / "predictions.parquet").to_pandas()
        tested[cell.dataset] = set(table.loc[table["split"] == "test", "image_id"])
        trained[cell.dataset] = set(json.loads((folder / "subset.json").read_text())["image_ids"])
    images = {path.stem for path in (both / "MontgomerySet" / "CXR_png").glob("*.png")}
    assert len(images) == 20 and tested["montgomery_tb"] == images
    assert trained["montgomery_tb"] == trained["shenzhen_tb"] and len(trained["shenzhen_tb"]) > 30
    assert all(name.startswith("CHNCXR") for name in trained["shenzhen_tb"] | tested["shenzhen_tb"])
    page = (home / "results" / "external" / "report" / "index.html").read_text()
    assert "an external test: trained on Shenzhen" in page
