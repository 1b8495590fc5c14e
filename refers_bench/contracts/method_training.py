"""Checks that a method trains as its contract says: state, determinism, resume, batches in parts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refers_bench.contracts.methods import BATCH, PRETRAINED, Case, case, total
from refers_bench.data.batches import StudyBatch
from refers_bench.training.loop import Training
from refers_bench.training.sections import rules


@pytest.mark.parametrize("name", PRETRAINED)
def test_state_round_trips(name: str) -> None:
    one = case(name)
    first, second, batch = one.objective(0), one.objective(1), one.batch()
    assert total(first, batch) != total(second, batch), "the seed changes nothing"
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert total(first, batch) == total(second, batch)
    encoder = one.encoder(2)
    encoder.load_state_dict(first.encoder.state_dict())  # type: ignore[union-attr]


class Stopped(Exception):
    """Stands for a kill."""


def trained(one: Case, folder: Path, *, stop_at: int = 0) -> dict[str, Tensor]:
    """Five updates from one seed, resumed from the folder's state where there is one; its weights and buffers.

    Only a training that is to be stopped saves its state.
    """
    objective = one.objective()
    section = {**one.pretrain, "steps": 5, "warmup_steps": 1, "validate_every": 3}
    pause = 0 if stop_at else 3600
    rule = rules(section, objective, metric="", higher_is_better=False, save_every_s=pause)

    def progress(view: Mapping[str, Any]) -> None:
        if stop_at and view["step"] > stop_at:
            raise Stopped

    Training(
        objective,
        key="contract",
        settings=rule.settings,
        optimizer=rule.optimizer,
        factor=rule.factor,
        draw=one.batch,
        losses=objective,
        validate=None,
        state_path=folder / "state.safetensors",
        device=torch.device("cpu"),
        progress=progress,
    ).run()
    return {key: value.detach().clone() for key, value in objective.state_dict().items()}


@pytest.mark.parametrize("name", PRETRAINED)
def test_two_runs_are_identical_and_a_resumed_one_equals_a_straight_one(name: str, tmp_path: Path) -> None:
    one = case(name)
    straight = trained(one, tmp_path / "straight")
    again = trained(one, tmp_path / "again")
    with pytest.raises(Stopped):
        trained(one, tmp_path / "killed", stop_at=2)
    assert (tmp_path / "killed" / "state.safetensors").is_file()
    resumed = trained(one, tmp_path / "killed")
    begun = one.objective().state_dict()
    assert any(not torch.equal(begun[key], value) for key, value in straight.items())
    for key, value in straight.items():
        assert torch.equal(value, again[key]), key
        assert torch.equal(value, resumed[key]), key


def without_dropout(one: Case) -> Case:
    """Random draws of features cannot be the same in parts; everything else must be."""
    pretrain = {**one.pretrain, "text_encoder": {**one.pretrain["text_encoder"], "dropout": 0.0}}
    pretrain["decoder"] = {**pretrain["decoder"], "dropout": 0.0}
    return replace(one, network={**one.network, "dropout": 0.0}, pretrain=pretrain)


def exchanged(first: StudyBatch, second: StudyBatch) -> tuple[StudyBatch, StudyBatch]:
    """The same two batches with the last half of their examples swapped, each in its place."""
    half = BATCH // 2

    def joined(a: StudyBatch, b: StudyBatch) -> StudyBatch:
        return StudyBatch(**{name: torch.cat([x[:half], getattr(b, name)[half:]]) for name, x in vars(a).items()})

    return joined(first, second), joined(second, first)


def mixes_examples(one: Case) -> bool:
    """Whether an example's loss depends on the others of its batch: exchanging examples changes the sum."""
    objective, pair = one.objective(), (one.batch(0), one.batch(1))
    before, after = (float(sum(total(objective, b).detach() for b in both)) for both in (pair, exchanged(*pair)))
    return abs(before - after) > 1e-4 * abs(before)


def losses_and_gradients(objective: nn.Module, batch: StudyBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of a training step, with everything else that it changes among the gradients."""
    torch.manual_seed(5)
    losses = objective.train()(batch)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    changed = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}
    changed |= {name: buffer for name, buffer in objective.named_buffers() if "running" not in name}
    return losses, changed


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_batch_in_parts_has_the_loss_of_the_whole(name: str) -> None:
    one = without_dropout(case(name))
    kind = one.method.parts
    assert kind in ("", "examples", "features")
    if kind == "examples":
        assert not mixes_examples(one), "its losses mix the examples of a batch"
    if kind != "features":
        return
    losses, changed = losses_and_gradients(one.objective(), one.batch())
    # Rounding is of the size of the largest gradients; a batch norm over features that differ little has large ones.
    largest = max(1.0, *(float(value.float().abs().max()) for value in changed.values()))
    for parts in (2, 4):
        objective: Any = one.objective()
        assert objective.parts == 1
        objective.parts = parts
        cut, others = losses_and_gradients(objective, one.batch())
        for key, value in losses.items():
            torch.testing.assert_close(cut[key], value, msg=key)
        assert set(others) == set(changed)
        for key, value in changed.items():
            torch.testing.assert_close(others[key], value, rtol=1e-3, atol=1e-6 * largest, msg=key)
