"""The ledger compares a row with its method's own source, and everything else with REFERS' paper and released code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from refers_bench import plugins
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.reports import deviations

MANIFEST = """
version: 1
protocol: {{preset: {preset}}}
data: {{phantom: {{phantom: {{studies: 20, size: 40}}}}}}
source: {{dataset: phantom}}
methods: [{methods}]
targets: [{{dataset: phantom, tasks: [findings]}}]
seeds: [0]
"""
DASH = "\N{EN DASH}"


@pytest.fixture
def ledger_of(folder: Any, tmp_path: Path) -> Any:
    """Rows of the ledger of a manifest: name -> (paper, released code, ours, because, origin, place in the source)."""

    def ledger(*methods: str, preset: str = "paper") -> dict[str, tuple[str, ...]]:
        path = tmp_path / "m.yaml"
        path.write_text(MANIFEST.format(preset=preset, methods=", ".join(methods)))
        folder.cell()
        folder.lock["values"] = dict(expand(load(path), Roots()).values)
        table = deviations.build(folder.load())
        assert table is not None
        return {row.title: tuple(cell.text for cell in row.cells) for row in table.rows}

    return ledger


def test_a_row_is_compared_with_its_own_source(ledger_of: Any) -> None:
    """C2L's official code: SGD at 0.03, weight decay 1e-4, no warm-up. Genesis': SGD at 1.0, momentum 0.9, batch 6."""
    overrides = "overrides: {pretrain: {learning_rate: %s, weight_decay: 0.0001, optimizer: %s}}"
    rows = ledger_of(
        f"{{id: c2l, {overrides % ('0.03', 'sgd')}}}",
        f"{{id: model_genesis, {overrides % ('0.00005625', 'adamw')}}}",
        "{id: refers, overrides: {pretrain: {learning_rate: 0.03}}}",
    )
    assert rows["pretrain.learning_rate [c2l]"][:4] == (DASH, "0.03", "0.03", "set in the manifest")
    assert rows["pretrain.optimizer [model_genesis]"][1:4] == (
        '"sgd"', '"adamw"', "differs from its source; set in the manifest",
    )  # fmt: skip
    assert rows["pretrain.learning_rate [model_genesis]"][:3] == (DASH, "1.0", "5.625e-05")
    assert rows["pretrain.batch_size [model_genesis]"][1:4] == ("6", "96", "differs from its source")
    assert "official code" in rows["pretrain.batch_size [model_genesis]"][5]
    # REFERS' paper is the reference of its own rows.
    assert rows["pretrain.learning_rate [refers]"][:4] == ("0.003", "0.003", "0.03", "differs; set in the manifest")


def test_what_a_source_leaves_open_is_said(ledger_of: Any) -> None:
    rows = ledger_of("model_genesis", "refers")
    assert rows["pretrain.clip_norm [model_genesis]"][:4] == (DASH, "unstated", "0.0", "unstated in its source")
    assert not any(name.endswith("[refers]") and name.startswith("pretrain.") for name in rows)
    # Fine-tuning is the paper's for all rows: once, without a row's name.
    assert rows["finetune.weight_decay"][3] == "unstated in the paper"
    assert "finetune.weight_decay [model_genesis]" not in rows


def test_a_reason_at_a_parameter_or_a_constant_stands_in_the_ledger(
    ledger_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis = plugins.load("method", "model_genesis")

    class Params(genesis.Params):  # type: ignore[name-defined,misc]
        inpaint: float = Field(default=0.2, json_schema_extra={"deviation": "in 2-D a block hides 22 %, not 5.5 %"})

    assert issubclass(Params, BaseModel)
    changed = type(genesis)(**{**vars(genesis), "Params": Params})
    monkeypatch.setattr("refers_bench.methods.model_genesis.METHOD", changed)
    rows = ledger_of("model_genesis")
    assert rows["params.inpaint [model_genesis]"][:4] == (DASH, "0.2", "0.2", "in 2-D a block hides 22 %, not 5.5 %")
    assert (
        rows["network.aggregation"][3] == "the mean over the concatenated patches is classified, which is our reading"
    )
    assert "params.paint [model_genesis]" not in rows


def test_what_the_released_code_leaves_open_is_not_blamed_on_the_paper(ledger_of: Any) -> None:
    rows = ledger_of("refers", preset="official_code")
    assert rows["image.prepared_size"][:4] == ("256", "unstated; 256", "256", "unstated in the source of its preset")
    assert rows["finetune.weight_decay"][:4] == ("unstated; 0.0", "0.0", "0.0", "unstated in the paper")


def test_what_paper_and_code_both_state_is_not_in_the_ledger(ledger_of: Any) -> None:
    """The paper: "the same learning rate decay strategy as in pre-training ... batch size of 128"."""
    rows = ledger_of("refers")
    assert not {"finetune.batch_size", "finetune.schedule", "pretrain.processes"} & set(rows)
    # The code differs, and this manifest follows the paper.
    assert "finetune.learning_rate" not in rows
    assert rows["finetune.steps"][3] == "unstated in the paper"
