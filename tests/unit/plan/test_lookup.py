"""A name, a pattern or a key stands for one job; where it stands for several, they are listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.plan import lock, lookup
from refers_bench.plan.lock import Plan

PlanOf = Callable[..., Plan]


def one(results: Path, text: str) -> lookup.Found:
    (found,) = lookup.several(results, text)
    return found


def test_names_patterns_and_keys(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    lock.write(plan, tmp_path)
    job = next(job for job in plan.jobs if job.name == "scratch.phantom.findings.10%.s1")
    for text in (job.name, job.key, "scratch*.10%.s1"):
        found = one(tmp_path, text)
        assert (found.manifest, found.job.key) == ("m", job.key)


def test_the_name_of_a_cell_whose_job_has_another_name(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(("scratch]", "scratch, {id: scratch, name: again}]"))
    lock.write(plan, tmp_path)
    found = one(tmp_path, "again.phantom.findings.10%.s0")
    assert found.job.name == "scratch.phantom.findings.10%.s0"


def test_the_same_job_of_two_manifests_is_one(plan_of: PlanOf, tmp_path: Path) -> None:
    lock.write(plan_of(), tmp_path)
    lock.write(plan_of(name="other"), tmp_path)
    assert one(tmp_path, "pretrain.refers.phantom").manifest == "m"


def test_jobs_of_one_name_in_two_manifests_are_all_found(plan_of: PlanOf, tmp_path: Path) -> None:
    plans = [plan_of(), plan_of(("studies: 20", "studies: 21"), name="other")]
    for plan in plans:
        lock.write(plan, tmp_path)
    name = "pretrain.refers.phantom"
    keys = {plan.name: next(job.key for job in plan.jobs if job.name == name) for plan in plans}
    assert {each.manifest: each.job.key for each in lookup.several(tmp_path, name)} == keys
    for manifest, key in keys.items():
        assert one(tmp_path, key).manifest == manifest


def test_what_means_many_or_nothing(plan_of: PlanOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no planned job is called 'x'"):
        one(tmp_path, "x")
    lock.write(plan_of(("seeds: [0, 1]", f"seeds: [{', '.join(map(str, range(12)))}]")), tmp_path)
    with pytest.raises(UserError) as raised:
        one(tmp_path, "scratch*")
    found, _, named = re.sub(r"[0-9a-f]{20}", "KEY", str(raised.value)).partition("; allowed: one of ")
    jobs = sorted(
        f"scratch.phantom.findings.{ratio}.s{seed} (m, key KEY)" for ratio in ("10%", "100%") for seed in range(12)
    )
    listed, _, more = named.rpartition(" and ")
    assert (found, more) == ("'scratch*' means 24 jobs", "4 more")
    assert len(listed.split(", scratch")) == 20
    assert set(listed.replace("), ", ")\n").splitlines()) < set(jobs)
    with pytest.raises(UserError, match=r"did you mean 'scratch\.phantom\.findings\.10%\.s1'"):
        one(tmp_path, "scratch.phantom.finding.10%.s1")


def test_a_plan_that_cannot_be_read_does_not_hide_the_others(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of()
    lock.write(plan, tmp_path)
    (tmp_path / "broken").mkdir()
    path = tmp_path / "broken" / lock.LOCK
    path.write_text("{")
    assert one(tmp_path, plan.jobs[0].name).manifest == "m"
    with pytest.raises(UserError, match=re.escape(f"{path}:1:2: not JSON")):
        one(tmp_path, "in neither")
