"""Each way in which a plan or its results deviate from what was frozen is listed, and an unchanged plan in none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from refers_bench.analysis.cells import NO_METRICS, PlannedRun
from refers_bench.analysis.choice import DIVERGED
from refers_bench.analysis.frozen_plan import (
    CELL,
    COLUMN,
    CONSTANT,
    EARLY,
    JOB,
    MISSING,
    RESULT,
    ROW,
    RULE,
    SEED,
    TITLE,
    deviations,
    of_results,
    of_store,
)
from refers_bench.analysis.results import Results
from refers_bench.evaluations import TITLES
from refers_bench.store import frozen_plan
from refers_bench.store.plan import Cell, Job, Plan
from refers_bench.store.results import ResultStore

AT, LATER, EARLIER = (f"2026-0{month}-02T03:04:05+00:00" for month in (2, 3, 1))


def cell(row: str, *, ratio: float = 1.0, seed: int = 0, mark: str = "", **more: Any) -> Cell:
    key = f"{row}-{ratio:g}-{seed}{mark}"
    return Cell(
        method=row, label=f"The {row}", dataset="d", task="t", label_ratio=ratio, seed=seed, **{"key": key, **more}
    )


def plan_of(*cells: Cell, **more: Any) -> Plan:
    jobs = tuple(Job(key=key, kind="finetune", name=key) for key in dict.fromkeys(one.key for one in cells))
    return Plan(
        **{"name": "m", "cells": cells, "jobs": (Job(key="p", kind="prepare", name="prepare.d"), *jobs), **more}
    )


CELLS = tuple(cell(row, ratio=ratio, seed=seed) for row in ("a", "b") for ratio in (0.1, 1.0) for seed in (0, 1))
VALUES: dict[str, Any] = {
    "finetune.steps": {"value": 3},
    "finetune.rate": {"value": 0.1},
    "finetune.rate [b]": {"value": 0.2},
}
PLAN = plan_of(*CELLS, values=VALUES, title="A title")
FROZEN = frozen_plan.of(PLAN, at=AT, program="refers-bench 9")


def found(plan: Plan, **of_results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    listed = deviations(FROZEN, plan, **{"started": {}, "lacking": {}, **of_results})
    return [(one.kind, one.what, one.how) for one in listed]


def test_a_plan_that_did_not_change_deviates_in_nothing() -> None:
    assert found(PLAN) == []
    assert found(PLAN, started=dict.fromkeys([one.key for one in CELLS], LATER)) == []


ROWS, SEEDS = st.sampled_from(["a", "b", "refers"]), st.integers(0, 2**31 - 1)
RATIOS = st.sampled_from([0.01, 0.1, 0.5, 1.0, 1 / 3])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan: rows, columns, seeds, evaluations, folds, values and rules."""
    where = st.tuples(
        ROWS, RATIOS, SEEDS, st.sampled_from(list(TITLES)), st.integers(0, 5), st.sampled_from(["t", "u"])
    )
    cells = [
        cell(row, ratio=ratio, seed=seed, mark=f"{way}{folds}{task}", evaluation=way, folds=folds)
        for row, ratio, seed, way, folds, task in draw(st.lists(where, unique=True, max_size=12))
    ]
    constants = st.dictionaries(
        st.sampled_from(["x", "y [a]", "z [d]"]), st.none() | st.booleans() | st.floats(-1, 1) | st.lists(st.integers())
    )
    part = st.fixed_dictionaries(
        {},
        optional={
            "alpha": st.floats(0.001, 0.5),
            "test": st.sampled_from(["student", "welch"]),
            "against": st.lists(ROWS),
        },
    )
    manifest = draw(st.fixed_dictionaries({}, optional={"analysis": part, "limit": st.integers(1, 100)}))
    values = {name: {"value": value} for name, value in draw(constants).items()}
    return plan_of(*cells, title=draw(st.text(max_size=5)), values=values, manifest=manifest)


@given(plan=plans())
def test_no_plan_deviates_from_itself_also_once_it_was_written(plan: Plan, tmp_path_factory: Any) -> None:
    frozen = frozen_plan.of(plan, at=AT, program="p")
    path = frozen_plan.path_of(tmp_path_factory.mktemp("frozen"), "m")
    frozen_plan.write(frozen, path)
    read = frozen_plan.read(path)
    assert read.same(frozen)
    assert deviations(read, plan, started=dict.fromkeys((one.key for one in plan.cells), LATER), lacking={}) == ()


@given(one=plans(), other=plans())
def test_plans_deviate_where_their_files_differ_in_more_than_the_constants(one: Plan, other: Plan) -> None:
    """Constants that move no key of a cell that both have move no result."""
    old, new = (frozen_plan.of(plan, at=AT, program="p") for plan in (one, other))
    listed = deviations(old, other, started={}, lacking={})
    assert bool(listed) == (not replace(old, values={}, needs={}).same(replace(new, values={}, needs={})))


def test_rows_columns_and_seeds_that_are_added_or_left_out() -> None:
    rows = plan_of(
        *[one for one in CELLS if one.method != "b"], *[cell("c", ratio=0.1)], values=VALUES, title="A title"
    )
    assert found(rows) == [(ROW, "b", "left out since"), (ROW, "c", "added since")]
    columns = replace(PLAN, cells=tuple(replace(one, label_ratio=0.5) if one.label_ratio < 1 else one for one in CELLS))
    assert found(columns) == [(COLUMN, "d.t.10%", "left out since"), (COLUMN, "d.t.50%", "added since")]
    ways = replace(PLAN, cells=(*CELLS, cell("a", mark="k", evaluation="knn", folds=5)))
    assert found(ways) == [(COLUMN, "d.t.100%.knn.5folds", "added since")]
    seeds = replace(PLAN, cells=tuple(replace(one, seed=7) if one.seed else one for one in CELLS))
    assert found(seeds) == [(SEED, "1", "left out since"), (SEED, "7", "added since")]


def test_cells_that_are_added_or_left_out_of_rows_columns_and_seeds_that_stay() -> None:
    kept = [one for one in CELLS if not (one.method == "b" and one.label_ratio == 1.0)]
    assert found(replace(PLAN, cells=tuple(kept))) == [(CELL, "b.d.t.100%", "left out since (s0, s1)")]
    fewer = frozen_plan.of(replace(PLAN, cells=tuple(kept)), at=AT, program="p")
    (one,) = deviations(fewer, PLAN, started={}, lacking={})
    assert str(one) == "cell b.d.t.100%: added since (s0, s1)"
    one_seed = replace(PLAN, cells=tuple(one for one in CELLS if one.key != "a-0.1-1"))
    assert found(one_seed) == [(CELL, "a.d.t.10%", "left out since (s1)")]


def test_titles_and_rules() -> None:
    titled = replace(
        PLAN, title="Another", cells=tuple(replace(one, label="Ours") if one.method == "b" else one for one in CELLS)
    )
    assert found(titled) == [
        (TITLE, "of the report", '"A title" -> "Another"'), (TITLE, "of row b", '"The b" -> "Ours"'),
    ]  # fmt: skip
    part = {"reference": "b", "against": ["a"], "columns": [{"dataset": "d"}], "test": "welch", "alpha": 0.01}
    assert found(replace(PLAN, manifest={"analysis": part, "limit": 20})) == [
        (RULE, "reference", '"a" -> "b"'), (RULE, "against", '"best other row" -> ["a"]'),
        (RULE, "columns", '"all" -> [{"dataset": "d"}]'), (RULE, "test", '"student" -> "welch"'),
        (RULE, "correction", '"none" -> "holm"'), (RULE, "alpha", "0.05 -> 0.01"),
        (RULE, "images of each split", '"all" -> 20'),
    ]  # fmt: skip


KEY = "its key is another, so what decides its result changed"


def test_a_cell_whose_key_changed_comes_with_the_constants_that_did() -> None:
    moved = tuple(replace(one, key=f"{one.key}+") if one.method == "b" or one.seed else one for one in CELLS)
    values = {
        "finetune.steps": {"value": 4}, "finetune.rate": {"value": 0.1}, "finetune.rate [b]": {"value": 0.1},
        "finetune.steps [a]": {"value": 3}, "finetune.steps [c]": {"value": 9},
    }  # fmt: skip
    changed = plan_of(*moved, values=values, title="A title", jobs=(Job(key="q", kind="prepare", name="prepare.d"),))
    assert found(changed) == [
        (CONSTANT, "finetune.steps", "3 -> 4"), (CONSTANT, "finetune.rate [b]", "0.2 -> 0.1"),
        (JOB, "prepare.d", KEY),
        (RESULT, "a.d.t.10%", f"{KEY} (s1)"), (RESULT, "a.d.t.100%", f"{KEY} (s1)"),
        (RESULT, "b.d.t.10%", f"{KEY} (s0, s1)"), (RESULT, "b.d.t.100%", f"{KEY} (s0, s1)"),
    ]  # fmt: skip


def test_a_cell_whose_key_changed_with_no_constant_says_so() -> None:
    moved = replace(PLAN, cells=(replace(CELLS[0], key="+"), *CELLS[1:]))
    how = f"{KEY}, and no constant did: data, weights, or a revision of the code (s0)"
    assert found(moved) == [(RESULT, "a.d.t.10%", how)]


def test_results_from_before_the_freeze_and_those_that_do_not_say_when() -> None:
    started = {"a-0.1-0": EARLIER, "a-0.1-1": LATER, "b-1-0": None, "b-1-1": "yesterday", "a-1-0": AT}
    assert found(PLAN, started=started) == [
        (EARLY, "a.d.t.10%", f"begun {EARLIER} (s0)"),
        (EARLY, "b.d.t.100%", "it is not recorded when it was begun (s0, s1)"),
    ]
    zones = {"a-0.1-0": "2026-02-02T05:04:05+02:00", "a-0.1-1": "2026-02-02T05:04:04+02:00"}
    assert found(PLAN, started=zones) == [(EARLY, "a.d.t.10%", "begun 2026-02-02T05:04:04+02:00 (s1)")]


def test_cells_without_a_result_by_reason() -> None:
    lacking = {"a-0.1-0": "failed: nan", "a-0.1-1": "not run yet", "b-1-0": "failed: nan", "b-1-1": "failed: nan"}
    assert found(PLAN, lacking=lacking) == [
        (MISSING, "a.d.t.10%", "failed: nan (s0)"), (MISSING, "a.d.t.10%", "not run yet (s1)"),
        (MISSING, "b.d.t.100%", "failed: nan (s0, s1)"),
    ]  # fmt: skip


def test_of_a_store_and_of_results(folder: Any) -> None:
    """Before a run nothing that lacks deviates; of results it does, also of rows that were not chosen."""
    folder.seeds("refers", [0.8, 0.81])
    folder.cell("c2l", state="failed")
    folder.cell("c2l", seed=1, state="missing")
    results = folder.load()
    frozen = frozen_plan.of(results.plan, at="1999-01-01T00:00:00+00:00", program="p")
    silent = "early result refers.covid19_idc.viral_vs_bacterial.100%: it is not recorded when it was begun (s0, s1)"
    assert list(map(str, of_store(frozen, results.plan, ResultStore(folder.results)))) == [silent]
    assert list(map(str, of_results(frozen, results))) == [
        silent,
        "missing result c2l.covid19_idc.viral_vs_bacterial.100%: failed: nan (s0)",
        "missing result c2l.covid19_idc.viral_vs_bacterial.100%: not run yet (s1)",
    ]


def test_a_record_that_cannot_be_read_does_not_hinder(folder: Any, tmp_path: Path) -> None:
    key = folder.cell("refers")
    results = folder.load()
    (folder.results / "store" / key / "run.json").write_text("{")
    frozen = frozen_plan.of(results.plan, at=AT, program="p")
    (one,) = of_store(frozen, results.plan, ResultStore(folder.results))
    assert one.kind == EARLY


# --- candidates of tuning -------------------------------------------------------------------------------------------

TRIED = tuple(
    cell("a", seed=seed, mark=f"r{rate}", candidate=(f"finetune.learning_rate={rate}",))
    for rate in ("0.1", "0.2")
    for seed in (0, 1)
)


def test_each_candidate_is_frozen_and_others_deviate(tmp_path: Path) -> None:
    frozen = frozen_plan.of(plan_of(*TRIED), at=AT, program="p")
    assert list(frozen.cells["a"]["d.t.100%"]) == [
        "s0.learning_rate=0.1", "s1.learning_rate=0.1", "s0.learning_rate=0.2", "s1.learning_rate=0.2",
    ]  # fmt: skip
    path = frozen_plan.path_of(tmp_path, "m")
    frozen_plan.write(frozen, path)
    read = frozen_plan.read(path)
    assert deviations(read, plan_of(*TRIED), started={}, lacking={}) == ()
    more = cell("a", mark="r3", candidate=("finetune.learning_rate=3",))
    (one, other) = deviations(read, plan_of(*TRIED[:3], more), started={}, lacking={})
    assert str(one) == "cell a.d.t.100%: left out since (s1.learning_rate=0.2)"
    assert str(other) == "cell a.d.t.100%: added since (s0.learning_rate=3)"


def test_a_candidate_that_diverged_was_tried_and_is_no_missing_result() -> None:
    plan = plan_of(*TRIED)
    frozen = frozen_plan.of(plan, at=AT, program="p")
    done = {one.key: {"started": LATER} for one in TRIED[1:]}
    failed, other = (
        Results(
            name="m", plan=plan, store=Path(), records=done,
            planned=tuple(PlannedRun.of(one, NO_METRICS) for one in TRIED[2:]),
            unchosen=(PlannedRun.of(TRIED[0], NO_METRICS, state="failed", reason=reason), PlannedRun.of(TRIED[1], NO_METRICS)),
        )
        for reason in (DIVERGED, "failed: crash")
    )  # fmt: skip
    assert of_results(frozen, failed) == ()
    assert [str(one) for one in of_results(frozen, other)] == [
        "missing result a.d.t.100%: failed: crash (s0.learning_rate=0.1)"
    ]
