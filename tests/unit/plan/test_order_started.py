"""Which jobs a run would start before a limit, if each takes as long as the forecast says."""

from __future__ import annotations

from typing import Any

from refers_bench.plan.lock import Job
from refers_bench.plan.order import started

JOBS = (
    Job(key="data", kind="prepare", name="data"),
    Job(key="net", kind="pretrain", name="net", needs=("data",)),
    Job(key="a", kind="finetune", name="a", needs=("data", "net", "elsewhere")),
    Job(key="b", kind="finetune", name="b", needs=("data", "net")),
    Job(key="c", kind="finetune", name="c", needs=("data",)),
)
SECONDS = {"data": 10.0, "net": 100.0, "a": 20.0, "b": 20.0, "c": 30.0}
RANKS = {job.key: at for at, job in enumerate(JOBS)}


def begun(slots: int = 1, **limits: Any) -> str:
    found = started(JOBS, SECONDS, RANKS, slots=slots, **limits)
    return " ".join(job.key for job in JOBS if job.key in found)


def test_without_a_limit_all_jobs_start() -> None:
    assert begun() == begun(slots=3) == "data net a b c"


def test_so_many_jobs_start_in_the_order_of_ranks_and_needs() -> None:
    assert [begun(most=most) for most in range(5)] == ["", "data", "data net", "data net a", "data net a b"]
    assert begun(slots=2, most=3) == "data net c", "a second slot does not wait for the pre-training"


def test_a_spending_limit_stops_further_jobs_once_it_is_reached() -> None:
    assert begun(limit_s=10) == "data"
    assert begun(limit_s=11) == "data net"
    assert begun(limit_s=110) == "data net"
    assert begun(limit_s=111) == "data net a"
    assert begun(slots=2, limit_s=11) == "data net c"
    assert begun(slots=2, limit_s=141) == "data net a b c", "two slots are paid for at a time"
    assert begun(slots=2, limit_s=139) == "data net c"


def test_what_takes_no_slot_costs_nothing() -> None:
    free = lambda job: 0.0 if job.kind == "prepare" else 1.0
    assert begun(limit_s=101, cost=free) == "data net a"
    assert begun(limit_s=100, cost=free) == "data net"
