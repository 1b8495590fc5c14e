"""The lock is the plan, readable by people; what is no lock, or another manifest's, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.plan import lock, states
from refers_bench.plan.lock import Plan
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]


def test_comes_back_equal_and_has_the_same_bytes(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    path = lock.write(plan, tmp_path / "results")
    content = path.read_bytes()
    assert lock.read(path) == plan
    assert lock.write(plan_of(), tmp_path / "results").read_bytes() == content


def test_stating_that_checkpoints_are_chosen_on_validation_images_changes_nothing(plan_of: PlanOf) -> None:
    assert plan_of(("preset: smoke", "preset: smoke, select_on: val")) == plan_of()


def test_one_line_per_value_so_that_two_locks_can_be_compared(plan_of: PlanOf, tmp_path: Path) -> None:
    one = lock.write(plan_of(), tmp_path / "a").read_text().splitlines()
    changed = plan_of(("preset: smoke", "preset: smoke, overrides: {finetune.momentum: 0.8}"))
    other = lock.write(changed, tmp_path / "b").read_text().splitlines()
    assert len(one) > 200
    assert '    "momentum": 0.8,' in [line for line in other if line not in one]


def test_what_jobs_share_stands_once(plan_of: PlanOf, tmp_path: Path) -> None:
    seeds = ("seeds: [0, 1]", f"seeds: [{', '.join(map(str, range(40)))}]")
    few, many = (
        lock.write(plan_of(), tmp_path / "a").read_text(),
        lock.write(plan_of(seeds), tmp_path / "b").read_text(),
    )
    jobs = len(plan_of(seeds).jobs) - len(plan_of().jobs)
    assert jobs == 3 * 2 * 38
    assert (len(many) - len(few)) / jobs < 400, "bytes a job and its cell take"
    more = len(many.splitlines()) - len(few.splitlines())
    assert more == 2 * jobs + 38, "one line for a job, one for its cell, and the seeds"


def test_reads_a_lock_in_which_every_job_has_its_whole_specification(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    path = lock.write(plan, tmp_path)
    path.write_text(json.dumps({"version": 1, **asdict(plan)}))
    assert lock.read(path) == plan
    assert lock.keys(path) == {job.key for job in plan.jobs}
    assert lock.outline(path).jobs == tuple(replace(job, spec={}) for job in plan.jobs)


def test_an_outline_is_the_plan_without_specifications(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    path = lock.write(plan, tmp_path)
    without = tuple(replace(job, spec={}) for job in plan.jobs)
    assert lock.outline(path) == Plan(name=plan.name, title=plan.title, jobs=without)


def test_keeps_the_lock_before_when_the_jobs_change(plan_of: PlanOf, tmp_path: Path) -> None:
    lock.write(plan_of(), tmp_path)
    lock.write(plan_of(("studies: 20", "studies: 21")), tmp_path)
    before = lock.read(tmp_path / "m" / lock.PREVIOUS)
    assert {job.key for job in before.jobs} == {job.key for job in plan_of().jobs}


def test_two_manifests_of_one_name_do_not_overwrite_each_others_plan(plan_of: PlanOf, tmp_path: Path) -> None:
    named, more = ("version: 1", "version: 1\nname: shared"), ("seeds: [0, 1]", "seeds: [0, 1, 2]")
    one, other = plan_of(named, name="one"), plan_of(named, more, name="other")
    path = lock.write(one, tmp_path)
    content = path.read_bytes()
    with pytest.raises(UserError) as refused:
        lock.write(other, tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}/other.yaml: the name 'shared' is that of the plan of {tmp_path}/one.yaml; "
        f"allowed: another 'name' in one of the two manifests, or to remove {path} first"
    )
    assert path.read_bytes() == content and not path.with_name(lock.PREVIOUS).exists()
    lock.write(plan_of(named, more, name="one"), tmp_path)  # the same file, with other jobs
    lock.write(plan_of(named, more, name="copy"), tmp_path)  # a copy of it
    path.unlink()
    lock.write(one, tmp_path)


def test_a_manifest_that_was_moved_keeps_its_plan(plan_of: PlanOf, tmp_path: Path) -> None:
    named, more = ("version: 1", "version: 1\nname: shared"), ("seeds: [0, 1]", "seeds: [0, 1, 2]")
    path = lock.write(plan_of(named, name="one"), tmp_path)
    other = plan_of(named, more, name="other")
    (tmp_path / "one.yaml").unlink()
    lock.write(other, tmp_path)
    # Locks that do not say from which file they are stay valid.
    lock.write(replace(other, manifest_path=""), tmp_path)
    assert lock.read(lock.write(plan_of(named, name="third"), tmp_path)).cells
    assert path == tmp_path / "shared" / lock.LOCK


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a plan of another version"),
        ('{"version": 99}', "a plan of another version"),
        ('{"version": 1}', "no complete plan"),
        ('{"version": 2}', "no complete plan"),
        ('{"version": 2, "specs": {}, "rows": {}, "jobs": [{"key": "k"}], "cells": []}', "no complete plan"),
    ],
)
def test_refuses_what_is_no_lock(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / lock.LOCK
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        lock.read(path)
    assert lock.last(path) is None
    assert lock.keys(path) is None or "specs" in content


def test_refuses_a_missing_lock(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no plan here; allowed: 'refers-bench plan MANIFEST' writes one"):
        lock.read(tmp_path / lock.LOCK)


def explain(plan: Plan, before: Plan | None, pattern: str, results: Path) -> str:
    return "\n".join(states.explain(plan, before, pattern, ResultStore(results), results / "cache"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "preset: smoke",
            "preset: smoke, overrides: {finetune.momentum: 0.8}",
            "finetune.momentum: 0.9 -> 0.8 (manifest ",
        ),
        ("studies: 20", "studies: 21", "prepare: prepare.phantom.36px changed"),
        (
            "preset: smoke",
            "preset: smoke, overrides: {pretrain.steps: 31}",
            "pretrain: pretrain.refers.phantom changed",
        ),
    ],
)
def test_explains_which_input_changed(plan_of: PlanOf, tmp_path: Path, old: str, new: str, said: str) -> None:
    text = explain(plan_of((old, new)), plan_of(), "refers.phantom.findings.10%.s0", tmp_path)
    assert "changed:" in text
    assert said in text


def finish(store: ResultStore, plan: Plan, started: str) -> None:
    """Every job of a plan, with the record that it would have left."""
    for job in plan.jobs:
        with store.publish(job.key) as stage:
            record = {"key": job.key, "kind": job.kind, "name": job.name, "started": started, "spec": dict(job.spec)}
            (stage / "run.json").write_text(json.dumps(record))


def test_explains_what_changed_since_it_was_finished_however_often_it_was_planned(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    def edited(overrides: str, name: str = "m") -> Plan:
        return plan_of(("preset: smoke", f"preset: smoke, overrides: {{{overrides}}}"), name=name)

    store, cell = ResultStore(tmp_path), "refers.phantom.findings.10%.s0"
    finish(store, edited("finetune.momentum: 0.5, finetune.steps: 31"), "2026-01-01T00:00:00+00:00")
    finish(store, plan_of(), "2026-01-02T00:00:00+00:00")
    other = edited("finetune.momentum: 0.1", name="other")
    finish(store, other, "2026-01-03T00:00:00+00:00")
    lock.write(other, tmp_path)
    first = "finetune.momentum: 0.8, pretrain.steps: 32"
    for plan in (plan_of(), edited(first), edited(f"{first}, finetune.clip_norm: 2.0")):
        path = lock.write(plan, tmp_path)
    text = explain(edited(f"{first}, finetune.clip_norm: 2.0"), lock.read(path), cell, tmp_path)
    assert "finetune.momentum: 0.9 -> 0.8 (manifest " in text, "the newest that is not another plan's"
    assert "pretrain: pretrain.refers.phantom changed\n      pretrain.steps: 30 -> 32" in text
    assert "finetune.clip_norm" in text and "finetune.steps" not in text
    assert "changed:" not in explain(plan_of(name="done"), None, cell, tmp_path), "it is done"


def test_explains_an_unchanged_cell(plan_of: PlanOf, tmp_path: Path) -> None:
    text = explain(plan_of(), plan_of(), "refers.phantom.findings.10%.s0", tmp_path)
    assert "to do" in text
    assert "waits for pretrain.refers.phantom (to do)" in text
    assert "unchanged since the last plan" in text


def test_explaining_nothing_names_the_nearest(plan_of: PlanOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no job is called 'refers\.phantom\.finding\.10%\.s0'; did you mean"):
        explain(plan_of(), None, "refers.phantom.finding.10%.s0", tmp_path)


def test_states_and_what_is_shared(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    lock.write(plan_of(name="other"), tmp_path)
    assert set(states.states(plan, store, tmp_path / "cache").values()) == {"to do"}
    prepare, cell = plan.jobs[0], plan.jobs[-1]
    for job in (prepare, cell):
        with store.publish(job.key) as stage:
            (stage / "run.json").write_text(json.dumps({}))
    store.fail(plan.jobs[1].key, category="nan", record={})
    found = states.states(plan, store, tmp_path / "cache")
    assert found[cell.key] == "done"
    assert found[plan.jobs[1].key] == "failed"
    assert found[prepare.key] == "to do", "the record is there, the pixels are not"
    assert states.shared(plan, tmp_path) == {"other": len(plan.jobs)}
