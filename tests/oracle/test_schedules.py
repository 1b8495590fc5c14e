"""Do the learning-rate curves agree with transformers' and torch's, and Lookahead with timm's?"""

from __future__ import annotations

import pytest
import timm.optim
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from refers_bench.training import optimizers, schedules


def rates(build: object, steps: int, advance_first: bool) -> list[float]:
    """Rates an oracle scheduler gives to updates 1..steps of an optimiser with rate 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimizer)  # type: ignore[operator]
    used = []
    for _ in range(steps):
        if advance_first:
            optimizer.step()
            scheduler.step()
            used.append(optimizer.param_groups[0]["lr"])
        else:
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return used


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(2, 60), share=st.floats(0, 0.9), order=st.sampled_from(schedules.ORDERS))
@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_curves_agree_with_transformers(name: str, steps: int, share: float, order: str) -> None:
    warmup = int(share * steps)
    oracle = {
        "cosine": lambda o: transformers.get_cosine_schedule_with_warmup(o, warmup, steps),
        "linear": lambda o: transformers.get_linear_schedule_with_warmup(o, warmup, steps),
        "constant": lambda o: transformers.get_constant_schedule_with_warmup(o, warmup),
    }[name]
    factor = schedules.per_update(schedules.multiplier(name, steps=steps, warmup_steps=warmup), order=order)
    expected = rates(oracle, steps, advance_first=order == "before_step")
    assert [factor(update) for update in range(steps)] == pytest.approx(expected, abs=1e-12)


def test_multistep_agrees_with_torch() -> None:
    factor = schedules.multiplier("multistep", steps=40, milestones=(18, 30), gamma=0.1)
    expected = rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [18, 30], 0.1), 40, advance_first=False)
    assert [factor(k) for k in range(40)] == pytest.approx(expected, abs=1e-12)


def test_peak_rate_is_reached() -> None:
    factor = schedules.multiplier("cosine", steps=100, warmup_steps=10)
    assert factor(10) == 1.0
    assert factor(0) == 0.0
    assert factor(100) == pytest.approx(0, abs=1e-12)


def test_warmup_as_long_as_the_run() -> None:
    factor = schedules.multiplier("cosine", steps=10, warmup_steps=10)
    assert [factor(k) for k in (0, 5, 10)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("name", "steps"), [("cosin", 10), ("cosine", 0)])
def test_wrong_schedules_are_refused(name: str, steps: int) -> None:
    with pytest.raises(ValueError, match=r"unknown schedule|at least one step"):
        schedules.multiplier(name, steps=steps)


def test_wrong_order_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown schedule order"):
        schedules.per_update(lambda k: 1.0, order="during_step")


def test_lookahead_agrees_with_timm() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    a = optimizers.Lookahead(torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9), steps=5, alpha=0.3)
    b = timm.optim.Lookahead(torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9), alpha=0.3, k=5)
    # timm takes its slow weights at the first synchronisation unless told to take them now.
    b.sync_lookahead()
    for group in b._base_optimizer.param_groups:
        for parameter in group["params"]:
            b._base_optimizer.state[parameter]["lookahead_slow_buff"] = parameter.detach().clone()
    for _ in range(23):
        x_BF = torch.randn(4, 5)
        for net, rule in ((ours, a), (theirs, b)):
            rule.zero_grad()
            net(x_BF).square().mean().backward()
            rule.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-7)
