"""Crossed seeds in a plan: which runs they imply, what each draws, and that plans with a list of seeds stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
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

SEEDS = {"subset": 2, "init": 3, "order": 2}
EITHER = "a list of seeds, or how many of each are crossed: {subset: 5, init: 3, order: 1}"
TARGET = {"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%"]}


def planned(folder: Path, seeds: Any = SEEDS, methods: Any = ("scratch",), **target: Any) -> Plan:
    content = {
        "version": 1,
        "protocol": {"preset": "smoke"},
        "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
        "source": {"dataset": "phantom"},
        "methods": list(methods),
        "targets": [{**TARGET, **target}],
        "seeds": seeds,
    }
    path = folder / "m.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return expand(load(path), Roots(paths={}))


def drawn(job: Job) -> tuple[Any, ...]:
    return tuple(job.spec.get(name) for name in ("seed", "init_seed", "order_seed"))


def jobs_of(plan: Plan) -> list[Job]:
    known = {job.key: job for job in plan.jobs}
    return [known[cell.key] for cell in plan.cells]


def test_a_run_for_every_combination(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    combinations = list(product(range(2), range(3), range(2)))
    assert [cell.crossed for cell in plan.cells] == combinations == [drawn(job) for job in jobs_of(plan)]
    assert [cell.seed for cell in plan.cells] == list(range(12))
    assert [cell.name for cell in plan.cells] == [job.name for job in jobs_of(plan)]
    assert plan.cells[5].name == "scratch.phantom.findings.50%.s5"
    assert len({cell.key for cell in plan.cells}) == 12
    said = "seeds are crossed (2 of label subset, 3 of initialisation, 2 of data order); runs that draw the same are one run"
    assert said in plan.cells[0].footnotes


@pytest.mark.parametrize(
    ("evaluation", "ratio", "draws"),
    [
        ("finetune", 0.5, (True, True, True)),
        ("finetune", 1.0, (False, True, True)),
        ("attentive_probe", 0.5, (True, True, True)),
        ("attentive_probe", 1.0, (False, True, True)),
        ("probe_then_finetune", 0.5, (True, False, True)),
        ("probe_then_finetune", 1.0, (False, False, True)),
        ("linear_probe", 0.5, (True, False, False)),
        ("linear_probe", 1.0, (False, False, False)),
        ("knn", 0.5, (True, False, False)),
        ("knn", 1.0, (False, False, False)),
    ],
)
def test_runs_that_draw_the_same_are_one(
    tmp_path: Path, evaluation: str, ratio: float, draws: tuple[bool, ...]
) -> None:
    plan = planned(tmp_path, evaluation=evaluation, label_ratios=[ratio])
    groups: dict[str, list[tuple[int, ...]]] = {}
    for cell in plan.cells:
        groups.setdefault(cell.key, []).append(cell.crossed)
    expected: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for cell in plan.cells:
        levels = tuple(level if one else 0 for level, one in zip(cell.crossed, draws, strict=True))
        expected.setdefault(levels, []).append(cell.crossed)
    assert list(groups.values()) == list(expected.values())
    # A group's first cell has the levels of its run, and its name.
    names = {job.key: job.name for job in plan.jobs}
    assert [some[0] for some in groups.values()] == list(expected)
    assert [names[key] for key in groups] == [
        next(cell.name for cell in plan.cells if cell.key == key) for key in groups
    ]


def test_linear_probes_of_all_subsets_are_fitted_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, evaluation=["linear_probe", "probe_then_finetune"])
    (heads,) = (job for job in plan.jobs if job.kind == "heads")
    assert [group["seed"] for group in heads.spec["groups"]] == [0, 1]


def test_folds_are_crossed_too(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"subset": 2, "init": 2}, folds=3)
    folds = [job for job in plan.jobs if job.kind == "finetune"]
    assert len(folds) == 12 and {drawn(job) for job in folds} == {(s, i, 0) for s in (0, 1) for i in (0, 1)}
    assert [cell.crossed for cell in plan.cells] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_more_levels_keep_the_runs_that_are_there(tmp_path: Path) -> None:
    fewer, more = (planned(tmp_path, seeds) for seeds in ({"subset": 2}, {"subset": 3, "order": 2}))
    assert {job.key for job in fewer.jobs} < {job.key for job in more.jobs}


def test_one_level_of_each_is_no_list_of_one_seed(tmp_path: Path) -> None:
    """Its streams have other names, so that it is another run, which larger crossings share."""
    (crossed,), (listed,) = (jobs_of(planned(tmp_path, seeds)) for seeds in ({}, [0]))
    assert drawn(crossed) == (0, 0, 0) and drawn(listed) == (0, None, None) and crossed.key != listed.key


def test_a_lock_is_read_as_it_was_written_and_is_silent_where_nothing_is_crossed(tmp_path: Path) -> None:
    plan = planned(tmp_path, evaluation=["finetune", "linear_probe"])
    read = lock.read(lock.write(plan, tmp_path))
    assert read.cells == plan.cells
    assert {job.key: dict(job.spec) for job in read.jobs} == {job.key: dict(job.spec) for job in plan.jobs}
    other = tmp_path / "listed"
    text = lock.write(planned(tmp_path, [0, 1]), other).read_text()
    assert "crossed" not in text and "_seed" not in text.replace("pretrain_seeds", "")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("{subset: 0}", "8:9: seeds.subset is 0; allowed: 1 or more"),
        ("{subset: 2.5}", "8:9: seeds.subset is 2.5; allowed: a whole number"),
        ("{subset: true}", "8:9: seeds.subset is True; allowed: a whole number"),
        ("{subset: 500, init: 21}", "8:1: seeds is {'subset': 500, 'init': 21}; allowed: at most 10,000 combinations"),
        ("{subsets: 2}", "8:9: unknown key 'subsets'; allowed: init, order, subset; did you mean 'subset'?"),
        ("3", f"8:1: seeds is 3; allowed: {EITHER}"),
        ("null", f"8:1: seeds is None; allowed: {EITHER}"),
        ("[0, 0]", "8:1: seeds is [0, 0]; allowed: each of them once"),
        ("[]", "8:1: seeds is []; allowed: a list of 1 or more"),
        ("['1']", "8:9: seeds.0 is '1'; allowed: a whole number"),
    ],
)
def test_what_is_refused_has_a_place(tmp_path: Path, seeds: str, expected: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\nprotocol: {preset: smoke}\ndata: {phantom: {phantom: {studies: 20}}}\nsource: {dataset: phantom}\n"
        f"methods: [scratch]\ntargets:\n  - {{dataset: phantom, tasks: [findings]}}\nseeds: {seeds}\n"
    )
    with pytest.raises(UserError) as caught:
        load(path)
    assert [str(problem) for problem in caught.value.problems] == [f"{path}:{expected}"]


def test_a_pre_training_for_each_seed_is_refused_where_seeds_are_crossed(tmp_path: Path) -> None:
    rows: list[Mapping[str, Any]] = [{"id": "context_restoration", "pretrain_seeds": [0, 1]}]
    with pytest.raises(UserError, match="2 pretrain_seeds with crossed seeds"):
        planned(tmp_path, {"subset": 2}, methods=rows)
    (pretrain,) = (job for job in planned(tmp_path, methods=["context_restoration"]).jobs if job.kind == "pretrain")
    assert pretrain.spec["seed"] == 0
