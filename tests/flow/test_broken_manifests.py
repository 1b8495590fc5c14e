"""For each way to get a manifest wrong a user sees one message, its place, and exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import Commands

GOOD = """\
version: 1
protocol: {preset: smoke}
data:
  phantom: {phantom: {studies: 20}}
source: {dataset: phantom}
methods:
  - refers
  - {id: scratch}
targets:
  - {dataset: phantom, tasks: [findings], label_ratios: [10%]}
seeds: [0, 1]
"""

#: What is replaced in the good manifest, by what, and the message that must appear (a regular expression).
BROKEN = {
    "duplicate key": ("seeds: [0, 1]", "seeds: [0]\nseeds: [1]", r"m\.yaml:12:1: .*duplicate key.*seeds.*each key once"),
    "unknown top key": ("seeds:", "sseeds:", r"m\.yaml:11:1: unknown key 'sseeds'; allowed: .*did you mean 'seeds'"),
    "missing key": ("seeds: [0, 1]\n", "", r"key 'seeds' is missing"),
    "missing version": ("version: 1\n", "", r"key 'version' is missing"),
    "future version": ("version: 1", "version: 2", r"m\.yaml:1:1: version is 2; allowed: .*1"),
    "text for number": ("seeds: [0, 1]", "seeds: [zero]", r"m\.yaml:11:9: seeds\.0 is 'zero'; allowed: a whole number"),
    "scalar for list": ("seeds: [0, 1]", "seeds: 3", r"m\.yaml:11:1: seeds is 3.*list"),
    "no seeds": ("seeds: [0, 1]", "seeds: []", r"m\.yaml:11:1: seeds is \[\]; allowed: a list of 1 or more"),
    "seed twice": ("seeds: [0, 1]", "seeds: [1, 1]", r"m\.yaml:11:1: seeds is \[1, 1\]; allowed: each of them once"),
    "negative seed": ("seeds: [0, 1]", "seeds: [-1]", r"m\.yaml:11:9: seeds\.0 is -1"),
    "boolean seed": ("seeds: [0, 1]", "seeds: [true]", r"m\.yaml:11:9: seeds\.0 is True"),
    "unknown method": ("- refers", "- referss", r"m\.yaml:7:5: unknown method 'referss'; allowed: .*did you mean 'refers'"),
    "unknown dataset": ("source: {dataset: phantom}", "source: {dataset: fantom}", r"m\.yaml:5:10: unknown dataset 'fantom'"),
    "unknown task": ("[findings]", "[finding]", r"unknown task of phantom 'finding'; allowed: findings; did you mean 'findings'"),
    "unknown preset": ("preset: smoke", "preset: smok", r"m\.yaml:2:12: unknown protocol preset 'smok'.*did you mean 'smoke'"),
    "unknown parameter": ("{id: scratch}", "{id: refers, name: b, params: {viewfusion: no}}", r"unknown parameter 'viewfusion'.*'view_fusion'"),
    "wrong parameter": ("{id: scratch}", "{id: refers, name: b, params: {views: 0}}", r"m\.yaml:8:36: views is 0"),
    "wrong choice": ("{id: scratch}", "{id: refers, name: b, params: {tasks: [caption]}}", r"tasks\.0 is 'caption'.*report_generation"),
    "row name twice": ("{id: scratch}", "{id: refers}", r"m\.yaml:8:5: row name 'refers' is used by methods 1 and 2"),
    "choice named as a row": ("{id: scratch}", "{id: refers, name: b, best_of: refers}", r"m\.yaml:8:\d+: best_of is 'refers', which is a row itself"),
    "row for an unknown target": ("{id: scratch}", "{id: scratch, targets: [phantm]}", r"m\.yaml:8:\d+: unknown dataset among the targets 'phantm'.*did you mean 'phantom'"),
    "row for no target": ("{id: scratch}", "{id: scratch, targets: []}", r"targets is \[\]"),
    "target for no row": ("  - refers\n  - {id: scratch}\ntargets:\n", "  - {id: scratch, targets: [phantom]}\ntargets:\n  - {dataset: covid19_idc, tasks: [covid19_vs_other]}\n", r"m\.yaml:9:\d+: no row is for covid19_idc; allowed: a target that"),
    "file outside the folder": ("version: 1", "version: 1\nfiles: {w: /etc/passwd}", r"m\.yaml:2:.*files"),
    "bad row name": ("{id: scratch}", "{id: scratch, name: ../x}", r"methods\.1\.name is '\.\./x'"),
    "unknown key in method": ("{id: scratch}", "{id: scratch, parms: {}}", r"unknown key 'parms'.*did you mean 'params'"),
    "unknown constant": ("{preset: smoke}", "{preset: smoke, overrides: {finetune: {stepz: 5}}}", r"unknown constant 'finetune\.stepz'.*'finetune\.steps'"),
    "chosen on test": ("{preset: smoke}", "{preset: smoke, select_on: test}", r"m\.yaml:2:27: protocol\.select_on is 'test'; allowed: val: a checkpoint chosen on the test images gives figures on them that are too high; 'finetune\.select: last' chooses none"),
    "constant of wrong type": ("{preset: smoke}", "{preset: smoke, overrides: {finetune.steps: many}}", r"m\.yaml:2:39: finetune\.steps is 'many'"),
    "constant out of range": ("{preset: smoke}", "{preset: smoke, overrides: {network: {dropout: 1.5}}}", r"network\.dropout is 1\.5"),
    "ratio above one": ("[10%]", "[150%]", r"label_ratios\.0 is '150%'; allowed: a share in \(0, 1\]"),
    "ratio as words": ("[10%]", "[ten]", r"label_ratios\.0 is 'ten'"),
    "empty ratio list": ("[10%]", "[]", r"label_ratios is \[\]"),
    "no methods": ("methods:\n  - refers\n  - {id: scratch}", "methods: []", r"m\.yaml:6:1: methods is \[\]"),
    "sexagesimal time": ("version: 1", "version: 1\nexecution: {time_limit: 10:30}", r"time_limit is '10:30'; allowed: a number and a unit"),
    "unknown failure category": ("version: 1", "version: 1\nexecution: {retries: {oom: 1}}", r"m\.yaml:2:"),
    "root and phantom": ("{phantom: {studies: 20}}", "{root: a, phantom: {}}", r"both 'root' and 'phantom'"),
    "phantom too small": ("{studies: 20}", "{studies: 2}", r"m\.yaml:4:23: studies is 2"),
    "data of nobody": ("data:\n", "data:\n  openi: {root: x}\n", r"m\.yaml:4:3: unknown dataset, or one that is not used here 'openi'"),
    "missing include": ("version: 1", "version: 1\ninclude: [nowhere.yaml]", r"m\.yaml:2:11: included file .*nowhere\.yaml does not exist"),
    "include of itself": ("version: 1", "version: 1\ninclude: [m.yaml]", r"include cycle m\.yaml -> m\.yaml"),
    "unknown table": ("version: 1", "version: 1\ntables: [table9]", r"m\.yaml:2:10: unknown report 'table9'"),
    "tuning of no constant": ("version: 1", "version: 1\ntuning: {finetune.rate: [1, 2]}", r"m\.yaml:2:10: unknown constant 'finetune\.rate'; allowed: in finetune: "),
    "tuning of pre-training": ("version: 1", "version: 1\ntuning: {pretrain.steps: [1, 2]}", r"m\.yaml:2:10: pretrain\.steps is no constant of fine-tuning alone, and a pre-training serves all candidates; allowed: names that begin with finetune\."),
    "tuning of one value": ("version: 1", "version: 1\ntuning: {finetune.steps: [5]}", r"m\.yaml:2:10: finetune\.steps is \[5\]; allowed: a list of two values or more"),
    "tuning of no list": ("version: 1", "version: 1\ntuning: {finetune: {steps: 5}}", r"m\.yaml:2:21: finetune\.steps is 5; allowed: a list of two values or more"),
    "tuning without values": ("version: 1", "version: 1\ntuning: {finetune.steps: []}", r"m\.yaml:2:10: finetune\.steps is \[\]; allowed: a list of two"),
    "tuning of equal values": ("version: 1", "version: 1\ntuning: {finetune.learning_rate: [1, 0.5, 1.0]}", r"m\.yaml:2:10: finetune\.learning_rate is to be 1 twice; allowed: each value once"),
    "tuning of wrong values": ("version: 1", "version: 1\ntuning: {finetune.steps: [5, many]}", r"m\.yaml:2:10: finetune\.steps is 'many'; allowed: a whole number"),
    "tuning of values that do not fit": ("version: 1", "version: 1\ntuning: {finetune.steps: [5, 1], finetune.warmup_steps: [0, 3]}", r"finetune\.warmup_steps is 3, finetune\.steps is 1; allowed: the first at most the second"),
    "tuning twice": ("version: 1", "version: 1\ntuning: {finetune.steps: [5, 6], finetune: {steps: [5, 7]}}", r"m\.yaml:2:45: 'finetune\.steps' is set here and in line 2; allowed: each constant once"),
    "tuning of an override": ("{preset: smoke}", "{preset: smoke, overrides: {finetune.steps: 5}}\ntuning: {finetune.steps: [5, 6]}", r"m\.yaml:2:39: finetune\.steps is set here, and tuned in .*m\.yaml:3:10; allowed: one of the two"),
    "tuning of a row's override": ("{id: scratch}", "{id: scratch, overrides: {finetune.steps: 5}}\ntuning: {finetune.steps: [5, 6]}", r"m\.yaml:8:31: finetune\.steps is set here, and tuned in .*m\.yaml:9:10"),
    "tuning of too much": ("version: 1", "version: 1\ntuning: {finetune.steps: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], finetune.batch_size: [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}", r"m\.yaml:2:1: 11 x 10 = 110 candidates for each row, column and seed; allowed: at most 100"),
    "tuning without fine-tuning": ("label_ratios: [10%]}", "label_ratios: [10%], evaluation: knn}\ntuning: {finetune.steps: [5, 6]}", r"m\.yaml:11:1: no row is fine-tuned in any column; allowed: an evaluation of finetune, probe_then_finetune; or no tuning"),
    "tuning with folds": ("methods:\n  - refers\n  - {id: scratch}\ntargets:\n  - {dataset: phantom, tasks: [findings], label_ratios: [10%]}", "methods: [scratch]\ntuning: {finetune.steps: [5, 6]}\ntargets:\n  - {dataset: phantom, tasks: [findings], folds: 3}", r"m\.yaml:9:\d+: folds of phantom with tuning: images validate in one fold and are tested in the next; allowed: the dataset's own split, or no tuning"),
    "tuning of the readout after a probe": ("label_ratios: [10%]}", "evaluation: probe_then_finetune}\ntuning: {network.readout: [cls, mean]}", r"m\.yaml:10:\d+: network\.readout is tuned, and the linear probe that fine-tuning of phantom begins with is not; allowed: finetune; or another constant"),
    "tab": ("  - refers", "\t- refers", r"m\.yaml:7:1: not YAML"),
    "unclosed bracket": ("seeds: [0, 1]", "seeds: [0, 1", r"m\.yaml:1[12]:.*not YAML"),
}  # fmt: skip


def write(home: Path, content: str) -> None:
    (home / "m.yaml").write_text(content)


def test_the_good_one_is_right(home: Path, cli: Commands) -> None:
    write(home, GOOD)
    assert cli("validate", "m.yaml") == ("m.yaml: right (2 methods, 1 target, 2 seeds)\n", "")


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, home: Path, cli: Commands) -> None:
    old, new, message = BROKEN[name]
    assert old in GOOD
    write(home, GOOD.replace(old, new, 1))
    text = cli("validate", "m.yaml", code=2).err
    assert re.search(message, text), text
    assert cli("plan", "m.yaml", code=2).err == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"- a\n- b\n", "a seq; allowed: a mapping"),
        (b"version: 1\ntitle: \xff\xfe\n", "m.yaml:2:1: not UTF-8"),
        (None, "no such file"),
    ],
)
def test_no_manifest_at_all(content: bytes | None, message: str, home: Path, cli: Commands) -> None:
    if content is not None:
        (home / "m.yaml").write_bytes(content)
    assert message in cli("validate", "m.yaml", code=2).err


def test_all_errors_at_once(home: Path, cli: Commands) -> None:
    write(
        home,
        GOOD.replace("- refers", "- referss")
        .replace("[findings]", "[finding]")
        .replace("preset: smoke", "preset: smok"),
    )
    text = cli("validate", "m.yaml", code=2).err
    assert all(word in text for word in ("referss", "'finding'", "smok", "3 errors")), text


def test_another_split_of_the_source_as_target_is_refused(home: Path, cli: Commands) -> None:
    content = GOOD.replace("{dataset: phantom}", "{dataset: covid19_idc, params: {split_seed: 1}}").replace(
        "{dataset: phantom, tasks: [findings]", "{dataset: covid19_idc, tasks: [findings]"
    )
    write(home, content.replace("phantom: {phantom: {studies: 20}}", "covid19_idc: {phantom: {studies: 20}}"))
    text = cli("validate", "m.yaml", code=2).err
    assert "source and target are both covid19_idc, with different params" in text


def test_a_missing_root_is_no_error_of_the_manifest_but_makes_jobs_unavailable(home: Path, cli: Commands) -> None:
    write(home, GOOD.replace("data:\n  phantom: {phantom: {studies: 20}}\n", ""))
    assert "data root 'phantom' is not set: set REFERS_BENCH_ROOT_PHANTOM" in cli("plan", "m.yaml").out
