"""Every constant of a protocol's section is obeyed, down to the weights after each update."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from refers_bench.training import sections
from refers_bench.training.loop import Training
from refers_bench.training.optimizers import Lookahead

SECTION = {
    "steps": 10, "batch_size": 4, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.01,
    "decay_rule": "no_norm_bias", "warmup_steps": 2, "schedule": "linear", "schedule_order": "before_step",
    "clip_norm": 3.0, "precision": "bf16", "accumulate": 2, "validate_every": 5, "patience": 7,
}  # fmt: skip


@dataclass(frozen=True)
class Batch:
    x_BF: Tensor
    y_B: Tensor


class Objective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.text_encoder, self.report_transformer = (nn.Linear(2, 2) for _ in range(3))


def test_finetune_section() -> None:
    rule = sections.rules(SECTION, nn.Linear(2, 2), metric="val/auc", higher_is_better=True, save_every_s=1.0)
    assert [rule.factor(update) for update in range(3)] == [0.5, 1.0, 0.875]
    expected = sections.Settings(
        steps=10, validate_every=5, grad_accum_steps=2, clip_norm=3.0, precision="bf16", metric="val/auc",
        higher_is_better=True, patience=7, save_every_s=1.0,
    )  # fmt: skip
    assert rule.settings == expected
    assert {group["momentum"] for group in rule.optimizer.param_groups} == {0.8}
    assert not isinstance(rule.optimizer, Lookahead)


def test_pretrain_section_gives_parts_their_rates_and_lookahead() -> None:
    section = {
        **SECTION,
        "text_learning_rate": 0.2, "decoder_learning_rate": 0.3, "lookahead_steps": 5, "lookahead_alpha": 0.4,
        "schedule_order": "after_step",
    }  # fmt: skip
    rule = sections.rules(section, Objective(), metric="", higher_is_better=False, save_every_s=1.0)
    assert isinstance(rule.optimizer, Lookahead)
    assert (rule.optimizer.steps, rule.optimizer.alpha) == (5, 0.4)
    assert sorted({group["base_lr"] for group in rule.optimizer.param_groups}) == [0.1, 0.2, 0.3]
    assert rule.factor(0) == 0


def by_hand(
    section: dict[str, Any], factors: list[float], batches: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray
) -> list[np.ndarray]:
    """Weights (w, w, bias) of a least-squares fit after each update, from the formulas in double precision.

    The gradient of each micro-batch weighs its share; decay is added to it as L2 after clipping and spares the bias;
    the velocity is momentum times itself plus the gradient.
    """
    now, velocity, slow, found = start.copy(), np.zeros(3), start.copy(), []
    for update, (x, y) in enumerate(batches):
        gradient, size = np.zeros(3), -(-len(x) // section["accumulate"])
        for first in range(0, len(x), size):
            part, wanted = x[first : first + size], y[first : first + size]
            wide = np.c_[part, np.ones(len(part))]
            gradient += 2 * wide.T @ (wide @ now - wanted) / len(x)
        norm = np.sqrt((gradient**2).sum())
        if section["clip_norm"]:
            gradient *= min(1, section["clip_norm"] / (norm + 1e-6))
        gradient += section["weight_decay"] * now * [1, 1, 0]
        velocity = section["momentum"] * velocity + gradient
        now = now - section["learning_rate"] * factors[update] * velocity
        if section.get("lookahead_steps") and (update + 1) % section["lookahead_steps"] == 0:
            slow = section["lookahead_alpha"] * now + (1 - section["lookahead_alpha"]) * slow
            now = slow.copy()
        found.append(now)
    return found


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({}, [0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]),
        ({"schedule_order": "after_step"}, [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ({"accumulate": 3, "clip_norm": 0.0}, [0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]),
        ({"schedule": "constant", "lookahead_steps": 3, "lookahead_alpha": 0.4}, [0.5] + [1] * 9),
        (
            {"schedule": "multistep", "milestones": [0.4, 0.75], "milestone_factor": 0.5, "warmup_steps": 0},
            [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25],
        ),
    ],
)
def test_a_training_is_what_the_formulas_of_its_section_give(
    changes: dict[str, Any], factors: list[float], tmp_path: Path
) -> None:
    section = {**SECTION, "precision": "fp32", "weight_decay": 0.1, "clip_norm": 0.5, **changes}
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(8, 2)), rng.normal(size=8) + 1) for _ in range(10)]
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    rule = sections.rules(section, net, metric="", higher_is_better=False, save_every_s=1e9)
    start = np.r_[net.weight.detach().numpy()[0], net.bias.detach().numpy()].astype(float)
    expected, found = by_hand(section, factors, batches, start), []

    def draw(step: int) -> Batch:
        x, y = (torch.tensor(one, dtype=torch.float32) for one in batches[step])
        return Batch(x, y)

    outcome = Training(
        net, key="k", settings=rule.settings, optimizer=rule.optimizer, factor=rule.factor, draw=draw,
        losses=lambda batch: {"square": ((net(batch.x_BF)[:, 0] - batch.y_B) ** 2).mean()}, validate=None,
        state_path=tmp_path / "state", device=torch.device("cpu"),
        progress=lambda view: found.append(np.r_[net.weight.detach().numpy()[0], net.bias.detach().numpy()]),
    ).run()  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    before = [start, *expected[:-1]]
    losses = [((np.c_[x, np.ones(8)] @ w - y) ** 2).mean() for (x, y), w in zip(batches, before, strict=True)]
    rows = {
        name: [value for _, other, value in outcome.counters.history if other == name] for name in ("loss/square", "lr")
    }
    assert rows["loss/square"] == pytest.approx(losses, rel=1e-4)
    assert rows["lr"] == pytest.approx([0.1 * factor for factor in factors], abs=1e-9)
