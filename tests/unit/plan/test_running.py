"""Is what runs found from files alone, and is nobody shown as running who is not?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refers_bench.plan.lock import Plan
from refers_bench.plan.running import running, whose
from refers_bench.plan.states import look, owner_of, state_in, state_of, states
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]


def claim(results: Path, key: str, **who: Any) -> None:
    """As somebody on another host would."""
    claims = Leases(results)
    content = {**claims.me, "host": "node3", "pid": 12, "engine": "slurm", **who}
    (claims.folder / f"{key}.json").write_text(json.dumps(content))


def progress(store: ResultStore, key: str, **view: Any) -> None:
    store.progress(key).parent.mkdir(parents=True, exist_ok=True)
    store.progress(key).write_text(json.dumps(view))


def test_what_is_claimed_runs(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    talking, silent, starting, queued, finished, idle = (job.key for job in plan.jobs[1:7])
    for key in (talking, silent, starting, finished):
        claim(tmp_path, key)
    claim(tmp_path, queued, queued=True)
    progress(store, talking, step=3, steps=9, time=time.time())
    progress(store, silent, step=4, steps=9, time=time.time() - 500)
    progress(store, idle, step=4, steps=9, time=time.time())  # left behind by somebody who was killed
    with store.publish(finished) as stage:
        (stage / "run.json").write_text("{}")
    seen = look(store)
    found = {one.job.key: one for one in running(plan.jobs, seen, store)}
    assert set(found) == {talking, silent, starting, queued}
    assert found[talking].view["step"] == 3
    assert (found[talking].silent_s or 0) < 60
    assert 490 < (found[silent].silent_s or 0) < 600
    assert found[starting].silent_s is None
    assert [key for key, one in found.items() if one.queued] == [queued]
    assert whose(found[talking].owner) == "is run by process 12 on node3 (slurm)"
    assert whose(found[queued].owner) == "is queued by process 12 on node3 (slurm)"
    expected = {talking: "running", silent: "running", starting: "running", queued: "to do", finished: "done"}
    assert {key: states(plan, store, tmp_path)[key] for key in expected} == expected
    assert (owner_of(talking, store) or {})["host"] == "node3"
    assert owner_of(idle, store) is None


def test_one_look_says_what_each_jobs_own_files_say(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    done, failed, claimed, again = (job.key for job in plan.jobs[1:5])
    for key in (done, again):
        with store.publish(key) as stage:
            (stage / "run.json").write_text("{}")
    store.fail(failed, category="nan", record={})
    (store.root / f"{again}.failed.json").write_text("{}")  # of an attempt that lost a race
    (store.root / f".{plan.jobs[6].key}.0.part").mkdir()
    claim(tmp_path, claimed)
    seen = look(store)
    for job in plan.jobs:
        assert state_in(job, seen, tmp_path) == state_of(job, store, tmp_path), job.name
    assert seen.listing.done == {done, again}
    assert seen.listing.failed == {failed}


def test_looking_writes_nothing(plan_of: PlanOf, tmp_path: Path) -> None:
    plan, store = plan_of(), ResultStore(tmp_path / "results")
    assert running(plan.jobs, look(store), store) == []
    assert set(states(plan, store, tmp_path).values()) == {"to do"}
    assert not store.results.exists()


@pytest.mark.parametrize("text", ["", '{"step": '])
def test_a_progress_file_that_says_nothing(plan_of: PlanOf, tmp_path: Path, text: str) -> None:
    plan, store = plan_of(), ResultStore(tmp_path)
    key = plan.jobs[1].key
    claim(tmp_path, key)
    progress(store, key)
    store.progress(key).write_text(text)
    (one,) = running(plan.jobs, look(store), store)
    assert (one.view, one.silent_s) == ({}, None)
