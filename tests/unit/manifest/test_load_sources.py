"""A manifest names one source dataset or several, and what is wrong with one of them is told where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.manifest.load import load
from refers_bench.manifest.schema import json_schema

TEXT = """\
version: 1
protocol: {preset: smoke}
source: SOURCE
methods: [METHOD, scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
ALL = ", ".join(name for name in plugins.names("dataset") if name not in ("folder", "table"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "m.yaml"


def text(source: str, method: str = "model_genesis") -> str:
    return TEXT.replace("SOURCE", source).replace("METHOD", method)


def problems(path: Path, source: str, method: str = "model_genesis") -> list[str]:
    path.write_text(text(source, method))
    with pytest.raises(UserError) as raised:
        load(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{dataset: phantom}", [("phantom", {})]),
        ("[{dataset: phantom}]", [("phantom", {})]),
        ("[phantom]", [("phantom", {})]),
        # In the order of their ids.
        ("[phantom, covid19_idc]", [("covid19_idc", {}), ("phantom", {})]),
        (
            "\n  - shenzhen_tb\n  - {dataset: covid19_idc, params: {split_seed: 3}}\n  - openi",
            [("covid19_idc", {"split_seed": 3}), ("openi", {}), ("shenzhen_tb", {})],
        ),
    ],
)
def test_one_or_several(source: str, found: list[tuple[str, dict[str, object]]], written: Path) -> None:
    written.write_text(text(source))
    assert [(part.dataset, part.params) for part in load(written).content.sources] == found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        # As one source has always been refused.
        ("{dataset: phantom, a: 1}", ["3:28: unknown key 'a'; allowed: dataset, params"]),
        ("{}", ["3:1: key 'dataset' is missing; allowed: 'dataset' must be given"]),
        ("phantom", ["3:1: source is 'phantom'; allowed: a mapping of keys to values"]),
        ("[]", ["3:1: source is []; allowed: a list of 1 or more"]),
        (
            "[phantom, {dataset: covid19_idc, a: 1}, 5, {params: {}}]",
            [
                "3:42: unknown key 'a'; allowed: dataset, params",
                "3:49: source.2 is 5; allowed: the id of a dataset, or a mapping of keys to values",
                "3:52: key 'dataset' is missing; allowed: 'dataset' must be given",
            ],
        ),
        ("[phantom, fantom]", [f"3:19: unknown dataset 'fantom'; allowed: {ALL}; did you mean 'phantom'?"]),
        (
            "[covid19_idc, phantom, {dataset: covid19_idc}]",
            ["3:33: sources 1 and 3 are both covid19_idc; allowed: each source dataset once"],
        ),
        (
            "[openi, {dataset: shenzhen_tb, params: {split: x, fould: 1}}]",
            ["3:49: split is 'x'", "3:59: unknown parameter 'fould'"],
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(source: str, said: list[str], written: Path) -> None:
    found = problems(written, source)
    assert len(found) == len(said)
    for line, expected in zip(found, said, strict=True):
        assert line.startswith(f"m.yaml:{expected}"), line


def test_a_source_that_is_a_target_is_read_alike(written: Path) -> None:
    """Another split of the same images could put test images into pre-training, whichever of the sources it is."""
    target = "targets: [{dataset: shenzhen_tb, tasks: [tuberculosis], params: {split_seed: 1}}]"
    for source in ("[phantom, shenzhen_tb]", "[phantom, {dataset: shenzhen_tb, params: {split_seed: 2}}]"):
        content = text(source).replace("targets: [{dataset: phantom, tasks: [findings]}]", target)
        written.write_text(content)
        with pytest.raises(
            UserError, match=r"m\.yaml:5:57: source and target are both shenzhen_tb, with different params"
        ):
            load(written)
    written.write_text(content.replace("split_seed: 2", "split_seed: 1"))
    assert len(load(written).content.sources) == 2


def test_no_row_is_pretrained_on_a_target_that_has_folds(written: Path) -> None:
    """Each image of such a target is a test image of some fold."""
    target = "targets: [{dataset: openi, tasks: [mesh14], folds: 5}, {dataset: phantom, tasks: [findings]}]"

    def content(source: str, method: str, folded: str = target) -> str:
        return text(source, method).replace("targets: [{dataset: phantom, tasks: [findings]}]", folded)

    mine = "{id: model_genesis, name: mine}"
    for source in ("{dataset: openi}", "[shenzhen_tb, openi]"):
        written.write_text(content(source, mine))
        with pytest.raises(UserError) as raised:
            load(written)
        (said,) = raised.value.problems
        assert (said.line, said.column) == (5, 45)
        assert said.found == "openi has folds, and mine is pre-trained on it"
    for fine in (
        content("{dataset: shenzhen_tb}", mine),  # another source
        content("{dataset: openi}", mine, target.replace(", folds: 5", "")),  # the dataset's own split
        content("{dataset: openi}", mine.replace("}", ", targets: [phantom]}")),  # the row is for the other target
        content("{dataset: openi}", "{id: checkpoint, name: mine}"),  # its weights come from elsewhere
    ):
        written.write_text(fine)
        load(written)
    written.write_text(content("{dataset: openi}", "{id: model_genesis, params: {nothing: 1}}"))
    with pytest.raises(UserError) as raised:
        load(written)
    assert [one.found for one in raised.value.problems] == ["unknown parameter 'nothing'"]


def test_data_roots_of_all_sources_are_in_use(written: Path) -> None:
    written.write_text(text("[openi, covid19_idc]") + "data: {openi: {root: a}, covid19_idc: {root: b}}\n")
    load(written)
    written.write_text(text("[openi, covid19_idc]") + "data: {shenzhen_tb: {root: a}}\n")
    with pytest.raises(UserError, match="'shenzhen_tb'; allowed: covid19_idc, openi, phantom"):
        load(written)


def test_methods_that_learn_labels_need_one_source(written: Path) -> None:
    (said,) = problems(written, "[openi, shenzhen_tb]", "{name: mine, id: lsp_transformer}")
    found = "method lsp_transformer is pre-trained on labels, and there are 2 source datasets"
    assert said == f"m.yaml:4:24: {found}; allowed: one source dataset, or methods that need images or reports alone"
    written.write_text(text("[shenzhen_tb]", "lsp_transformer"))
    load(written)


def test_an_editor_is_told_both_forms() -> None:
    schema = json_schema()["properties"]["source"]
    one, several = schema["anyOf"]
    assert one == {"$ref": "#/$defs/SourcePart"}
    assert several["items"]["anyOf"] == [{"type": "string"}, one] and several["minItems"] == 1
