"""Whole table rows go first, and a spending limit says beforehand which of them it pays for."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from refers_bench.errors import UserError
from refers_bench.plan.forecast.schedule import schedule
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.order import limit_seconds, longest_first, row_by_row, rows, shares, slots_of

PlanOf = Callable[..., Plan]


def names(plan: Plan, keys: tuple[str, ...]) -> list[str]:
    known = {job.key: job.name for job in plan.jobs}
    return [known[key] for key in keys]


def test_a_row_has_its_pretraining_and_all_columns_and_seeds(plan_of: PlanOf) -> None:
    plan = plan_of()
    refers, lsp, scratch = rows(plan)
    assert [row.name for row in (refers, lsp, scratch)] == ["refers", "lsp_transformer", "scratch"]
    first = names(plan, refers.keys)
    assert first[0].startswith("prepare.phantom") and "pretrain.refers.phantom" in first
    assert len(refers.cells) == 4 and len(refers.keys) == 6
    assert "pretrain.lsp_transformer.phantom" in names(plan, lsp.keys)
    assert len(scratch.keys) == 4  # its data were the first row's
    assert sorted(key for row in (refers, lsp, scratch) for key in row.keys) == sorted(job.key for job in plan.jobs)


def test_methods_that_compete_for_a_row_are_one(plan_of: PlanOf) -> None:
    changes = ("methods: [refers, lsp_transformer, scratch]", (
        "methods: [{id: lsp_convnet, name: r18, params: {depth: 18}, best_of: lsp}, scratch, "
        "{id: lsp_convnet, name: r50, params: {depth: 50}, best_of: lsp}]"
    ))  # fmt: skip
    found = rows(plan_of(changes))
    assert [row.name for row in found] == ["lsp", "scratch"]
    assert len(found[0].cells) == 8


def test_every_job_of_a_row_goes_before_the_next_and_pretraining_first(plan_of: PlanOf) -> None:
    plan = plan_of()
    seconds = {job.key: {"pretrain": 100.0, "finetune": 10.0}.get(job.kind, 1.0) for job in plan.jobs}
    ranks = row_by_row(plan, seconds)
    found = rows(plan)
    for before, after in itertools.pairwise(found):
        assert max(ranks[key] for key in before.keys) < min(ranks[key] for key in after.keys)
    # On one slot nothing of a later row runs before the row is complete.
    needs = {job.key: job.needs for job in plan.jobs}
    starts = schedule(seconds, needs, slots=1, ranks=ranks).starts
    assert max(starts[key] for key in found[0].keys) < min(starts[key] for key in found[1].keys)
    kinds = {job.key: job.kind for job in plan.jobs}
    inside = [kinds[key] for key in sorted(found[0].keys, key=ranks.__getitem__)]
    assert inside == ["prepare", "pretrain", "finetune", "finetune", "finetune", "finetune"]


def test_without_a_budget_the_longest_chain_goes_first(plan_of: PlanOf) -> None:
    plan = plan_of()
    lengths = {"pretrain.refers.phantom": 5.0, "pretrain.lsp_transformer.phantom": 50.0}
    ranks = longest_first(plan, {job.key: lengths.get(job.name, 1.0) for job in plan.jobs})
    by_name = {job.name: ranks[job.key] for job in plan.jobs}
    assert by_name["pretrain.lsp_transformer.phantom"] < by_name["pretrain.refers.phantom"]
    assert by_name["pretrain.refers.phantom"] < by_name["scratch.phantom.findings.10%.s0"]


def test_shares_of_a_budget_add_up_in_order(plan_of: PlanOf) -> None:
    plan = plan_of()
    costs = {job.key: {"pretrain": 100.0, "finetune": 10.0}.get(job.kind, 5.0) for job in plan.jobs}
    refers, lsp, scratch = shares(plan, costs, 290.0)
    assert (refers.cost_s, lsp.cost_s, scratch.cost_s) == (145.0, 140.0, 40.0)
    assert (refers.until_s, lsp.until_s, scratch.until_s) == (145.0, 285.0, 325.0)
    assert (refers.fits, lsp.fits, scratch.fits) == (True, True, False)
    done = {key: cost for key, cost in costs.items() if key not in refers.row.keys}
    assert [one.until_s for one in shares(plan, done, 290.0)] == [0.0, 140.0, 180.0]


@pytest.mark.parametrize(
    ("text", "device", "seconds"),
    [
        ("40gpuh", "cuda", 144_000.0),
        ("1.5gpuh", "cuda", 5_400.0),
        ("90gpumin", "cuda", 5_400.0),
        ("90cpumin", "cpu", 5_400.0),
        ("2 CPUh", "cpu", 7_200.0),
        ("3h", "cpu", 10_800.0),
        ("45m", "cuda", 2_700.0),
        ("45min", "cpu", 2_700.0),
    ],
)
def test_budgets_that_can_be_read(text: str, device: str, seconds: float) -> None:
    assert limit_seconds(text, device=device) == seconds


def test_a_slot_of_several_gpus_or_threads_spends_faster() -> None:
    assert limit_seconds("8gpuh", device="cuda", gpus=4) == 7_200.0
    assert limit_seconds("1gpuh", device="cuda", gpus=0.5) == 7_200.0  # two jobs share a GPU
    assert limit_seconds("8cpuh", device="cpu", threads=4) == 7_200.0
    assert limit_seconds("8h", device="cpu", threads=4) == 28_800.0


@pytest.mark.parametrize("text", ["", "40", "gpuh", "0h", "-3h", "3 weeks", "40gpu", "1e3h"])
def test_budgets_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UserError, match="allowed: a number and a unit"):
        limit_seconds(text, device="cuda")


def test_a_budget_of_the_other_device_is_refused() -> None:
    with pytest.raises(UserError, match="slots are on the CPU"):
        limit_seconds("40gpuh", device="cpu")
    with pytest.raises(UserError, match="slots are on GPUs"):
        limit_seconds("40cpuh", device="cuda")


def test_slots_that_jobs_take_of_a_cluster() -> None:
    specs = {"prepare": {}, "pretrain": {"pretrain": {"processes": 4}}, "finetune": {}}
    jobs = [Job(key=kind, kind=kind, name=kind, spec={"kind": kind, **spec}) for kind, spec in specs.items()]
    assert [slots_of(one, device="cuda", gpus=4.0) for one in jobs] == [0.0, 1.0, 0.25]
    assert [slots_of(one, device="cuda", gpus=0.5, shared_by=2) for one in jobs] == [0.0, 8.0, 1.0]
    assert [slots_of(one, device="cpu") for one in jobs] == [1.0, 4.0, 1.0]
