"""ConVIRT, GLoRIA and MGCA train as the protocol says, or by their own recipe, and say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.manifest import protocols
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.fairness import batch_size
from refers_bench.plan.lock import Plan

NAMES = ("convirt", "gloria", "mgca")
#: Batches and updates of the own recipe under `paper`: 28.8 million radiographs for all.
OWN = {
    "convirt": {"batch_size": 32, "steps": 900_000, "optimizer": "adam", "learning_rate": 1e-4, "momentum": 0.9},
    "gloria": {"batch_size": 48, "steps": 600_000, "optimizer": "adam", "learning_rate": 5e-5, "momentum": 0.5},
    "mgca": {"batch_size": 144, "steps": 200_000, "optimizer": "adamw", "learning_rate": 2e-5, "momentum": 0.9},
}


def plan_of(folder: Path, name: str, *, preset: str = "paper", **params: Any) -> Plan:
    (folder / "m.yaml").write_text(json.dumps({
        "version": 1, "protocol": {"preset": preset}, "data": {"phantom": {"phantom": {"studies": 40, "size": 40}}},
        "source": {"dataset": "phantom"}, "methods": [{"id": name, "params": params}],
        "targets": [{"dataset": "phantom", "tasks": ["findings"]}], "seeds": [0],
    }))  # fmt: skip
    return expand(load(folder / "m.yaml"), Roots())


def training(plan: Plan) -> dict[str, Any]:
    (spec,) = [job.spec for job in plan.jobs if job.kind == "pretrain"]
    found: dict[str, Any] = spec["pretrain"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_fair_row_trains_as_refers_does(name: str, tmp_path: Path) -> None:
    section, refers = training(plan_of(tmp_path, name)), protocols.resolve_sections("paper")["pretrain"]
    # One radiograph an example, where REFERS has three: batches of 96.
    assert {**section, "batch_size": 0} == {**refers, "batch_size": 0}
    assert section["batch_size"] == 3 * refers["batch_size"]


@pytest.mark.parametrize("name", NAMES)
def test_its_own_recipe_is_a_choice_and_a_footnote(name: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, name, recipe="own")
    section = training(plan)
    assert {key: section[key] for key in OWN[name]} == OWN[name]
    assert section["text_learning_rate"] == section["learning_rate"]
    assert plan.values[f"pretrain.optimizer [{name}]"]["origin"].startswith(f"{name}: ")
    (notes,) = {cell.footnotes for cell in plan.cells}
    assert any("own recipe" in note for note in notes)


@pytest.mark.parametrize("name", NAMES)
def test_a_ledger_compares_the_fair_row_with_its_own_source(name: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, name)
    row = plan.values[f"pretrain.learning_rate [{name}]"]
    assert row["value"] == 0.003
    assert row["source"]["value"] == OWN[name]["learning_rate"]


@pytest.mark.parametrize("preset", protocols.names())
@pytest.mark.parametrize("name", NAMES)
def test_its_own_recipe_fits_every_preset(name: str, preset: str) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    own = plugin.sheet(plugin.Params(recipe="own"))
    assert own and not plugin.sheet(plugin.Params())
    method = {one: protocols.Value(value=value, origin=source) for one, (value, source) in own.items()}
    resolved = protocols.resolve(preset, method=method)
    assert all(resolved[one].value == value for one, (value, _) in own.items())
    assert set(own) <= set(plugin.source_values)


@pytest.mark.parametrize("name", NAMES)
def test_a_resnet_starts_from_its_own_weights_and_says_so(name: str) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    params = plugin.Params(backbone="resnet50")
    assert plugin.architecture(params) == "resnet50"
    assert any("ResNet-50" in note for note in plugin.footnotes(params))


@pytest.mark.parametrize("name", ["gloria", "mgca"])
@pytest.mark.parametrize(("side", "enlarged"), [(224, 299), (112, 150), (448, 598)])
def test_images_are_enlarged_by_the_same_share_at_every_size(name: str, side: int, enlarged: int) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    image = {"size": side, "channels": 1}
    assert plugin.build_encoder(plugin.Params(backbone="resnet50"), {}, image).upsampled == enlarged
    assert plugin.build_encoder(plugin.Params(backbone="resnet50", upsampled=0), {}, image).upsampled == 0


@pytest.mark.parametrize("name", ["gloria", "mgca"])
def test_an_enlarged_image_costs_more_of_a_compute_budget(name: str) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    section = {"batch_size": 32, "budget_views": 3, "processes": 1, "budget": "compute"}
    sizes = [
        batch_size(plugin, plugin.Params(**params), section)
        for params in ({}, {"backbone": "resnet50", "upsampled": 0}, {"backbone": "resnet50"})
    ]
    assert sizes == [96, 96, round(96 * 224**2 / 299**2)]
