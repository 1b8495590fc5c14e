"""States of jobs and what they come from, what manifests share, what results take, and why a job is stale."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.files import publish_json
from refers_bench.plan import lock
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import explain, look, shared, state_in, state_of, states
from refers_bench.store.context import CACHED
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]


def done(store: ResultStore, job: Job, **record: Any) -> None:
    with store.publish(job.key) as stage:
        publish_json(
            stage / "run.json", {"key": job.key, "kind": job.kind, "name": job.name, "spec": dict(job.spec), **record}
        )


def by_name(plan: Plan) -> dict[str, Job]:
    return {job.name: job for job in plan.jobs}


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("", "to do"),
        ("done", "done"),
        ("failed", "failed"),
        ("claimed", "running"),
        ("queued", "to do"),
        ("failed claimed", "running"),
        ("failed queued", "failed"),
        ("done claimed", "done"),
        ("done failed", "done"),
        ("unavailable", "unavailable"),
        ("unavailable done", "done"),
        ("unavailable failed claimed", "unavailable"),
        ("prepare done", "to do"),
        ("prepare done pixels", "done"),
        ("prepare pixels", "to do"),
        ("features done", "to do"),
        ("features done pixels", "done"),
        ("prepare done claimed", "running"),
        ("prepare done unavailable", "unavailable"),
    ],
)
def test_a_state_follows_from_what_lies_in_the_folders(tmp_path: Path, what: str, state: str) -> None:
    words, store, cache = what.split(), ResultStore(tmp_path / "results"), tmp_path / "cache"
    job = Job(key="k" * 20, kind=next((word for word in words if word in CACHED), "finetune"), name="n")
    if "done" in words:
        done(store, job)
    if "failed" in words:
        publish_json(store.root / f"{job.key}.failed.json", {})
    if {"claimed", "queued"} & {*words}:
        claims = Leases(store.results)
        claim = {**claims.me, "host": "elsewhere", "queued": "queued" in words}
        (claims.folder / f"{job.key}.json").write_text(json.dumps(claim))
    if "pixels" in words:
        publish_json(CACHED[job.kind](cache, job.key) / "meta.json", {})
    if "unavailable" in words:
        job = replace(job, unavailable="no root")
    assert (state_of(job, store, cache), state_in(job, look(store), cache)) == (state, state)
    assert states(Plan(name="m", jobs=(job,)), store, cache) == {job.key: state}


def test_jobs_that_other_manifests_have_too(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    lock.write(plan, tmp_path)
    lock.write(plan_of(("seeds: [0, 1]", "seeds: [1]"), name="one_seed"), tmp_path)
    lock.write(plan_of(("studies: 20", "studies: 21"), name="other_data"), tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / lock.LOCK).write_text("{")
    # The preparation, two pre-trainings, and 3 x 2 cells of one seed.
    assert shared(plan, tmp_path) == {"one_seed": 9}


def lines(plan: Plan, before: Plan | None, pattern: str, tmp_path: Path) -> list[str]:
    found = explain(plan, before, pattern, ResultStore(tmp_path), tmp_path / "cache")
    return [re.sub(r"[0-9a-f]{20}", "KEY", line) for line in found]


def test_the_nearest_name_of_a_job_or_cell(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(("scratch]", "scratch, {id: scratch, name: again}]"))
    for given, near in (
        ("pretran.refers.phantom", "pretrain.refers.phantom"), ("agin.phantom.findings.10%.s0", "again.phantom.findings.10%.s0"),
    ):  # fmt: skip
        with pytest.raises(UserError) as raised:
            lines(plan, None, given, tmp_path)
        assert str(raised.value) == f"no job is called '{given}'; did you mean '{near}'?"
    with pytest.raises(UserError) as raised:
        lines(plan, None, "#" * 30, tmp_path)
    assert str(raised.value) == f"no job is called '{'#' * 30}'"
    # A cell is explained by the job that it shares.
    assert lines(plan, None, "again.*10%.s0", tmp_path) == [
        "scratch.phantom.findings.10%.s0: to do (KEY)",
        "  waits for prepare.phantom.36px (to do)",
        "  no earlier plan holds this cell",
    ]


def test_a_job_is_compared_with_the_last_of_its_name_that_was_done(plan_of: PlanOf, tmp_path: Path) -> None:
    name, store = "scratch.phantom.findings.10%.s0", ResultStore(tmp_path)
    first, second, third, now = (
        plan_of(("preset: smoke", f"preset: smoke, overrides: {{finetune.momentum: {value}}}"), name=f"m{number}")
        for number, value in enumerate((0.1, 0.2, 0.3, 0.4))
    )
    change = "    finetune.momentum: {} -> 0.4 (manifest " + str(tmp_path / "m3.yaml") + ":3:39)"

    def said(before: Plan | None) -> list[str]:
        found = lines(now, before, name, tmp_path)
        assert found[:2] == [f"{name}: to do (KEY)", "  waits for prepare.phantom.36px (to do)"]
        return found[2:]

    assert said(None) == ["  no earlier plan holds this cell"]
    assert said(third) == ["  was KEY; changed:", change.format(0.3)]
    # The second was done after the first, and neither counts less than what was only planned.
    done(store, by_name(second)[name], started="2026-01-02")
    done(store, by_name(first)[name], started="2026-01-01")
    assert said(third) == ["  was KEY; changed:", change.format(0.2)]
    # What another manifest holds under the same name is its own.
    lock.write(replace(second, name="another"), tmp_path)
    assert said(third) == ["  was KEY; changed:", change.format(0.1)]
    done(store, by_name(now)[name], started="2026-01-03")
    assert lines(now, third, name, tmp_path)[0] == f"{name}: done (KEY)"
    assert lines(now, now, name, tmp_path)[-1] == "  unchanged since the last plan (key KEY)"


def test_changes_are_followed_to_the_inputs_of_what_a_job_needs(plan_of: PlanOf, tmp_path: Path) -> None:
    before = plan_of()
    now = plan_of(("studies: 20", "studies: 21"), ("scratch]", "{id: scratch, overrides: {finetune.momentum: 0.5}}]"))
    row = "scratch.phantom.findings.10%.s1"
    place = f"{tmp_path / 'm.yaml'}:6:62"
    assert lines(now, before, row, tmp_path)[2:] == [
        "  was KEY; changed:",
        f"    finetune.momentum: 0.9 -> 0.5 (manifest {place})",
        "    prepare: prepare.phantom.36px changed",
        "      digest: 'KEY' -> 'KEY' (identity of the dataset's index: rows, labels, splits, reports, file sizes)",
        "      phantom.studies: 20 -> 21",
    ]


def test_what_follows_a_changed_need_is_told_too(tmp_path: Path) -> None:
    def plan(count: int) -> Plan:
        image = Job(key=str(count) * 20, kind="prepare", name="images", spec={"impl": count})
        spec = {"prepare": image.key, "task": f"t{count}"}
        return Plan(name="m", jobs=(image, Job(key=str(count + 2) * 20, kind="finetune", name="n", spec=spec)))

    assert list(explain(plan(2), plan(1), "n", ResultStore(tmp_path), tmp_path))[2:] == [
        "    prepare: images changed",
        "      impl: 1 -> 2 (revision of the plug-in)",
        "    task: 't1' -> 't2'",
    ]


def test_long_lists_are_shortened(tmp_path: Path) -> None:
    def plan(count: int) -> Plan:
        spec = {
            "left_out": [f"{number}.png" for number in range(count)],
            "impl": count,
            "recipe": count,
            "crop_impl": count,
        }
        return Plan(name="m", jobs=(Job(key=str(count) * 20, kind="prepare", name="n", spec=spec),))

    found = list(explain(plan(12), plan(2), "n", ResultStore(tmp_path), tmp_path))
    listed = ", ".join(repr(f"{number}.png") for number in range(10))
    assert found == [
        f"n: to do ({'12' * 20})",
        f"  was {'2' * 20}; changed:",
        "    crop_impl: 2 -> 12 (revision of the crop)",
        "    impl: 2 -> 12 (revision of the plug-in)",
        f"    left_out: ['0.png', '1.png'] -> [{listed}, ... 12 in all] "
        "(files that 'data prepare --allow-missing' left out as unreadable)",
        "    recipe: 2 -> 12 (revision of preparation, training or evaluation)",
    ]
