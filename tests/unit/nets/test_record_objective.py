"""Radiographs and reports are hidden reproducibly, and a batch in parts has the loss of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refers_bench import plugins
from refers_bench.contracts.methods import Case, case
from refers_bench.data.batches import StudyBatch
from refers_bench.nets.parts import weighted
from refers_bench.nets.record_objective import END, PAD, RecordBatch, RecordObjective


def objective_and_batch(**params: Any) -> tuple[RecordObjective, StudyBatch]:
    """Reports of several lengths, each with its end but the last one, which was cut."""
    one: Case = case("mrm")
    method = plugins.load("method", "mrm")
    one = Case(one.name, method, method.Params(**{**method.small, **params}), one.network, one.image, one.pretrain)
    batch = one.batch()
    tokens, lengths = batch.tokens_BT.clone(), torch.tensor([4, 7, 12, 12, 9, 12])
    for row, length in enumerate(lengths.tolist()):
        tokens[row, length:] = PAD
        tokens[row, length - 1] = END
    tokens[-1, -1] = 5
    objective: Any = one.objective()
    return objective, StudyBatch(**{**vars(batch), "tokens_BT": tokens, "lengths_B": lengths})


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_a_report_is_hidden_without_its_end_and_padded_to_one_length() -> None:
    objective, batch = objective_and_batch()
    objective.max_tokens = 15
    shown = objective.prepared(batch, generator())
    assert shown.ids_BT.shape == (6, 15)
    assert not (shown.ids_BT == END).any()
    assert shown.lengths_B.tolist() == [3, 6, 11, 11, 8, 12]
    places = torch.arange(15)
    assert not shown.hidden_BT[:, 0].any()
    assert not (shown.hidden_BT & (places >= shown.lengths_B[:, None])).any()
    assert shown.hidden_BT.any()
    again = objective.prepared(batch, generator())
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(shown).items())


def test_pieces_that_continue_a_word_share_its_fate() -> None:
    objective, batch = objective_and_batch()
    objective.follows = torch.arange(40) % 2 == 1
    for seed in range(20):
        shown = objective.prepared(batch, torch.Generator().manual_seed(seed))
        inside = torch.arange(1, 12) < torch.minimum(shown.lengths_B, torch.tensor(11))[:, None]
        follows = (shown.ids_BT % 2 == 1)[:, 1:] & inside
        assert torch.equal(shown.hidden_BT[:, 1:][follows], shown.hidden_BT[:, :-1][follows])


def test_validation_hides_the_same_every_time_and_training_does_not() -> None:
    objective, batch = objective_and_batch()

    def losses() -> list[float]:
        with torch.no_grad():
            return [loss.item() for loss in objective(batch).values()]

    objective.eval()
    assert losses() == losses()
    objective.train()
    torch.manual_seed(1)
    first = losses()
    assert first != losses()
    torch.manual_seed(1)
    assert first == losses()


@pytest.mark.parametrize("places", ["all", "masked"])
@pytest.mark.parametrize("parts", [2, 3])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(places: str, parts: int) -> None:
    objective, batch = objective_and_batch(report_places=places, report_dropout=0.0)
    shown: RecordBatch = objective.prepared(batch, generator())

    def gradients() -> dict[str, torch.Tensor]:
        return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}

    whole = objective(shown)
    sum(whole.values()).backward()  # type: ignore[union-attr]
    expected = gradients()
    objective.zero_grad()
    total = dict.fromkeys(whole, 0.0)
    for part, weights, rest in weighted(shown, parts, counts=objective.counts):
        losses = {name: loss * weights.get(name, rest) for name, loss in objective(part).items()}
        sum(losses.values()).backward()  # type: ignore[union-attr]
        total = {name: total[name] + loss.item() for name, loss in losses.items()}
    for name, loss in whole.items():
        assert total[name] == pytest.approx(loss.item(), rel=1e-5), name
    for name, value in gradients().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6, msg=name)


def test_what_is_restored_is_the_removed_patches_of_the_larger_image() -> None:
    """Another target for a visible patch changes no loss, one for a removed patch does."""
    objective, batch = objective_and_batch()
    objective.eval()
    shown = objective.prepared(batch, generator())
    side = shown.images_BVCHW.shape[-1] // objective.encoder.grid
    assert side == 16, "twice the encoder's patches of 8"
    before = objective(shown)["masked_patches"]
    target = objective.target(shown.images_BVCHW[:, 0])
    assert target.shape == (6, objective.patches, side * side)
    for patch, changes in ((int(shown.noise_BN[0].argmin()), False), (int(shown.noise_BN[0].argmax()), True)):
        changed = target.clone()
        changed[0, patch] += 1.0
        objective.target = lambda images, changed=changed: changed  # type: ignore[method-assign, misc]
        assert bool(objective(shown)["masked_patches"] != before) is changes
