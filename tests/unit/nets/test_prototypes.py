"""Prototypes keep their length, are frozen as long as they are to be, and get equal shares of the examples."""

from __future__ import annotations

import torch

from refers_bench.nets.prototypes import Prototypes, sinkhorn


def model(frozen: int = 0) -> Prototypes:
    torch.manual_seed(0)
    return Prototypes(8, count=5, epsilon=0.05, iterations=3, temperature=0.2, frozen_updates=frozen)


def test_many_iterations_give_equal_shares() -> None:
    scores = torch.rand(12, 4, dtype=torch.float32)
    found = sinkhorn(scores, epsilon=0.5, iterations=200)
    torch.testing.assert_close(found.sum(1), torch.ones(12))
    torch.testing.assert_close(found.sum(0), torch.full((4,), 3.0))


def test_frozen_prototypes_have_no_gradient_and_then_they_have() -> None:
    net = model(frozen=2)
    image, report = torch.randn(6, 8), torch.randn(6, 8)
    for update in range(4):
        net.zero_grad()
        net(image.requires_grad_(), report).backward()
        assert net.weight.grad is not None and image.grad is not None
        assert bool(net.weight.grad.any()) == (update >= 2)
        assert image.grad.any()
        net.after_update()


def test_length_is_one_after_each_update() -> None:
    net = model()
    with torch.no_grad():
        net.weight.mul_(3)
    net.after_update()
    torch.testing.assert_close(net.weight.detach().norm(dim=1), torch.ones(5))


def test_the_same_embeddings_predict_each_other_best() -> None:
    net = model()
    torch.manual_seed(1)
    image, other = torch.randn(20, 8), torch.randn(20, 8)
    assert net(image, image) < net(image, other)
