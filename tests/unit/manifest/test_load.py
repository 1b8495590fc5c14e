"""Manifests are completed from those they include, and every mistake is told with its file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.manifest.load import load

BASE = """\
version: 1
name: base
title: The base
protocol: {preset: smoke, overrides: {finetune.steps: 20, pretrain: {steps: 40}}}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
"""


def problems(path: Path) -> list[str]:
    with pytest.raises(UserError) as raised:
        load(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in raised.value.problems]


def test_an_included_file_is_completed_mapping_by_mapping(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "more.yaml").write_text("seeds: [7]\ntables: [table1]\n")
    path = tmp_path / "top.yaml"
    path.write_text(
        "include: [base.yaml, more.yaml]\nmethods:\n  - {id: refers, name: mine, overrides: {network.depth: 3}}\n"
        "data: {phantom: {phantom: {size: 48}}}\n"
        "protocol: {overrides: {finetune: {steps: 25}, image.size: 24}}\n"
    )
    manifest = load(path)
    content = manifest.content
    assert (manifest.name, content.name, content.title) == ("top", None, "The base"), "a name is not taken over"
    assert (content.seeds, content.tables) == ([7], ["table1"]), "lists are replaced, by the last that has them"
    assert content.data["phantom"].phantom == {"studies": 20, "size": 48}
    assert [(method.id, method.name) for method in content.methods] == [("refers", "mine")]
    said = {item.name: (item.value, item.place.path.name, item.place.line) for item in manifest.overrides}
    assert said == {
        "finetune.steps": (25, "top.yaml", 5), "pretrain.steps": (40, "base.yaml", 4), "image.size": (24, "top.yaml", 5),
    }  # fmt: skip
    ((row, (own,)),) = manifest.method_overrides.items()
    assert (row, own.name, own.value, str(own.place)) == ("mine", "network.depth", 3, f"{path}:3:42")
    assert content.include == ["base.yaml", "more.yaml"]


def test_a_name_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(BASE)
    assert load(path).name == "base"
    path.write_text(BASE.replace("name: base\n", ""))
    (said,) = problems(path)
    allowed = "letters, digits, '_' and '-', and none of store, work, logs, probes, published, report, data, statistics; or give it a 'name'"
    assert said == f"a b.yaml:1:1: the name 'a b'; allowed: {allowed}"
    for reserved in ("store", "work", "logs", "probes", "published", "report", "data", "statistics"):
        path.write_text(BASE.replace("name: base", f"name: {reserved}"))
        assert problems(path) == [f"a b.yaml:2:1: the name '{reserved}'; allowed: {allowed}"]
        own = tmp_path / f"{reserved}.yaml"
        own.write_text(BASE.replace("name: base\n", ""))
        assert problems(own) == [f"{reserved}.yaml:1:1: the name '{reserved}'; allowed: {allowed}"]


def test_everything_that_is_wrong_in_the_order_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\n"
        "protocol: {preset: smoke, overrides: {finetune.stepz: 1, finetune: 3, pretrain.steps: 1, image.size: 33}}\n"
        "data: {phantom: {root: a, phantom: {studies: 1}}, openi: {}}\n"
        "source: {dataset: phantom, params: {a: 1}}\n"
        "methods:\n"
        "  - referss\n"
        "  - {id: scratch, best_of: mine, pretrain_seeds: [0, 1]}\n"
        "  - {id: refers, name: mine, params: {views: 0}}\n"
        "  - {id: refers, name: mine, targets: [phantm]}\n"
        "targets:\n"
        "  - {dataset: phantom, tasks: [finding, findings], label_ratios: [10%, 0.1]}\n"
        "  - {dataset: phantom, tasks: [findings], label_ratios: [10%], params: {b: 1}}\n"
        "seeds: [0, 1, 2]\n"
        "tables: [tabel1]\n"
    )
    found = problems(path)
    assert [line.partition("; allowed")[0] for line in found] == [
        "m.yaml:2:39: unknown constant 'finetune.stepz'",
        "m.yaml:2:58: finetune is 3",
        "m.yaml:2:71: pretrain.warmup_steps is 5, pretrain.steps is 1",
        "m.yaml:2:90: image.size is 33, network.patch_size is 8",
        "m.yaml:3:8: both 'root' and 'phantom'",
        "m.yaml:3:37: studies is 1",
        "m.yaml:3:51: unknown dataset, or one that is not used here 'openi'",
        "m.yaml:4:37: unknown parameter 'a'",
        "m.yaml:6:5: unknown method 'referss'",
        "m.yaml:7:19: best_of is 'mine', which is a row itself",
        "m.yaml:7:34: 2 pretrain_seeds for 3 seeds",
        "m.yaml:8:39: views is 0",
        "m.yaml:9:5: row name 'mine' is used by methods 3 and 4",
        "m.yaml:9:40: unknown dataset among the targets 'phantm'",
        "m.yaml:11:5: source and target are both phantom, with different params",
        "m.yaml:11:32: unknown task of phantom 'finding'",
        "m.yaml:11:72: phantom finding at 10% is asked for twice",
        "m.yaml:11:72: phantom findings at 10% is asked for twice",
        "m.yaml:12:58: phantom findings at 10% is asked for twice",
        "m.yaml:12:64: source and target are both phantom, with different params",
        "m.yaml:12:64: targets 1 and 2 are both phantom, with different params",
        "m.yaml:12:73: unknown parameter 'b'",
        "m.yaml:14:10: unknown report 'tabel1'",
    ]


def test_datasets_that_are_used_are_named_in_alphabetical_order(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\nprotocol: {preset: smoke}\ndata: {nobody: {}}\nsource: {dataset: mimic_cxr_jpg}\nmethods: [scratch]\n"
        "seeds: [0]\ntargets:\n"
        "  - {dataset: vinbigdata_cxr, tasks: [findings], label_ratios: [1.0]}\n"
        "  - {dataset: shenzhen_tb, tasks: [tuberculosis], label_ratios: [1.0]}\n"
        "  - {dataset: covid19_idc, tasks: [covid19_vs_other], label_ratios: [1.0]}\n"
        "  - {dataset: nih_chestxray14, tasks: [findings], label_ratios: [1.0]}\n"
        "  - {dataset: openi, tasks: [findings], label_ratios: [1.0]}\n"
    )
    (said,) = [line for line in problems(path) if "nobody" in line]
    allowed = said.partition("; allowed: ")[2].partition(";")[0]
    assert allowed == "covid19_idc, mimic_cxr_jpg, nih_chestxray14, openi, shenzhen_tb, vinbigdata_cxr"


def test_mistakes_of_an_included_file_stand_there_and_come_after_ones_own(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE.replace("seeds: [0, 1]", "seeds: [x]"))
    path = tmp_path / "top.yaml"
    path.write_text("include: [base.yaml]\ntitle: 3\n")
    found = problems(path)
    assert [line.partition("; allowed")[0] for line in found] == [
        "top.yaml:2:1: title is 3", "base.yaml:9:9: seeds.0 is 'x'",
    ]  # fmt: skip
    path.write_text("include: [base.yaml, none.yaml]\n")
    assert problems(path) == [
        f"top.yaml:1:22: included file {tmp_path}/none.yaml does not exist".replace(f"{tmp_path}/", "")
    ]
    (tmp_path / "one.yaml").write_text("include: [two.yaml]\n")
    (tmp_path / "two.yaml").write_text("title: a\ninclude: [one.yaml]\n")
    assert problems(tmp_path / "one.yaml") == ["two.yaml:2:11: include cycle one.yaml -> two.yaml -> one.yaml"]


def test_a_constant_that_is_set_twice_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(BASE.replace("{finetune.steps: 20,", "{finetune.steps: 20, finetune: {steps: 20},"))
    assert problems(path) == ["m.yaml:4:70: 'finetune.steps' is set here and in line 4; allowed: each constant once"]


def test_tasks_left_out_are_all_of_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(BASE.replace("{dataset: phantom, tasks: [findings]}", "{dataset: covid19_idc}, {dataset: phantom}"))
    assert [target.tasks for target in load(path).content.targets] == [
        ["covid19_vs_other", "viral_vs_bacterial", "findings"],
        ["findings"],
    ]
    path.write_text(BASE.replace("{dataset: phantom, tasks: [findings]}", "{dataset: phantoms}"))
    known = ", ".join(name for name in plugins.names("dataset") if name not in ("folder", "table"))
    assert problems(path) == [f"m.yaml:8:12: unknown dataset 'phantoms'; allowed: {known}; did you mean 'phantom'?"]
    path.write_text(BASE.replace("tasks: [findings]", "tasks: []"))
    assert problems(path) == ["m.yaml:8:30: targets.0.tasks is []; allowed: a list of 1 or more"]


def test_a_source_may_be_left_out_where_no_row_pre_trains(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    without = BASE.replace("source: {dataset: phantom}\n", "")
    path.write_text(without.replace("[refers, scratch]", "[scratch]"))
    assert load(path).content.sources == ()
    path.write_text(without)
    assert problems(path) == [
        "m.yaml:6:11: row 'refers' pre-trains, and the manifest has no 'source'; allowed: source: {dataset: ID}, or rows "
        "that do not pre-train"
    ]
    path.write_text(BASE.replace("source: {dataset: phantom}", "source: []"))
    assert problems(path) == ["m.yaml:6:1: source is []; allowed: a list of 1 or more"]
