"""MRM's parameters, its own network, what a table says of it, and the larger images that it is pre-trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from refers_bench.contracts.methods import Case, case
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.methods.mrm import METHOD, Params, footnotes
from refers_bench.nets.masked_image import fixed_positions
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan


@pytest.mark.parametrize("part", ["decoder", "report"])
def test_heads_divide_widths(part: str) -> None:
    with pytest.raises(ValidationError, match=rf"{part}_heads \(5\) must divide {part}_width"):
        Params(**{f"{part}_heads": 5})


@pytest.mark.parametrize("wrong", [{"mask_ratio": 1.0}, {"mask_ratio": 0.0}, {"super_resolution": 0}, {"beta2": 0.95}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Params(**wrong)


def test_what_a_table_says() -> None:
    assert footnotes(Params()) == ()
    said = footnotes(Params(backbone="vit", super_resolution=1, report_pairing="shuffled"))
    assert len(said) == 3 and said[0].startswith("plain ViT") and said[2].startswith("control")


def own_network() -> Case:
    one = case("mrm")
    return Case(one.name, METHOD, Params(**{**METHOD.small, "backbone": "vit"}), one.network, one.image, one.pretrain)


def test_its_own_networks_positions_are_fixed_in_pretraining_and_trained_afterwards() -> None:
    one = own_network()
    encoder: Any = one.encoder()
    expected = fixed_positions(encoder.width, encoder.grid).float()[None]
    assert torch.equal(encoder.position_embedding, expected)
    assert encoder.position_embedding.requires_grad, "fine-tuning trains them"
    assert (encoder.aggregation, encoder.averages, encoder.activation) == ("none", True, "gelu")
    objective: Any = one.objective().eval()
    sum(objective(one.batch()).values()).backward()
    assert objective.encoder.position_embedding.grad is None
    assert objective.encoder.aggregation_embedding.grad is not None


def planned(folder: Path, method: str, preset: str = "smoke") -> Plan:
    (folder / "m.yaml").write_text(json.dumps({
        "version": 1, "protocol": {"preset": preset}, "data": {"phantom": {"phantom": {"studies": 40, "size": 40}}},
        "source": {"dataset": "phantom"}, "methods": [method, "scratch"],
        "targets": [{"dataset": "phantom", "tasks": ["findings"]}], "seeds": [0],
    }))  # fmt: skip
    return expand(load(folder / "m.yaml"), Roots())


def test_only_the_source_is_prepared_larger(tmp_path: Path) -> None:
    jobs = {job.name: job for job in planned(tmp_path, "mrm").jobs}
    (pretrain,) = (job for job in jobs.values() if job.kind == "pretrain")
    sizes = {job.key: job.spec["prepared_size"] for job in jobs.values() if job.kind == "prepare"}
    side = pretrain.spec["image"]["prepared_size"]
    assert sizes[pretrain.spec["source"]["prepare"]] == 2 * side
    finetune = [job for job in jobs.values() if job.kind == "finetune"]
    assert finetune and {sizes[job.spec["prepare"]] for job in finetune} == {side}


def test_a_full_size_preset_has_its_recipe_and_the_ledger_its_deviations(tmp_path: Path) -> None:
    plan = planned(tmp_path, "mrm", "paper")
    (spec,) = (job.spec["pretrain"] for job in plan.jobs if job.kind == "pretrain")
    assert (spec["batch_size"], spec["optimizer"], spec["learning_rate"]) == (256, "adamw", 0.00015)
    assert spec["steps"] * spec["batch_size"] == 300_000 * 96, "the budget of all rows, in radiographs"
    assert spec["warmup_steps"] == spec["steps"] // 5
    flip, beta = plan.values["pretrain.report_flip [mrm]"], plan.values["params.beta2 [mrm]"]
    assert flip["source"]["value"] == "none" != flip["value"]
    assert (beta["official"], beta["value"]) == (0.95, 0.999)
