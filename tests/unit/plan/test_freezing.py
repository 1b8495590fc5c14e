"""A plan is frozen once and before its results; the same plan again changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from refers_bench import __version__
from refers_bench.errors import UserError
from refers_bench.plan import freezing
from refers_bench.plan.lock import Plan
from refers_bench.store import frozen_plan
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def freeze(plan: Plan, store: ResultStore) -> None:
    frozen_plan.write(freezing.ready(plan, store).plan, frozen_plan.path_of(store.results, plan.name))


def done(store: ResultStore, key: str) -> None:
    with store.publish(key) as stage:
        (stage / "run.json").write_text("{}")


def test_a_new_plan_is_frozen_now_and_nothing_is_written(plan_of: PlanOf, store: ResultStore) -> None:
    found = freezing.ready(plan_of(), store)
    assert found.new and found.plan.program == f"refers-bench {__version__}"
    assert abs(datetime.now(UTC) - found.plan.at) < timedelta(minutes=2)
    assert not store.results.exists()


def test_the_same_plan_is_frozen_already_also_when_it_has_results(plan_of: PlanOf, store: ResultStore) -> None:
    freeze(plan_of(), store)
    path = frozen_plan.path_of(store.results, "m")
    before = path.read_bytes()
    done(store, plan_of().cells[0].key)
    found = freezing.ready(plan_of(), store)
    assert not found.new and found.plan.digest == frozen_plan.read(path).digest and path.read_bytes() == before


def test_another_plan_is_not_frozen_over_it(plan_of: PlanOf, store: ResultStore) -> None:
    freeze(plan_of(), store)
    path = frozen_plan.path_of(store.results, "m")
    at = frozen_plan.read(path).frozen
    with pytest.raises(UserError) as error:
        freezing.ready(plan_of(("seeds: [0, 1]", "seeds: [0, 1, 2]")), store)
    assert str(error.value) == (
        f"{path}: another plan was frozen on {at}; 'plan' without --freeze lists what differs; "
        "allowed: the plan as it was frozen; or to remove this file by hand first"
    )


def test_a_damaged_file_is_not_replaced(plan_of: PlanOf, store: ResultStore) -> None:
    freeze(plan_of(), store)
    path = frozen_plan.path_of(store.results, "m")
    path.write_text(path.read_text().replace('"name": "m"', '"name": "n"'))
    with pytest.raises(UserError, match="changed since it was frozen"):
        freezing.ready(plan_of(), store)


def test_a_plan_with_results_is_not_frozen_and_one_whose_needs_are_done_is(plan_of: PlanOf, store: ResultStore) -> None:
    plan = plan_of()
    cells = {cell.key for cell in plan.cells}
    for job in plan.jobs:
        if job.key not in cells:
            done(store, job.key)
    store.fail(plan.cells[0].key, category="crash", record={})
    assert freezing.ready(plan, store).new
    for cell in plan.cells[2:4]:
        done(store, cell.key)
    with pytest.raises(UserError) as error:
        freezing.ready(plan, store)
    assert str(error.value) == (
        f"{frozen_plan.path_of(store.results, 'm')}: of 12 cells 2 with a result, such as {plan.cells[2].name}; "
        "allowed: to freeze a plan before any of its cells has run"
    )


def test_a_plan_that_runs_is_not_frozen(plan_of: PlanOf, store: ResultStore) -> None:
    plan = plan_of()
    leases = Leases(store.results)
    assert leases.acquire(plan.cells[1].key)
    try:
        with pytest.raises(UserError, match=f"of 12 cells 1 running, such as {plan.cells[1].name}"):
            freezing.ready(plan, store)
    finally:
        leases.release(plan.cells[1].key)
