"""Frozen evaluation and folds in a plan: which jobs a column implies, what they share, and what changes their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from refers_bench.errors import UserError
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import lock
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Job, Plan

TARGET = {"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%", "100%"]}
ALL = ["finetune", "linear_probe", "knn", "attentive_probe", "probe_then_finetune"]


def planned(folder: Path, *targets: Mapping[str, Any], methods: Any = ("scratch",), **overrides: Any) -> Plan:
    content = {
        "version": 1,
        "protocol": {"preset": "smoke", "overrides": overrides},
        "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
        "source": {"dataset": "phantom"},
        "methods": list(methods),
        "targets": [{**TARGET, **target} for target in targets],
        "seeds": [0, 1],
    }
    path = folder / "m.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return expand(load(path), Roots(paths={}))


def kinds(plan: Plan) -> Counter[str]:
    return Counter(job.kind for job in plan.jobs)


def of_kind(plan: Plan, kind: str) -> list[Job]:
    return [job for job in plan.jobs if job.kind == kind]


def test_a_probed_column_computes_features_and_heads_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"evaluation": "linear_probe"})
    # On all labels nothing is drawn: the seeds share one result.
    assert kinds(plan) == {"prepare": 1, "features": 1, "heads": 1, "frozen": 3}
    assert "on all labels linear probe: one result for all seeds" in plan.cells[0].footnotes
    (heads,) = of_kind(plan, "heads")
    assert [(group["label_ratio"], group["seed"]) for group in heads.spec["groups"]] == [
        (0.5, 0), (0.5, 1), (1.0, 0), (1.0, 1),
    ]  # fmt: skip
    (features,) = of_kind(plan, "features")
    assert all(job.needs[1:] == (features.key, heads.key) for job in of_kind(plan, "frozen"))
    assert all(job.spec["heads"] == heads.key for job in of_kind(plan, "frozen"))
    keys = [job.key for job in of_kind(plan, "frozen")]
    assert [cell.key for cell in plan.cells] == [*keys, keys[2]]


def test_evaluations_share_features_where_they_read_the_same_out(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"evaluation": ALL})
    assert kinds(plan) == {"prepare": 1, "features": 2, "heads": 1, "frozen": 10, "finetune": 8}
    assert {job.spec["readout"] for job in of_kind(plan, "features")} == {"auto", "tokens"}
    probed = [job for job in of_kind(plan, "finetune") if "heads" in job.spec]
    assert [job.name.rpartition(".")[2] for job in probed] == ["probe_then_finetune"] * 4
    # With another readout than fine-tuning's, a head that fine-tuning starts from is fitted on its own features.
    plan = planned(tmp_path, {"evaluation": ["linear_probe", "probe_then_finetune"]}, **{"frozen.readout": "mean"})
    assert kinds(plan)["features"] == kinds(plan)["heads"] == 2


def test_folds_are_jobs_that_one_job_joins(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"evaluation": ["finetune", "linear_probe"], "folds": 3, "label_ratios": [1.0]})
    assert kinds(plan) == {"prepare": 1, "features": 1, "heads": 1, "frozen": 3, "finetune": 6, "out_of_fold": 3}
    joined = of_kind(plan, "out_of_fold")
    assert [cell.key for cell in plan.cells] == [*(job.key for job in joined), joined[2].key]
    assert all(job.spec["folds"] == list(job.needs) for job in joined)
    for job in joined:
        folds = [one.spec["fold"] for one in plan.jobs if one.key in job.needs]
        assert folds == [{"count": 3, "fold": fold} for fold in range(3)]
    assert {(cell.evaluation, cell.folds) for cell in plan.cells} == {("finetune", 3), ("linear_probe", 3)}
    assert plan.cells[0].name == "scratch.phantom.findings.100%.s0.3folds" == joined[0].name
    assert plan.cells[2].name == "scratch.phantom.findings.100%.s0.linear_probe.3folds"


def test_folds_and_the_own_split_stand_side_by_side(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"label_ratios": [1.0]}, {"label_ratios": [1.0], "folds": 3})
    assert [cell.folds for cell in plan.cells] == [0, 0, 3, 3]


def test_a_row_may_have_an_evaluation_of_its_own(tmp_path: Path) -> None:
    rows = ["scratch", {"id": "scratch", "name": "neighbours", "evaluation": "knn"}]
    plan = planned(tmp_path, {"label_ratios": [1.0]}, methods=rows)
    assert kinds(plan) == {"prepare": 1, "finetune": 2, "features": 1, "frozen": 1}
    own = [cell for cell in plan.cells if cell.method == "neighbours"]
    assert {cell.evaluation for cell in own} == {"finetune"}, "it stands in the column of the others"
    assert "evaluated by k nearest neighbours in all columns" in own[0].footnotes


def test_an_encoder_for_each_seed_has_features_and_heads_of_its_own(tmp_path: Path) -> None:
    rows = [{"id": "context_restoration", "pretrain_seeds": [3, 4]}]
    plan = planned(tmp_path, {"evaluation": "linear_probe"}, methods=rows)
    assert kinds(plan) == {"prepare": 1, "pretrain": 2, "features": 2, "heads": 2, "frozen": 4}
    assert [{group["seed"] for group in job.spec["groups"]} for job in of_kind(plan, "heads")] == [{0}, {1}]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("frozen.readout", "mean", {"features", "heads", "linear_probe", "knn"}),
        ("frozen.components", 4, {"heads", "linear_probe", "knn", "probe_then_finetune"}),
        ("frozen.grid", [0.5], {"heads", "linear_probe", "probe_then_finetune"}),
        ("frozen.neighbours", [3], {"knn"}),
        ("frozen.temperature", 0.5, {"knn"}),
        ("frozen.attentive_heads", 1, {"attentive_probe"}),
        ("frozen.attentive_learning_rate", 0.5, {"attentive_probe"}),
        ("frozen.attentive_weight_decay", 0.5, {"attentive_probe"}),
        ("finetune.steps", 12, {"finetune", "attentive_probe", "probe_then_finetune"}),
    ],
)
def test_a_constant_changes_the_keys_of_what_depends_on_it(
    tmp_path: Path, name: str, value: Any, expected: set[str]
) -> None:
    def keys(plan: Plan) -> dict[str, str]:
        found = {cell.evaluation: cell.key for cell in plan.cells if cell.label_ratio == 1 and cell.seed == 0}
        shared = {job.kind: job.key for job in plan.jobs if job.kind == "heads" or job.spec.get("readout") != "tokens"}
        return found | {kind: shared[kind] for kind in ("features", "heads")}

    base = planned(tmp_path, {"evaluation": ALL})
    before, after = keys(base), keys(planned(tmp_path, {"evaluation": ALL}, **{name: value}))
    if name == "frozen.readout":
        # The heads that fine-tuning starts from, and the tokens, are read out as before: they come last here.
        assert {kind for kind in ("linear_probe", "knn") if before[kind] != after[kind]} == {"linear_probe", "knn"}
        assert {kind for kind in ALL if before[kind] != after[kind]} == {"linear_probe", "knn"}
    else:
        assert {kind for kind in before if before[kind] != after[kind]} == expected


def test_the_plan_shows_these_constants_only_where_they_are_used(tmp_path: Path) -> None:
    assert not [name for name in planned(tmp_path, {}).values if name.startswith("frozen.")]
    assert "frozen.grid" in planned(tmp_path, {"evaluation": "knn"}).values


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"evaluation": ALL, "folds": 3})
    read = lock.read(lock.write(plan, tmp_path))
    assert read.cells == plan.cells
    assert {job.key: dict(job.spec) for job in read.jobs} == {job.key: dict(job.spec) for job in plan.jobs}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ({"evaluation": "probe"}, "evaluation"),
        ({"evaluation": ["knn", "knn"]}, "each of them once"),
        ({"evaluation": []}, "evaluation"),
        ({"folds": 2}, "folds"),
        ({"folds": "5"}, "folds"),
    ],
)
def test_what_is_refused(tmp_path: Path, target: Mapping[str, Any], found: str) -> None:
    with pytest.raises(UserError, match=found):
        planned(tmp_path, target)


def test_one_column_is_asked_for_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="asked for twice"):
        planned(tmp_path, {"evaluation": ["knn", "finetune"]}, {"evaluation": "knn"})


def test_a_method_that_reads_the_index_alone_has_a_linear_probe_in_all_columns(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"label_ratios": [1.0], "evaluation": ["finetune", "knn"]}, methods=["metadata_only"])
    assert kinds(plan) == {"prepare": 1, "features": 1, "heads": 1, "frozen": 1}
    assert {cell.evaluation for cell in plan.cells} == {"finetune", "knn"}
    assert all(cell.floor for cell in plan.cells)
    (features,) = of_kind(plan, "features")
    assert "image" not in features.spec and "metadata" in features.spec
