"""C2L's objective, its training steps, holes and learning rates follow recordings of its authors' functions.

Cases 11 to 17; every size, rate and count is read from the case.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recorded_cases
from recorded_cases import groups, inside, load
from refers_bench import plugins
from refers_bench.data.batches import StudyBatch
from refers_bench.data.distortions import cut_at
from refers_bench.manifest import protocols
from refers_bench.nets.momentum_contrast import MomentumContrast, folded, mixed
from refers_bench.training import loop, sections

LOSS, RELATIVE = 1e-6, 1e-5


#: Within `RELATIVE` of the largest entry.
close = functools.partial(recorded_cases.close, relative=RELATIVE)


def test_mixing(golden_methods_folder: Path) -> None:
    data, _ = load(golden_methods_folder / "case11_c2l_mixing.safetensors")
    for one in groups(data, ending="in/beta"):
        share = folded(float(data[f"{one}/in/beta"]))
        assert share == float(data[f"{one}/out/share"])
        for what in ("images", "features"):
            found = mixed(data[f"in/{what}"], share, data[f"{one}/in/permutation"])
            torch.testing.assert_close(found, data[f"{one}/out/{what}"], atol=1e-6, rtol=0)


class Net(nn.Module):
    """The recorded encoder up to its embedding, with dropout behind the only hidden layer."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden, self.dropout, self.readout_width = nn.Linear(width, hidden), nn.Dropout(dropout), hidden

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(torch.tanh(self.hidden(x.flatten(1))))
        return out

    def readout(self, tokens: Tensor) -> Tensor:
        return tokens


def contrast(hp: Mapping[str, Any], queue: Tensor, *, loss: str, net: nn.Module | None = None) -> MomentumContrast:
    model = MomentumContrast(
        encoder=net or Net(2, 2, 0.0),
        dim=queue.shape[1],
        queue=len(queue),
        momentum=hp.get("ema", 0.999),
        temperature=hp["temperature"],
        loss=loss,
        alpha=1.0,
        examples=hp.get("n_data", 0),
    )
    model.queue.copy_(queue)
    return model


@pytest.mark.parametrize(
    ("case", "loss"), [("case12_c2l_queue_infonce", "infonce"), ("case13_c2l_queue_nce", "nce")], ids=["infonce", "nce"]
)
def test_queue_and_loss(golden_methods_folder: Path, case: str, loss: str) -> None:
    data, hp = load(golden_methods_folder / f"{case}.safetensors")
    model = contrast(hp, data["in/queue"], loss=loss)
    for step in groups(data, ending="in/query"):
        query, key = data[f"{step}/in/query"].requires_grad_(), F.normalize(data[f"{step}/in/key"], dim=1)
        value = model.contrast(F.normalize(query, dim=1), key)
        value.backward()
        model.enqueue(key)
        close(value.detach(), data[f"{step}/out/loss"], f"{step} loss", relative=LOSS)
        close(query.grad, data[f"{step}/grad_in/query"], f"{step} gradient")
        assert int(model.place) == int(data[f"{step}/out/next_place"])
        close(model.queue, data[f"{step}/out/queue"], f"{step} queue")
        if loss == "nce":
            assert int(model.constant) == int(data["out/constant"])


@pytest.mark.parametrize(
    ("case", "loss"), [("case14_c2l_steps_infonce", "infonce"), ("case15_c2l_steps_nce", "nce")], ids=["infonce", "nce"]
)
@pytest.mark.parametrize("resumed", [False, True], ids=["straight", "resumed at every step"])
def test_whole_steps(golden_methods_folder: Path, tmp_path: Path, case: str, loss: str, resumed: bool) -> None:
    """In the shared loop, which puts the model into training mode: the key encoder's dropout must stay off in it."""
    data, hp = load(golden_methods_folder / f"{case}.safetensors")
    steps = groups(data, ending="in/beta")
    section: dict[str, Any] = {
        **protocols.resolve_sections("paper")["pretrain"],
        "optimizer": "sgd",
        "learning_rate": hp["lr"],
        "momentum": hp["momentum"],
        "weight_decay": hp["weight_decay"],
        "decay_rule": "all",
        "schedule": "constant",
        "warmup_steps": 0,
        "clip_norm": 0.0,
        "precision": "fp32",
        "validate_every": 1,
    }

    def fresh() -> MomentumContrast:
        hidden, width = data["init/hidden.weight"].shape
        model = contrast(hp, data["init/queue"], loss=loss, net=Net(width, hidden, 0.5))
        model.encoder.dropout.p = 0.0  # type: ignore[union-attr]
        # The recording's draws, whatever the names of ours.
        model.mixing = lambda count, generator: next(draws)  # type: ignore[method-assign]
        layers = inside(data, "init/")
        for encoder, head in ((model.encoder, model.head), (model.key_encoder, model.key_head)):
            encoder.load_state_dict({name: layers[name] for name in ("hidden.weight", "hidden.bias")})
            head.load_state_dict({name: layers[f"embed.{name}"] for name in ("weight", "bias")})
        return model

    def drawn(step: int) -> StudyBatch:
        views = inside(data, f"{steps[step]}/in/")
        images_BVCHW = torch.stack([views["images_view1"], views["images_view2"]], 1)
        none = torch.zeros(len(images_BVCHW), 0, dtype=torch.long)
        return StudyBatch(
            images_BVCHW=images_BVCHW,
            tokens_BT=none,
            lengths_B=none[:, :1],
            text_ids_BT=none,
            text_mask_BT=none,
            labels_BK=none,
        )

    def check(view: Mapping[str, Any]) -> None:
        expected = inside(data, f"{steps[view['step'] - 1]}/out/")
        for side, encoder, head in (("query", model.encoder, model.head), ("key", model.key_encoder, model.key_head)):
            found = {**{f"embed.{name}": value for name, value in head.state_dict().items()}, **encoder.state_dict()}
            for name, value in inside(expected, f"{side}/").items():
                close(found[name], value, f"{view['step']} {side} {name}")
        close(model.queue, expected["queue"], f"{view['step']} queue")
        assert int(model.place) == int(expected["next_place"])
        names = ("contrast", "homogeneous", "heterogeneous")
        terms = torch.tensor([3 * view["losses"][name] for name in names])
        close(terms, expected["terms"], f"{view['step']} terms")

    def mixings(start: int) -> Any:
        for step in steps[start:]:
            yield folded(float(data[f"{step}/in/beta"])), data[f"{step}/in/permutation"]

    for last in range(1, len(steps) + 1) if resumed else [len(steps)]:
        model, draws = fresh(), mixings(last - 1 if resumed else 0)
        rule = sections.rules({**section, "steps": last}, model, metric="", higher_is_better=False, save_every_s=0)
        loop.Training(
            model,
            key="golden",
            settings=rule.settings,
            optimizer=rule.optimizer,
            factor=rule.factor,
            draw=drawn,
            losses=model,
            validate=dict,
            state_path=tmp_path / "state",
            device=torch.device("cpu"),
            progress=check,
        ).run()


def test_holes(golden_methods_folder: Path) -> None:
    data, _ = load(golden_methods_folder / "case16_cutout.safetensors")
    for one in groups(data, ending="in/centres_yx"):
        centres, length = data[f"{one}/in/centres_yx"], int(data[f"{one}/in/length"])
        if f"{one}/out/kept" in data:
            kept = data[f"{one}/out/kept"]
            assert torch.equal(cut_at(torch.ones(kept.shape)[:, None], centres, length=length)[:, 0].to(kept), kept)
        else:
            found = cut_at(data[f"{one}/in/images"], centres, length=length)
            torch.testing.assert_close(found, data[f"{one}/out/images"], atol=1e-6, rtol=0)


def by_epoch(section: Mapping[str, Any], *, epochs: int, updates: int) -> tuple[Tensor, Tensor]:
    """Learning rates of the first and of the last update of each epoch."""
    rule = sections.rules(
        {**section, "steps": epochs * updates}, nn.Linear(2, 2), metric="", higher_is_better=False, save_every_s=1.0
    )
    base = rule.optimizer.param_groups[0]["base_lr"]
    rates = torch.tensor([base * rule.factor(k) for k in range(epochs * updates)], dtype=torch.float64)
    return rates[::updates], rates[updates - 1 :: updates]


def test_c2ls_learning_rates(golden_methods_folder: Path) -> None:
    """As the method's recipe sets them in a preset of full size, through the protocol's schema."""
    data, _ = load(golden_methods_folder / "case17_learning_rates.safetensors")
    recipe = plugins.load("method", "c2l").recipe
    method = {name: protocols.Value(value=value, origin=source) for name, (value, source) in recipe.items()}
    for preset in ("paper", "official_code"):
        section = protocols.sections_of(protocols.resolve(preset, method=method))["pretrain"]
        for updates in (1, 9):
            for found in by_epoch(section, epochs=len(data["c2l/epoch"]), updates=updates):
                torch.testing.assert_close(found, data["c2l/lr"], atol=0, rtol=1e-12)


@pytest.mark.parametrize("name", ["genesis", "transvw"])
def test_other_step_decays_can_be_stated(golden_methods_folder: Path, name: str) -> None:
    data, _ = load(golden_methods_folder / "case17_learning_rates.safetensors")
    rates = data[f"{name}/lr_by_epoch_from_0"]
    falls = [epoch + 1 for epoch, (one, other) in enumerate(pairwise(rates.tolist())) if one != other]
    stated = {
        "schedule": "multistep",
        "milestones": [epoch / len(rates) for epoch in falls],
        "milestone_factor": float(rates[falls[0]] / rates[0]),
        "learning_rate": float(rates[0]),
        "warmup_steps": 0,
    }
    method = {f"pretrain.{one}": protocols.Value(value=value, origin="the case") for one, value in stated.items()}
    section = protocols.sections_of(protocols.resolve("paper", method=method))["pretrain"]
    for found in by_epoch(section, epochs=len(rates), updates=9):
        torch.testing.assert_close(found, rates, atol=0, rtol=1e-12)
