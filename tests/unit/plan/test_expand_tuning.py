"""Tuning in a plan: each candidate is what a manifest that sets it would compute, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from refers_bench.manifest.changes import Changes
from refers_bench.manifest.load import NO_CHANGES, load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import lock
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan

TARGET = {"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%", "100%"]}
TUNING = {"finetune.learning_rate": [0.1, 0.2], "network.readout": ["cls", "mean"]}


def planned(folder: Path, *, changes: Changes = NO_CHANGES, target: Mapping[str, Any] = TARGET, **more: Any) -> Plan:
    content = {
        "version": 1,
        "protocol": {"preset": "smoke"},
        "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
        "source": {"dataset": "phantom"},
        "methods": ["context_restoration", "scratch"],
        "targets": [target],
        "seeds": [0, 1],
        **more,
    }
    path = folder / "m.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return expand(load(path, changes), Roots(paths={}))


def by_name(plan: Plan) -> dict[str, str]:
    return {cell.name: cell.key for cell in plan.cells}


def test_all_combinations_of_every_row_column_and_seed_share_one_pre_training(tmp_path: Path) -> None:
    plan = planned(tmp_path, tuning=TUNING)
    assert Counter(job.kind for job in plan.jobs) == {"prepare": 1, "pretrain": 1, "finetune": 2 * 2 * 2 * 4}
    assert len({job.name for job in plan.jobs}) == len(plan.jobs)
    assert {cell.candidate for cell in plan.cells} == {
        (f"finetune.learning_rate={rate}", f"network.readout={readout}")
        for rate in ("0.1", "0.2") for readout in ("cls", "mean")
    }  # fmt: skip
    assert plan.cells[0].name == "context_restoration.phantom.findings.50%.s0.learning_rate=0.1.readout=cls"


def test_a_candidate_is_what_a_manifest_that_sets_it_computes(tmp_path: Path) -> None:
    plan, plain = planned(tmp_path, tuning=TUNING), planned(tmp_path)
    found = {(cell.name.partition(".learning_rate")[0], cell.candidate): cell.key for cell in plan.cells}
    for rate in (0.1, 0.2):
        for readout in ("cls", "mean"):
            own = {"finetune.learning_rate": rate, "network.readout": readout}
            single = planned(tmp_path, protocol={"preset": "smoke", "overrides": own})
            for cell in single.cells:
                if cell.method == "scratch":  # the pre-training of the other reads network.readout, too
                    candidate = (f"finetune.learning_rate={rate}", f"network.readout={readout}")
                    assert found[cell.name, candidate] == cell.key
    pretrained = {job.key for job in plain.jobs if job.kind == "pretrain"}
    assert pretrained == {job.key for job in plan.jobs if job.kind == "pretrain"}


def test_what_does_not_fine_tune_is_as_it_was(tmp_path: Path) -> None:
    target = {**TARGET, "evaluation": ["finetune", "linear_probe", "attentive_probe"]}
    tuned, plain = planned(tmp_path, target=target, tuning=TUNING), planned(tmp_path, target=target)
    frozen = {name: key for name, key in by_name(plain).items() if "probe" in name}
    assert frozen and frozen.items() <= by_name(tuned).items()
    assert not set(by_name(tuned)) & {name for name in by_name(plain) if "probe" not in name}
    notes = {cell.evaluation: cell.footnotes[-1] for cell in tuned.cells}
    assert notes == {
        "finetune": "best of 4 on validation, for each seed: finetune.learning_rate 0.1, 0.2; network.readout cls, mean",
        "linear_probe": "linear probe is no part of the tuning",
        "attentive_probe": "attentive probe is no part of the tuning",
    }


def test_a_row_that_is_evaluated_frozen_everywhere_is_not_tuned(tmp_path: Path) -> None:
    methods = ["scratch", {"id": "context_restoration", "evaluation": "knn"}]
    plan = planned(tmp_path, methods=methods, tuning=TUNING)
    assert {cell.method: len(cell.candidate) for cell in plan.cells} == {"scratch": 2, "context_restoration": 0}


def test_the_plan_says_which_values_are_tried_and_where_that_stands(tmp_path: Path) -> None:
    plan = planned(tmp_path, tuning=TUNING, methods=["scratch", {"id": "mrm", "name": "mine"}])
    value = plan.values["finetune.learning_rate"]
    assert value["value"] == [0.1, 0.2] and value["overridden"]
    assert value["deviation"] == "the best of 4 candidates on validation, for each row, column and seed"
    assert value["origin"].startswith("tuning: ") and "m.yaml:" in value["origin"]


def test_groups_without_a_constant_tune_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, tuning={"finetune": {}})
    assert plan.cells == planned(tmp_path).cells


def test_it_is_written_and_read_back(tmp_path: Path) -> None:
    plan = planned(tmp_path, tuning=TUNING)
    assert lock.read(lock.write(plan, tmp_path / "results")).cells == plan.cells
    assert "candidate" not in lock.write(planned(tmp_path, name="plain"), tmp_path / "results").read_text()


def test_includes_and_the_command_line_replace_single_constants(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("tuning: {finetune.steps: [3, 4], finetune.batch_size: [2, 4]}\n")
    given = {"include": ["below.yaml"], "tuning": {"finetune.steps": [5, 6]}}
    assert {cell.candidate[0] for cell in planned(tmp_path, **given).cells} == {"finetune.steps=5", "finetune.steps=6"}
    changes = Changes(settings=("tuning.finetune.steps=[7, 8]",))
    assert {frozenset(cell.candidate) for cell in planned(tmp_path, **given, changes=changes).cells} == {
        frozenset({f"finetune.steps={steps}", f"finetune.batch_size={size}"}) for steps in (7, 8) for size in (2, 4)
    }
    none = planned(tmp_path, **given, changes=Changes(settings=("tuning={}",)))
    assert {cell.candidate for cell in none.cells} == {()}
