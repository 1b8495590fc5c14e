"""Presets resolve with a source for every constant; the small ones keep their own lengths; overrides win."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.manifest import protocols, yaml_text
from refers_bench.manifest.protocols import Override, resolve
from refers_bench.manifest.yaml_text import Place

HERE = Place(Path("m.yaml"), 3, 5)


@pytest.mark.parametrize("preset", protocols.names())
def test_every_constant_has_a_value_and_a_source(preset: str) -> None:
    values = resolve(preset)
    assert sorted(values) == sorted(protocols.CONSTANTS)
    for name, value in values.items():
        origin, _, source = value.origin.partition(": ")
        assert origin in protocols.names(), name
        assert len(source) >= 3, name


def test_the_papers_and_the_codes_constants() -> None:
    """Spot checks against the facts: paper, Methods; README and config of the released code."""
    paper, code = resolve("paper"), resolve("official_code")
    expected = {
        "pretrain.steps": (300_000, 400_000), "pretrain.batch_size": (32, 2), "pretrain.learning_rate": (0.003, 0.003),
        "network.activation": ("relu", "gelu"), "network.aggregation": ("concatenated", "added"),
        "pretrain.text_learning_rate": (0.0003, 0.0003), "pretrain.warmup_steps": (10_000, 10_000),
        "pretrain.lookahead_steps": (0, 5), "image.size": (224, 224), "finetune.batch_size": (128, 128),
    }  # fmt: skip
    assert {name: (paper[name].value, code[name].value) for name in expected} == expected
    assert resolve("official_code", dataset="covid19_idc")["finetune.learning_rate"].value == 0.03
    assert resolve("official_code", dataset="nih_chestxray14")["finetune.steps"].value == 60_000


@pytest.mark.parametrize("preset", ["paper", "official_code"])
def test_early_stopping_is_the_released_codes(preset: str) -> None:
    """It stops after more than 10 or 20 worse epochs, the loop after as many as the patience."""
    found = {
        dataset: resolve(preset, dataset=dataset)["finetune.patience"].value
        for dataset in ("nih_chestxray14", "vinbigdata_cxr", "shenzhen_tb", "covid19_idc")
    }
    assert found == {"nih_chestxray14": 11, "vinbigdata_cxr": 11, "shenzhen_tb": 21, "covid19_idc": 21}


def test_an_override_wins_everywhere() -> None:
    override = [Override(name="finetune.steps", value=1234, place=HERE)]
    for dataset in ("", "covid19_idc"):
        value = resolve("paper", override, dataset=dataset)["finetune.steps"]
        assert (value.value, value.overridden, value.origin) == (1234, True, "manifest m.yaml:3:5")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("finetune.steps", "many", r"m\.yaml:3:5: finetune\.steps is 'many'"),
        ("finetune.steps", 0, r"m\.yaml:3:5: finetune\.steps is 0"),
        ("finetune.learning_rate", -1.0, r"finetune\.learning_rate is -1\.0"),
        ("network.dropout", 1.0, r"network\.dropout is 1\.0"),
        ("network.heads", 5, r"m\.yaml:3:5: .*5"),
        ("image.mean", [0.5, 0.5], r"m\.yaml:3:5: "),
        ("image.mean", [0.5, 0.5, "x"], r"^m\.yaml:3:5: image\.mean is 'x'; allowed: a number$"),
        ("finetune.optimizer", "adam9", r"finetune\.optimizer is 'adam9'"),
    ],
)
def test_values_out_of_range(name: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve("paper", [Override(name=name, value=value, place=HERE)])


#: What fine-tuning takes under presets of CPU size, written by hand from their files: preset, target -> values.
CPU_LENGTHS = {
    ("cpu", "nih_chestxray14"): (300, 30, 20, 0, 0.0005, 16),
    ("cpu", "vinbigdata_cxr"): (300, 30, 20, 0, 0.0005, 16),
    ("cpu", "shenzhen_tb"): (300, 30, 20, 0, 0.0005, 16),
    ("cpu", "covid19_idc"): (200, 20, 20, 0, 0.001, 32),  # `cpu` makes an exception for it
    ("smoke", "nih_chestxray14"): (30, 3, 10, 0, 0.003, 16),
    ("smoke", "vinbigdata_cxr"): (30, 3, 10, 0, 0.003, 16),
    ("smoke", "shenzhen_tb"): (30, 3, 10, 0, 0.003, 16),
    ("smoke", "covid19_idc"): (30, 3, 10, 0, 0.003, 16),
    ("phantom_cpu", "nih_chestxray14"): (150, 15, 15, 0, 0.0005, 16),
    ("phantom_cpu", "vinbigdata_cxr"): (150, 15, 15, 0, 0.0005, 16),
    ("phantom_cpu", "shenzhen_tb"): (150, 15, 15, 0, 0.0005, 16),
    ("phantom_cpu", "covid19_idc"): (150, 15, 15, 0, 0.001, 32),  # rate and batch of `cpu`, which it does not set
}


@pytest.mark.parametrize(("preset", "dataset"), CPU_LENGTHS)
def test_lengths_of_full_size_do_not_reach_the_small_presets(preset: str, dataset: str) -> None:
    names = ("steps", "warmup_steps", "validate_every", "patience", "learning_rate", "batch_size")
    values = resolve(preset, dataset=dataset)
    assert tuple(values[f"finetune.{name}"].value for name in names) == CPU_LENGTHS[preset, dataset]


@pytest.mark.parametrize("dataset", ["", *plugins.names("dataset")])
@pytest.mark.parametrize("preset", protocols.names())
def test_a_presets_own_section_wins_over_exceptions_of_its_parents(preset: str, dataset: str) -> None:
    content = YAML(typ="safe").load(protocols.FOLDER / f"{preset}.yaml")
    exceptions = content.get("finetune_for", {}).get(dataset, {})
    values = resolve(preset, dataset=dataset)
    for name, leaf in content.get("finetune", {}).items():
        expected = exceptions.get(name, leaf)
        assert values[f"finetune.{name}"].value == expected["value"], name
        assert values[f"finetune.{name}"].origin == f"{preset}: {expected['source']}", name


@pytest.mark.parametrize(
    ("given", "group"),
    [("finetune.stepz", "finetune"), ("pretrain.decoder.widht", "pretrain.decoder"), ("finetune.a.b", "finetune")],
)
def test_an_unknown_constant_is_told_those_beside_it(given: str, group: str) -> None:
    content = {"protocol": {"overrides": {given: 1}}}
    document = yaml_text.Document(HERE.path, content, {("protocol", "overrides", given): HERE})
    found, (problem,) = protocols.flat_overrides({given: 1}, document, ("protocol", "overrides"))
    beside = [name.removeprefix(f"{group}.") for name in sorted(protocols.CONSTANTS) if name.startswith(f"{group}.")]
    assert found == [] and len(beside) > 1
    assert (problem.found, problem.allowed) == (f"unknown constant '{given}'", f"in {group}: {', '.join(beside)}")
    assert (problem.path, problem.line, problem.column) == (HERE.path, 3, 5)


def test_an_unknown_constant_of_no_section() -> None:
    document = yaml_text.Document(HERE.path, {}, {})
    _, (problem,) = protocols.flat_overrides({"nothing.alike": 1}, document, ())
    assert problem.allowed == f"names that begin with {', '.join(protocols.SECTIONS)}"
