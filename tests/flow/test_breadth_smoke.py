"""Every method and every dataset on disk runs in one of the two smoke manifests, from its own layout to the report."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from command_line import Commands
from refers_bench import plugins

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
#: Evaluated frozen, from a weight file of others, or without pixels: manifests of their own (real_frozen.yaml).
FROZEN = {"encoder", "metadata_only", "pixels", "shuffled_weights"}
#: Read from folders of a user's own, or never as phantoms.
OWN = {"folder", "table", "kermany_pneumonia"}


def test_the_two_smoke_manifests_hold_all_that_is_on_disk() -> None:
    methods, datasets = set(), set()
    for name in ("smoke.yaml", "breadth_smoke.yaml"):
        content = YAML(typ="safe").load(MANIFESTS / name)
        methods |= {row if isinstance(row, str) else row["id"] for row in content["methods"]}
        datasets |= set(content["data"])
    assert methods == set(plugins.names("method")) - FROZEN
    assert datasets == set(plugins.names("dataset")) - OWN


def test_it_runs_to_the_report(cli: Commands, home: Path) -> None:
    out, _ = cli("run", str(MANIFESTS / "breadth_smoke.yaml"))
    assert "MRM, reports shuffled" in out and "ConVIRT, own recipe" in out
    records = list((home / "results" / "store").glob("*/metrics.parquet"))
    content = YAML(typ="safe").load(MANIFESTS / "breadth_smoke.yaml")
    columns = {target["dataset"]: len(target["tasks"]) for target in content["targets"]}
    rows = [columns if isinstance(row, str) or "targets" not in row else row["targets"] for row in content["methods"]]
    assert len(records) == len(content["seeds"]) * sum(columns[dataset] for row in rows for dataset in row)
    for path in records:
        table = pq.read_table(path).to_pandas()
        assert table["auc"].dropna().between(0, 1).all()
