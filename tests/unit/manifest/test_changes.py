"""The command line sets any value of a manifest, each with its option as its origin, and mistakes name what there is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.manifest.changes import Changes
from refers_bench.manifest.load import Manifest, load

MANIFEST = """\
version: 1
title: Whole
protocol: {preset: smoke, overrides: {finetune: {steps: 20, batch_size: 8}, network.depth: 1}}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
methods:
  - refers
  - {id: scratch, name: plain, overrides: {finetune: {steps: 7, warmup_steps: 2}}}
  - {id: c2l, params: {queue: 64}, pretrain_seeds: [4, 5, 6], targets: [phantom]}
  - {id: scratch, name: other, best_of: any, targets: [covid19_idc]}
targets:
  - {dataset: phantom, tasks: [findings]}
  - {dataset: covid19_idc, tasks: [covid19_vs_other]}
seeds: [0, 1, 2]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    return tmp_path / "m.yaml"


def changed(path: Path, *settings: str, **more: Any) -> Manifest:
    return load(path, Changes(settings=settings, **more))


def overrides(manifest: Manifest, row: str = "") -> dict[str, tuple[Any, str]]:
    """Constant -> value and origin."""
    found = manifest.method_overrides[row] if row else manifest.overrides
    return {item.name: (item.value, item.place.origin) for item in found}


def test_a_constant_goes_where_an_override_goes(path: Path) -> None:
    found = overrides(changed(path, "finetune.steps=30", "pretrain.learning_rate=1e-3"))
    assert found["finetune.steps"] == (30, "--set finetune.steps=30")
    assert found["pretrain.learning_rate"] == (0.001, "--set pretrain.learning_rate=1e-3")
    assert found["finetune.batch_size"] == (8, f"manifest {path}:3:61"), "the manifest's others stay"
    assert set(found) == {"finetune.steps", "finetune.batch_size", "network.depth", "pretrain.learning_rate"}
    assert overrides(changed(path, "protocol.overrides.finetune.steps=30")) == {
        **overrides(load(path)), "finetune.steps": (30, "--set protocol.overrides.finetune.steps=30"),
    }  # fmt: skip


def test_a_group_of_constants_may_be_set_at_once(path: Path) -> None:
    found = overrides(changed(path, "finetune={steps: 9, warmup_steps: 1}"))
    assert {name: value for name, (value, _) in found.items()} == {
        "finetune.steps": 9, "finetune.warmup_steps": 1, "finetune.batch_size": 8, "network.depth": 1,
    }  # fmt: skip
    ends = overrides(changed(path, "image.finetune_augment.scale=[0.5, 1.0]"))
    assert ends["image.finetune_augment.scale"][0] == [0.5, 1.0]


def test_the_last_of_two_settings_of_one_key_wins(path: Path) -> None:
    found = overrides(changed(path, "finetune.steps=30", "finetune={steps: 31}", "finetune.steps=32"))
    assert found["finetune.steps"] == (32, "--set finetune.steps=32")


def test_a_row_has_overrides_of_its_own(path: Path) -> None:
    found = changed(path, "methods.plain.overrides.finetune.steps=5", "methods.refers.overrides.network.depth=3")
    assert overrides(found, "plain") == {
        "finetune.warmup_steps": (2, f"manifest {path}:8:65"),
        "finetune.steps": (5, "--set methods.plain.overrides.finetune.steps=5"),
    }
    assert overrides(found, "refers") == {"network.depth": (3, "--set methods.refers.overrides.network.depth=3")}
    assert overrides(found)["finetune.steps"][0] == 20


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("title=Other", "title", "Other"),
        ("title='a: b = c'", "title", "a: b = c"),
        ("name=quick", "name", "quick"),
        ("execution.cpu_slots=3", "execution.cpu_slots", 3),
        ("execution.time_limit=5m", "execution.time_limit", 300.0),
        ("seeds=[3, 4, 5]", "seeds", [3, 4, 5]),
        ("limit=12", "limit", 12),
        ("protocol={preset: smoke}", "protocol.overrides", {}),
        ("targets.phantom.label_ratios=[1%, 10%]", "targets.0.label_ratios", [0.01, 0.1]),
        ("targets.1.folds=5", "targets.1.folds", 5),
        ("methods.c2l.params.queue=128", "methods.2.params", {"queue": 128}),
        ("methods.1.label=Mine", "methods.1.label", "Mine"),
        ("methods.0.label=Ours", "methods.0.label", "Ours"),
        ("data.phantom.phantom.size=48", "data.phantom.phantom", {"studies": 20, "size": 48}),
        ("source.dataset=phantom", "source.dataset", "phantom"),
        ("tables=[cells]", "tables", ["cells"]),
        ("analysis.alpha=0.01", "analysis.alpha", 0.01),
    ],
)  # fmt: skip
def test_any_value_can_be_set(path: Path, setting: str, where: str, value: Any) -> None:
    found: Any = changed(path, setting).content
    for part in where.split("."):
        found = found[int(part)] if part.isdigit() else found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


#: Options, and the messages that must appear.
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no value": ({"settings": ("finetune.steps",)}, "--set finetune.steps: 'finetune.steps' is not KEY=VALUE; allowed: such as finetune.steps=300"),
    "no key": ({"settings": ("=3",)}, "--set =3: '=3' is not KEY=VALUE"),
    "empty part": ({"settings": ("finetune..steps=3",)}, "is not KEY=VALUE"),
    "not YAML": ({"settings": ("title=[a",)}, "--set title=[a: not YAML: "),
    "not a plain value": ({"settings": ("title=!!python/name:os 3",)}, "--set title=!!python/name:os 3: "),
    "unknown key": ({"settings": ("titel=a",)}, "--set titel=a: unknown key 'titel'; allowed: version, name, title, "),
    "nearest key": ({"settings": ("titel=a",)}, "did you mean 'title'"),
    "nearest constants": ({"settings": ("steps=5",)}, "did you mean 'pretrain.steps', 'finetune.steps'?"),
    "misspelt constant": ({"settings": ("finetune.stepz=5",)}, "--set finetune.stepz=5: unknown constant 'finetune.stepz'; allowed: in finetune: "),
    "nearest constant": ({"settings": ("finetune.stepz=5",)}, "did you mean 'finetune.steps'?"),
    "misspelt group": ({"settings": ("finetun.steps=5",)}, "did you mean 'pretrain.steps', 'finetune.steps'?"),
    "a group as a value": ({"settings": ("finetune=5",)}, "--set finetune=5: finetune is 5; allowed: a mapping of "),
    "constant of wrong type": ({"settings": ("finetune.steps=many",)}, "--set finetune.steps=many: finetune.steps is 'many'; allowed: "),
    "constant out of range": ({"settings": ("network.dropout=1.5",)}, "--set network.dropout=1.5: network.dropout is 1.5"),
    "key of a section": ({"settings": ("execution.cpu_slotz=3",)}, "--set execution.cpu_slotz=3: unknown key 'cpu_slotz'; allowed: accumulate, "),
    "wrong type": ({"settings": ("execution.cpu_slots=few",)}, "--set execution.cpu_slots=few: execution.cpu_slots is 'few'"),
    "unknown method": ({"settings": ("methods.0.id=referss",)}, "--set methods.0.id=referss: unknown method 'referss'"),
    "unknown preset": ({"settings": ("protocol.preset=smoky",)}, "--set protocol.preset=smoky: unknown protocol preset 'smoky'"),
    "unknown parameter": ({"settings": ("methods.c2l.params.quee=3",)}, "--set methods.c2l.params.quee=3: unknown parameter 'quee'"),
    "wrong parameter": ({"settings": ("methods.c2l.params.queue=none",)}, "--set methods.c2l.params.queue=none: queue is 'none'"),
    "unknown row to set": ({"settings": ("methods.plane.label=x",)}, "--set methods.plane.label=x: methods has no entry 'plane'; allowed: refers, plain, c2l, other; or a number from 0 to 3; did you mean 'plain'?"),
    "row number": ({"settings": ("methods.9.label=x",)}, "methods has no entry '9'"),
    "unknown task": ({"settings": ("targets.0.tasks=[finding]",)}, "--set targets.0.tasks=[finding]: unknown task of phantom 'finding'"),
    "include": ({"settings": ("include=[a.yaml]",)}, "--set include=[a.yaml]: 'include' is read before anything is set"),
    "limit": ({"limit": 0}, "--limit 0: limit is 0"),
    "seed twice": ({"settings": ("seeds=[1, 1]",)}, "--set seeds=[1, 1]: seeds is [1, 1]; allowed: each of them once"),
    "seeds and pre-trainings": ({"seeds": (7, 8)}, "3 pretrain_seeds for 2 seeds"),
    "row that the analysis names": (
        {"rows": ("refers",), "settings": ("analysis={reference: any, against: [refers, plain]}",)},
        "--rows refers: leaves out 'any', which 'analysis' names; allowed: rows with it, or --set analysis.reference or analysis.against to others",
    ),
    "other row that the analysis names": (
        {"rows": ("refers",), "settings": ("analysis={reference: refers, against: [refers2, plain]}",)}, "unknown row 'refers2'",
    ),
    "unknown row": ({"rows": ("refers", "plian")}, "--rows refers,plian: unknown row 'plian'; allowed: refers, plain, c2l, other, any; did you mean 'plain'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_the_option_and_what_there_is(path: Path, name: str) -> None:
    options, said = MISTAKES[name]
    with pytest.raises(UserError) as raised:
        load(path, Changes(**options))
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_fewer_steps_than_warm_up_name_the_one_key_to_change(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST.replace("finetune: {steps: 20, batch_size: 8}", "finetune.batch_size: 8"))
    with pytest.raises(UserError) as raised:
        changed(path, "finetune.steps=2")
    assert [str(problem) for problem in raised.value.problems] == [
        "--set finetune.steps=2: finetune.warmup_steps is 3, finetune.steps is 2; allowed: the first at most the "
        "second; finetune.warmup_steps is still that of smoke: set it, too"
    ]
    found = overrides(changed(path, "finetune.steps=2", "finetune.warmup_steps=1"))
    assert (found["finetune.steps"][0], found["finetune.warmup_steps"][0]) == (2, 1)
    with pytest.raises(UserError) as raised:
        changed(path, "finetune.steps=2", "finetune.warmup_steps=4")
    assert "still" not in str(raised.value), "both are set"


def test_seeds_replace_the_manifests_and_keep_the_pre_training_of_each(path: Path) -> None:
    found = changed(path, seeds=(2, 0)).content
    assert found.seeds == [2, 0]
    assert [method.pretrain_seeds for method in found.methods] == [[0], [0], [6, 4], [0]]


def test_rows_leave_the_rest_of_the_manifest_as_it_is(path: Path) -> None:
    found = changed(path, "methods.plain.label=Mine", rows=("c2l", "plain"))
    assert [method.name or method.id for method in found.content.methods] == ["plain", "c2l"], "in its own order"
    assert [target.dataset for target in found.content.targets] == ["phantom", "covid19_idc"]
    place = found.document.place
    assert place(("methods", 1, "params", "queue")).line == 9
    assert place(("methods", 0, "label")).origin == "--set methods.plain.label=Mine"
    assert [target.dataset for target in changed(path, rows=("c2l",)).content.targets] == ["phantom"]
    assert [method.name for method in changed(path, rows=("any",)).content.methods] == ["other"], "a choice of rows"


def test_the_options_are_recorded_as_they_are_typed(path: Path) -> None:
    found = changed(path, "title=a b", limit=3, seeds=(0, 1), rows=("refers",))
    assert found.changes == ("--set title=a b", "--limit 3", "--seeds 0,1", "--rows refers")
    assert (load(path).changes, load(path).plugins) == ((), ())


def test_a_manifest_is_read_from_standard_input(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"name: piped\n{MANIFEST}"))
    found = load(Path("-"), Changes(settings=("finetune.steps=30",)))
    assert (found.name, found.path) == ("piped", Path("-"))
    assert overrides(found)["finetune.batch_size"] == (8, "manifest <stdin>:4:61")
    monkeypatch.setattr("sys.stdin", io.StringIO(MANIFEST))
    with pytest.raises(UserError, match=r"the name '-'; allowed: letters.*; or give it a 'name'"):
        load(Path("-"))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"name: piped\n{MANIFEST}colour: red\n"))
    with pytest.raises(UserError, match=r"^<stdin>:16:1: unknown key 'colour'"):
        load(Path("-"))
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr("sys.stdin", io.StringIO("include: [m.yaml]\nname: piped\nseeds: [8, 9, 10]\n"))
    assert load(Path("-")).content.seeds == [8, 9, 10]
