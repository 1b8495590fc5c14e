"""Do parts of a batch give what the whole gives: losses, gradients, batch statistics, and the same random draws twice?"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets.losses import known, masked_bce
from refers_bench.nets.parts import batch_norms, in_parts, split, statistics_kept, weighted


@dataclass(frozen=True)
class Batch:
    x_BF: Tensor
    labels_BK: Tensor


def batch(count: int = 7) -> Batch:
    """With a different share of unknown labels in every part."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (count, 3), generator=generator).float()
    labels[:3, 1:] = torch.nan
    return Batch(torch.randn(count, 5, generator=generator), labels)


def gradients(model: nn.Module) -> list[Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


@pytest.mark.parametrize("parts", [2, 3, 4, 7, 100])
def test_a_mean_over_known_labels_adds_up(parts: int) -> None:
    torch.manual_seed(0)
    model, whole = nn.Linear(5, 3), batch()
    loss = masked_bce(model(whole.x_BF), whole.labels_BK)
    loss.backward()
    expected, total = gradients(model), 0.0
    for part, weights, _ in weighted(whole, parts, counts=lambda b: {"bce": known(b.labels_BK).sum()}):
        one = masked_bce(model(part.x_BF), part.labels_BK) * weights["bce"]
        one.backward()
        total += one.item()
    assert total == pytest.approx(loss.item(), rel=1e-5)
    for a, b in zip(expected, gradients(model), strict=True):
        torch.testing.assert_close(a, b)


def test_shares_of_examples_would_not_add_up() -> None:
    """Why known labels are counted at all."""
    model, whole = nn.Linear(5, 3), batch()
    shared = sum(masked_bce(model(part.x_BF), part.labels_BK).item() * share for part, share in split(whole, 2))
    assert abs(shared - masked_bce(model(whole.x_BF), whole.labels_BK).item()) > 1e-3


def test_a_batch_without_any_known_label_is_zero() -> None:
    blank = Batch(torch.zeros(4, 5), torch.full((4, 3), torch.nan))
    weights = [w["bce"].item() for _, w, _ in weighted(blank, 2, counts=lambda b: {"bce": known(b.labels_BK).sum()})]
    assert weights == [0, 0]


def net(**norm: float) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, **norm), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))


def features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    return model(x), x.sum(1)


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_recomputed_parts_are_those_that_are_kept(parts: int) -> None:
    """Features, a loss that mixes them, gradients, dropout masks and running statistics equal plain calls'."""
    x = batch(8).x_BF
    plain, recomputed = net(), net()

    def loss_of(found: Tensor) -> Tensor:
        return F.cross_entropy(found @ found.T, torch.arange(len(found)))

    torch.manual_seed(3)
    size = -(-len(x) // parts)
    kept = torch.cat([features(plain, x[start : start + size])[0] for start in range(0, len(x), size)])
    loss_of(kept).backward()
    torch.manual_seed(3)
    found, sums = in_parts(lambda rows: features(recomputed, rows), parts, x, model=recomputed)
    loss_of(found).backward()
    assert torch.equal(kept, found)
    assert torch.equal(sums, x.sum(1))
    for a, b in zip(gradients(plain), gradients(recomputed), strict=True):
        assert torch.equal(a, b)
    for (name, a), b in zip(plain.state_dict().items(), recomputed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_activations_are_held_for_one_part_at_a_time() -> None:
    model = net()
    held, seen = [0], []

    def pack(t: Tensor) -> Tensor:
        held[0] += t.numel()
        return t

    x = torch.randn(64, 5)
    for parts in (1, 8):
        held[0] = 0
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            in_parts(lambda rows: (model(rows),), parts, x, model=model)
        seen.append(held[0])
    assert seen[0] > 5 * x.numel()
    assert seen[1] <= x.numel(), "more than the input is held until it is needed"


def test_without_gradients_nothing_is_computed_twice() -> None:
    calls = []

    def counted(x: Tensor) -> tuple[Tensor]:
        calls.append(len(x))
        return (x,)

    with torch.no_grad():
        in_parts(counted, 3, torch.zeros(7, 1), model=nn.Identity())
    assert calls == [3, 3, 1]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_used_and_not_noted(momentum: float | None) -> None:
    model = net(momentum=momentum)  # type: ignore[arg-type]
    before = copy.deepcopy(model.state_dict())
    with statistics_kept(model):
        inside = model[1](model[0](batch().x_BF))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(inside, model[1](model[0](batch().x_BF)))
    assert [norm.momentum for norm in batch_norms(model)] == [momentum]
    assert not torch.equal(model.state_dict()["1.running_mean"], before["1.running_mean"])
