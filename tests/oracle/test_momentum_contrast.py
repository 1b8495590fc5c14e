"""C2L's objective equals its definition, written out term by term and key by key."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from refers_bench.nets.momentum_contrast import NCE_EPSILON, MomentumContrast
from refers_bench.nets.restoration import generator_of

DIM, QUEUE, BATCH, EXAMPLES = 8, 40, 6, 1000


class Net(nn.Module):
    """The smallest thing with a readout."""

    readout_width = 12

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 4 * 4, 12)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.tanh(self.linear(x.flatten(1)))
        return out

    def readout(self, tokens: Tensor) -> Tensor:
        return tokens


def contrast(**more: Any) -> MomentumContrast:
    torch.manual_seed(0)
    settings = {"dim": DIM, "queue": QUEUE, "momentum": 0.9, "temperature": 0.07, "loss": "infonce", "alpha": 1.0}
    settings["examples"] = EXAMPLES
    model = MomentumContrast(encoder=Net(), **{**settings, **more})
    with torch.no_grad():
        for parameter in model.key_encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def batch(seed: int = 1) -> Any:
    return SimpleNamespace(images_BVCHW=torch.randn(BATCH, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_hand(model: MomentumContrast, x: Any, *, share: float, order: list[int]) -> tuple[list[float], np.ndarray, int]:
    """Losses of the three terms, the queue afterwards and its next place, one query and one key at a time."""

    def run(encoder: nn.Module, head: nn.Module, image: Tensor) -> np.ndarray:
        with torch.no_grad():
            return head(encoder(image[None]))[0].double().numpy()

    first, second = x.images_BVCHW[:, 0], x.images_BVCHW[:, 1]
    queue, place, losses = model.queue.double().numpy().copy(), int(model.place), []
    plain_keys = [run(model.key_encoder, model.key_head, image) for image in second]
    terms = []
    for kind in ("plain", "mixed images", "mixed features"):
        queries, keys = [], []
        for i, j in enumerate(order):
            if kind == "plain":
                queries.append(run(model.encoder, model.head, first[i]))
                keys.append(plain_keys[i])
                continue
            queries.append(run(model.encoder, model.head, share * first[i] + (1 - share) * first[j]))
            if kind == "mixed images":
                keys.append(run(model.key_encoder, model.key_head, share * second[i] + (1 - share) * second[j]))
            else:
                keys.append(share * plain_keys[i] + (1 - share) * plain_keys[j])
        terms.append((unit(np.array(queries)), unit(np.array(keys))))
    constant = None
    for queries, keys in terms:
        rows = []
        for query, key in zip(queries, keys, strict=True):
            rows.append(
                [
                    math.exp(query @ key / model.temperature),
                    *(math.exp(query @ old / model.temperature) for old in queue),
                ]
            )
        scores = np.array(rows)
        if model.loss == "infonce":
            losses.append(float(np.mean(-np.log(scores[:, 0] / scores.sum(1)))))
        else:
            constant = int(scores.mean() * EXAMPLES) if constant is None else constant
            p, noise = scores / constant, len(queue) / EXAMPLES
            positive = np.log(p[:, 0] / (p[:, 0] + noise + NCE_EPSILON))
            negative = np.log(noise / (p[:, 1:] + noise + NCE_EPSILON)).sum(1)
            losses.append(float(-np.mean(positive + negative)))
        for key in keys:
            queue[place] = key
            place = (place + 1) % len(queue)
    return losses, queue, place


@pytest.mark.parametrize("loss", ["infonce", "nce"])
def test_three_terms_and_the_queue_equal_a_loop(loss: str) -> None:
    model, x = contrast(loss=loss), batch()
    for step in range(4):  # 4 x 18 keys: more than twice around
        torch.manual_seed(step)
        generator = generator_of(model.train())
        share, order = model.mixing(BATCH, generator)
        if step:
            model.constant.fill_(-1)  # the loop normalises anew each time
        expected, queue, place = by_hand(model, x, share=share, order=order.tolist())
        torch.manual_seed(step)
        got = model(x)
        assert list(got) == ["contrast", "homogeneous", "heterogeneous"]
        np.testing.assert_allclose([3 * value.item() for value in got.values()], expected, rtol=2e-5)
        np.testing.assert_allclose(model.queue.numpy(), queue, atol=1e-6)
        assert int(model.place) == place == 18 * (step + 1) % QUEUE


@pytest.mark.parametrize("loss", ["infonce", "nce"])
def test_similarities_are_float32_whatever_the_networks_compute_in(loss: str) -> None:
    found = []
    for enabled in (False, True):
        model = contrast(loss=loss)
        generator = torch.Generator().manual_seed(2)
        query, key = (nn.functional.normalize(torch.randn(BATCH, DIM, generator=generator), dim=1) for _ in range(2))
        query.requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = model.contrast(query, key)
        value.backward()
        assert value.dtype == torch.float32
        found.append((value.detach(), query.grad))
    for exact, inside in zip(*found, strict=True):
        assert torch.equal(exact, inside)


def test_queries_are_trained_and_keys_follow_after_the_update() -> None:
    model = contrast()
    torch.stack(list(model(batch()).values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert all(p.grad is None for p in [*model.key_encoder.parameters(), *model.key_head.parameters()])
    before = [p.clone() for p in model.key_encoder.parameters()]
    model.after_update()
    for old, slow, fast in zip(before, model.key_encoder.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.9 * old + 0.1 * fast)


class Dropping(Net):
    """With layers that behave differently in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(12), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.norm(super().forward(x)))
        return out


def test_of_the_key_encoder_batch_norms_alone_train() -> None:
    """Whatever calls train() and eval(), also on a module around it; source: train_C2L_res18.py:438-445."""
    torch.manual_seed(0)
    model = MomentumContrast(
        encoder=Dropping(), dim=DIM, queue=QUEUE, momentum=0.9, temperature=0.07, loss="infonce", alpha=1.0
    )
    x, around = batch().images_BVCHW[:, 0], nn.Sequential(model)
    with torch.no_grad():
        for enter in (lambda: None, around.eval, around.train, model.eval, model.train):
            enter()
            norm: Any = model.key_encoder.norm
            before = norm.running_mean.clone()
            assert torch.equal(model.key(x), model.key(x)), "dropout draws in the key encoder"
            assert torch.equal(norm.running_mean, before) != model.training
            assert torch.equal(model.query(x), model.query(x)) != model.training


def test_validation_leaves_the_queue_alone_and_is_the_same_twice() -> None:
    model = contrast().eval()
    queue, place = model.queue.clone(), int(model.place)
    losses = [float(torch.stack(list(model(batch()).values())).sum()) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(model.queue, queue)
    assert int(model.place) == place


def test_the_constant_is_set_by_the_first_batch_of_the_training_and_never_again() -> None:
    """A validation before it, and one after it, have their own or the training's and set none."""
    model = contrast(loss="nce").eval()
    with torch.no_grad():
        before = {name: loss.item() for name, loss in model(batch(5)).items()}
        assert int(model.constant) == -1
        assert before == {name: loss.item() for name, loss in model(batch(5)).items()}
    model.train()
    torch.manual_seed(3)
    model(batch(1))
    first = int(model.constant)
    assert first > 0
    model(batch(2))
    model.eval()(batch(5))
    assert int(model.constant) == first
    later = contrast(loss="nce").train()
    torch.manual_seed(3)
    later(batch(2))
    assert int(later.constant) != first, "another first batch sets another one"


def test_the_queue_begins_with_keys_of_length_one_on_average() -> None:
    torch.manual_seed(3)
    model = MomentumContrast(
        encoder=Net(), dim=128, queue=16_384, momentum=0.999, temperature=0.07, loss="infonce", alpha=1.0
    )
    assert float(model.queue.norm(dim=1).pow(2).mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("alpha", "mean", "second"), [(1.0, 0.75, 7 / 12), (2.0, 0.6875, 0.4906), (0.2, None, None)])
def test_mixing_shares_follow_the_folded_beta_distribution(
    alpha: float, mean: float | None, second: float | None
) -> None:
    """max(l, 1 - l) of l ~ Beta(alpha, alpha), 10,000 draws against scipy's distribution."""
    from scipy import stats

    model, generator = contrast(alpha=alpha), torch.Generator().manual_seed(5)
    shares = np.array([model.mixing(2, generator)[0] for _ in range(10_000)])
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    beta = stats.beta(alpha, alpha)
    assert stats.kstest(shares, lambda x: beta.cdf(x) - beta.cdf(1 - x)).pvalue > 1e-4
    if mean is not None and second is not None:
        assert shares.mean() == pytest.approx(mean, abs=0.005)
        assert (shares**2).mean() == pytest.approx(second, abs=0.01)


def test_one_permutation_a_batch() -> None:
    model = contrast()
    _, order = model.mixing(10_000, torch.Generator().manual_seed(1))
    assert sorted(order.tolist()) == list(range(10_000))
    assert int((order == torch.arange(10_000)).sum()) < 10
