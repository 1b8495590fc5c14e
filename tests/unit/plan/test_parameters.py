"""All parameters of a row's method are in the lock, with what their source says, and in the footnotes where changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from refers_bench import plugins
from refers_bench.manifest import protocols
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.forecast.cost_model import batch_size
from refers_bench.plan.forecast.shapes import shape_of
from refers_bench.plan.lock import Plan
from refers_bench.plan.parameters import parameters

PlanOf = Callable[..., Plan]
MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"


def notes(plan: Plan, row: str) -> tuple[str, ...]:
    (found,) = {cell.footnotes for cell in plan.cells if cell.method == row}
    return found


def spec_of(plan: Plan, name: str) -> Mapping[str, Any]:
    (spec,) = [job.spec for job in plan.jobs if job.name == name]
    return spec


def planned(manifest: str) -> Plan:
    return expand(load(MANIFESTS / f"{manifest}.yaml"), Roots())


@pytest.mark.parametrize("name", sorted(plugins.names("method")))
def test_every_parameter_of_every_method_is_in_the_lock(plan_of: PlanOf, name: str) -> None:
    plan = plan_of(("scratch]", f"{{id: {name}, name: row}}]"))
    fields = plugins.load("method", name).Params.model_fields
    found = {key: value for key, value in plan.values.items() if key.endswith(" [row]") and key.startswith("params.")}
    assert set(found) == {f"params.{field} [row]" for field in fields}
    for value in found.values():
        assert value["origin"].startswith(f"{name} (")
        assert value["overridden"] is False
        assert value["stated"] == ("official" in value)


def test_a_parameter_says_where_it_is_from_and_what_its_source_has(plan_of: PlanOf) -> None:
    plan = plan_of(("scratch]", "{id: transvw, params: {words: 8, side: 0.2}}]"))
    words, side = plan.values["params.words [transvw]"], plan.values["params.side [transvw]"]
    assert (words["value"], words["official"], words["overridden"], words["stated"]) == (8, 44, True, True)
    assert "m.yaml:6:" in words["origin"]
    assert (side["value"], side["overridden"], side["stated"]) == (0.2, True, False)
    assert "official" not in side
    batch = plan.values["params.feature_batch_size [transvw]"]
    assert (batch["value"], batch["official"], batch["overridden"]) == (32, 8, False)
    assert plan.values["params.feature_schedule [transvw]"]["official"] == "plateau"
    assert plan.values["params.feature_patience [transvw]"]["official"] == 50
    assert plan.values["params.windows [transvw]"]["official"] == 5


def test_changed_parameters_are_footnoted_once(plan_of: PlanOf) -> None:
    plan = plan_of(
        ("scratch]", "{id: model_genesis, params: {windows: 20, paint: 0.9}}, {id: lsp_convnet, params: {depth: 18}}]"),
        ("[refers,", "[{id: refers, params: {views: 2, tasks: [report_generation]}},"),
    )
    assert [note for note in notes(plan, "model_genesis") if "by the method's definition" not in note] == [
        "windows = 20 (default 700)"
    ]
    # Said in the method's own words.
    assert notes(plan, "lsp_convnet") == ("ResNet-18",)
    assert notes(plan, "refers") == ("pre-trained on report generation only", "2 views per study")
    assert notes(plan, "lsp_transformer") == ()


def test_later_parameters_are_in_a_key_only_where_they_are_changed(plan_of: PlanOf) -> None:
    later = {"feature_batch_size": 16, "feature_learning_rate": 0.01, "feature_schedule": "constant"}
    before = plan_of(("scratch]", "transvw]"))
    spec = spec_of(before, "discover.transvw.phantom")
    assert not set(later) & set(spec["discovery"])
    assert not {*later, "feature_patience"} & set(spec_of(before, "pretrain.transvw.phantom")["params"])
    assert batch_size(spec) == 32
    for name, value in later.items():
        plan = plan_of(("scratch]", f"{{id: transvw, params: {{{name}: {value}}}}}]"))
        changed = spec_of(plan, "discover.transvw.phantom")
        assert changed["discovery"] == {**spec["discovery"], name: value}
        assert batch_size(changed) == (16 if name == "feature_batch_size" else 32)
        assert (shape_of(changed) == shape_of(spec)) == (name != "feature_batch_size")


@pytest.mark.parametrize("preset", protocols.names())
@pytest.mark.parametrize("name", sorted(plugins.names("method")))
def test_constants_of_a_definition_fit_every_preset(name: str, preset: str) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    constants = {**plugin.constants, **(plugin.recipe if protocols.full_size(preset) else {})}
    method = {one: protocols.Value(value=value, origin=source) for one, (value, source) in constants.items()}
    resolved = protocols.resolve(preset, method=method)
    assert sorted(resolved) == sorted(protocols.CONSTANTS)
    assert all(resolved[one].value == value and source for one, (value, source) in constants.items())


@pytest.mark.parametrize(
    ("manifest", "scale"),
    [
        ("phantom_cpu", [0.8, 1.0]),  # by the manifest: 48-pixel images
        ("smoke", [0.2, 1.0]),
        ("nih_cpu", [0.2, 1.0]),
        ("full_size_gpu", [0.2, 1.0]),
        ("table1", [0.2, 1.0]),
    ],
)
def test_c2l_contrasts_its_own_views_in_every_manifest(manifest: str, scale: list[float]) -> None:
    plan = planned(manifest)
    (spec,) = [job.spec for job in plan.jobs if job.kind == "pretrain" and job.spec["method"] == "c2l"]
    views = spec["image"]["pretrain_augment"]
    assert (views["crop"], views["scale"], views["ratio"]) == ("resized", scale, [0.75, 1.3333])
    assert plan.values["image.pretrain_augment.scale [c2l]"]["overridden"] == (scale != [0.2, 1.0])
    assert (views["jitter_probability"], views["brightness"], views["contrast"]) == (1.0, [0.6, 1.4], [0.6, 1.4])
    assert (views["rotation_degrees"], views["rotation_order"]) == (10, "after_crop")
    for other in (job.spec for job in plan.jobs if job.kind == "pretrain" and job.spec["method"] != "c2l"):
        own = {"model_genesis": "none", "context_restoration": "none", "transvw": "none", "mrm": "resized"}
        assert other["image"]["pretrain_augment"]["crop"] == own.get(other["method"], "random")
    assert any(
        note.startswith("by the method's definition: image.pretrain_augment.crop") for note in notes(plan, "c2l")
    )
    value = plan.values["image.pretrain_augment.crop [c2l]"]
    assert (value["value"], value["overridden"]) == ("resized", False)
    assert value["origin"].startswith("c2l: official code")


@pytest.mark.parametrize("where", ["row", "protocol"])
def test_a_manifest_replaces_what_a_definition_sets(plan_of: PlanOf, where: str) -> None:
    own = "overrides: {image.pretrain_augment.crop: none}"
    changes = {
        "row": [("scratch]", f"{{id: c2l, {own}}}]")],
        "protocol": [("scratch]", "c2l]"), ("preset: smoke", f"preset: smoke, {own}")],
    }[where]
    plan = plan_of(*changes)
    views = spec_of(plan, "pretrain.c2l.phantom")["image"]["pretrain_augment"]
    assert (views["crop"], views["scale"]) == ("none", [0.2, 1.0])
    assert plan.values["image.pretrain_augment.crop [c2l]"]["overridden"]
    (defined,) = [note for note in notes(plan, "c2l") if note.startswith("by the method's definition")]
    assert "augment.crop" not in defined and "augment.scale = [0.2, 1.0]" in defined


#: Facts: methods-and-datasets.md 1 D; golden case 17. Batches of 128 see the 28.8 million radiographs of `paper`.
C2L_TRAINING = {
    "batch_size": 128,
    "optimizer": "sgd",
    "learning_rate": 0.03,
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "decay_rule": "all",
    "schedule": "multistep",
    "warmup_steps": 0,
    "clip_norm": 0.0,
    "lookahead_steps": 0,
}


@pytest.mark.parametrize(("preset", "steps"), [("paper", 225_000), ("official_code", 18_750)])
def test_c2l_trains_by_its_sources_recipe_at_full_size(plan_of: PlanOf, preset: str, steps: int) -> None:
    plan = plan_of(("scratch]", "c2l]"), ("preset: smoke", f"preset: {preset}"))
    section = spec_of(plan, "pretrain.c2l.phantom")["pretrain"]
    assert {name: section[name] for name in C2L_TRAINING} == C2L_TRAINING
    assert [round(120 * share) for share in section["milestones"]] == [60, 80, 100]
    assert section["steps"] == plan.values["pretrain.steps [c2l]"]["value"] == steps
    assert plan.values["pretrain.batch_size [c2l]"]["value"] == 128
    assert "own_batch_size" not in section
    assert spec_of(plan, "pretrain.refers.phantom")["pretrain"] == protocols.resolve_sections(preset)["pretrain"]
    plugin: plugins.Method = plugins.load("method", "c2l")
    for name, (value, _) in plugin.source_values.items():
        row, differs = plan.values.get(f"{name} [c2l]"), name == "pretrain.steps"  # 120 epochs of other images
        assert row is not None and (row["value"] != value) == differs, name


@pytest.mark.parametrize("preset", ["cpu", "phantom_cpu", "smoke"])
def test_small_presets_keep_their_own_training(plan_of: PlanOf, preset: str) -> None:
    plan = plan_of(("scratch]", "c2l]"), ("preset: smoke", f"preset: {preset}"))
    section, own = spec_of(plan, "pretrain.c2l.phantom")["pretrain"], protocols.resolve_sections(preset)["pretrain"]
    assert {**section, "batch_size": 0} == {**own, "batch_size": 0}


def test_a_manifest_replaces_what_a_recipe_sets(plan_of: PlanOf) -> None:
    row = "{id: c2l, overrides: {pretrain: {learning_rate: 0.1, own_batch_size: 256}}}"
    plan = plan_of(("scratch]", f"{row}]"), ("preset: smoke", "preset: paper"))
    section = spec_of(plan, "pretrain.c2l.phantom")["pretrain"]
    assert (section["learning_rate"], section["batch_size"], section["steps"]) == (0.1, 256, 112_500)
    assert section["decay_rule"] == "all"


@pytest.mark.parametrize("name", sorted(plugins.names("method")))
def test_what_a_source_says_is_said_of_constants_that_there_are(name: str) -> None:
    plugin: plugins.Method = plugins.load("method", name)
    assert set(plugin.recipe) | set(plugin.source_values) <= set(protocols.CONSTANTS)
    assert all(len(source) >= 3 for _, source in plugin.source_values.values())


def test_later_constants_are_in_a_key_only_where_they_are_changed(plan_of: PlanOf) -> None:
    later = {
        "pretrain.milestone_factor": 0.5,
        "pretrain.own_batch_size": 6,
        "image.pretrain_augment.rotation_order": "after_crop",
    }
    key = next(job.key for job in plan_of().jobs if job.name == "pretrain.refers.phantom")
    for name, value in later.items():
        default = protocols.resolve("smoke")[name].value
        for given, same in ((default, True), (value, False)):
            plan = plan_of(("preset: smoke", f"preset: smoke, overrides: {{{name}: {given}}}"))
            (found,) = [job.key for job in plan.jobs if job.name == "pretrain.refers.phantom"]
            assert (found == key) == same, (name, given)


@pytest.mark.parametrize("manifest", ["phantom_cpu", "nih_cpu"])
def test_the_cpu_manifests_hold_every_method_that_needs_no_file(manifest: str) -> None:
    ids = {row["id"] for row in planned(manifest).manifest["methods"]}
    competitors = {name for name in plugins.names("method") if not plugins.load("method", name).floor}
    assert ids == competitors - {"checkpoint", "encoder"}


class Made(BaseModel):
    """A plug-in's parameters, one with a default that is made anew each time, one without any."""

    sides: list[int] = Field(default_factory=lambda: [1, 2], description="of something")
    must: int = Field(description="be given", json_schema_extra={"unstated": True})


def test_a_default_that_is_made_anew_is_no_change() -> None:
    plain, given = (list(parameters(model)) for model in (Made(must=3), Made(must=3, sides=[1])))
    assert [(one.name, one.value, one.default, one.changed, one.stated) for one in plain] == [
        ("sides", [1, 2], [1, 2], False, True),
        ("must", 3, None, True, False),
    ]
    assert next((one.name, one.value, one.default, one.changed) for one in given) == ("sides", [1], [1, 2], True)
