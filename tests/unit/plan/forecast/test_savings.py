"""What a plan proposes to leave out: pasted, it is a valid manifest whose forecast is lower by what was said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench.plan.forecast.cost_model import modelled
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.estimate import HAND_OVER_S, Forecast, completed, forecast, hours_of
from refers_bench.plan.forecast.savings import KEPT, RARER, Saving, by_patience, savings
from refers_bench.plan.forecast.shapes import Shapes
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Plan
from refers_bench.store.results import ResultStore

PlanOf = Callable[..., Plan]
H100 = Device(kind="cuda", name="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30)
LONG = (
    "{preset: smoke}",
    "{preset: smoke, overrides: {pretrain.steps: 200, pretrain.validate_every: 4, finetune.steps: 300, "
    "finetune.validate_every: 3, finetune.patience: 5}}",
)
LAST = ("methods: [refers,", "methods: [{id: refers, overrides: {pretrain.select: last}},")


def made(plan: Plan, results: Path, *, processes: int = 1) -> tuple[Forecast, list[Saving], float]:
    shapes, splits = Shapes(plan.jobs), Splits(plan, ResultStore(results))
    costs = completed({}, shapes, H100)
    hours = hours_of(plan, costs=costs, shapes=shapes, splits=splits, device=H100)
    whole = forecast(
        plan, plan.jobs, costs=costs, shapes=shapes, splits=splits, device=H100, slots=1, processes=processes
    )
    return whole, savings(plan.jobs, hours), by_patience(plan.jobs, hours)


def test_pasted_proposals_save_the_hours_they_say(plan_of: PlanOf, tmp_path: Path) -> None:
    before, proposed, _ = made(plan_of(LONG, LAST), tmp_path)
    assert {(one.row, *one.overrides) for one in proposed} == {
        ("", "pretrain.validate_every"), ("", "finetune.validate_every"), ("refers", "pretrain.validate_every"),
    }  # fmt: skip
    for number, one in enumerate(proposed):
        (name, value), *_ = one.overrides.items()
        if one.row:
            changes = (LONG, (LAST[0], LAST[1].replace("select: last", f"select: last, {name}: {value}")))
        else:
            old = dict(part.split(": ") for part in LONG[1][32:-2].split(", "))[name]
            changes = ((LONG[0], LONG[1].replace(f"{name}: {old}", f"{name}: {value}")), LAST)
        after, *_ = made(plan_of(*changes, name=f"pasted{number}"), tmp_path)
        assert one.hours > 0
        assert before.hours - after.hours == pytest.approx(one.hours, rel=1e-9)


def test_nothing_is_proposed_that_would_leave_no_choice_or_fits_one_target_only(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    steps = KEPT * RARER * 10 - 1
    few = (
        "overrides: {pretrain.steps: %d, pretrain.validate_every: 10, finetune.steps: %d, finetune.validate_every: 10}"
    )
    _, proposed, _ = made(plan_of(("{preset: smoke}", f"{{preset: smoke, {few % (steps, steps)}}}")), tmp_path)
    assert proposed == []


def test_patience_saves_at_most_what_comes_after_its_first_end(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(LONG)
    whole, _, saved = made(plan, tmp_path)
    shorter = (LONG[0], LONG[1].replace("finetune.steps: 300", "finetune.steps: 18, finetune.warmup_steps: 1"))
    least, *_ = made(plan_of(shorter, name="shorter"), tmp_path)
    assert whole.hours - least.hours == pytest.approx(saved, rel=1e-9)


def test_images_are_decoded_beside_the_gpu_by_many_processes(plan_of: PlanOf, tmp_path: Path) -> None:
    """Neither its hours nor, but for the first images, the end of a run depend on them."""
    plan = plan_of(LONG, ("studies: 20", "studies: 4000"))
    one, *_ = made(plan, tmp_path)
    many, *_ = made(plan, tmp_path, processes=8)
    (data,) = [job for job in plan.jobs if job.kind == "prepare"]
    fixed = modelled(data.spec, H100).fixed_s
    assert one.jobs[data.key].seconds - fixed == pytest.approx(8 * (many.jobs[data.key].seconds - fixed))
    assert one.hours == pytest.approx(many.hours, rel=1e-9)
    assert one.hours == pytest.approx(
        sum(each.seconds + HAND_OVER_S for each in one.jobs.values() if each.job.kind != "prepare") / 3600
    )
    assert one.wall_s - many.wall_s == pytest.approx(one.jobs[data.key].seconds - many.jobs[data.key].seconds)


def test_a_restoration_pays_for_its_distortions(plan_of: PlanOf, tmp_path: Path) -> None:
    both = ("methods: [refers, lsp_transformer,", "methods: [model_genesis, lsp_transformer,")
    plan = plan_of(LONG, both)
    spec = {job.spec["method"]: job.spec for job in plan.jobs if job.kind == "pretrain"}
    genesis, labels = (modelled(spec[name], H100) for name in ("model_genesis", "lsp_transformer"))
    assert genesis.transform_s == pytest.approx(2 * labels.transform_s)
    batch, size = spec["lsp_transformer"]["pretrain"]["batch_size"], spec["lsp_transformer"]["image"]["size"]
    assert labels.transform_s == pytest.approx(batch * size**2 * 0.1e-9)


def test_validation_counts_in_the_precision_of_training(plan_of: PlanOf) -> None:
    plan = plan_of(("{preset: smoke}", "{preset: smoke, overrides: {finetune.precision: bf16}}"))
    cost = modelled(next(job.spec for job in plan.jobs if job.kind == "finetune"), H100)
    assert cost.validation_s is not None
    assert cost.evaluation_s / cost.validation_s == pytest.approx(H100.flops("bf16") / H100.flops("fp32"))
