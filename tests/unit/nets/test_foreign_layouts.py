"""Names of tensors of other projects become ours by the first rule that fits."""

from __future__ import annotations

import pytest
import torch

from official_checkpoints import head_weights, unwrapped
from refers_bench.nets import foreign_layouts
from refers_bench.nets.foreign_layouts import _renamed


def test_one_rule_a_name() -> None:
    weights = {name: torch.tensor(float(n)) for n, name in enumerate(("a.weight", "b.weight", "a.weight.more", "c"))}
    found = _renamed(weights, {"a.": "b.", "b.": "c.", "c.": "d"})
    assert {name: float(value) for name, value in found.items()} == {
        "b.weight": 0,
        "c.weight": 1,
        "a.weight.more": 2,
        "c": 3,
    }


def test_a_checkpoint_of_a_pre_training_and_a_plain_one() -> None:
    tensors = {"head.weight": torch.ones(2), "head.bias": torch.zeros(2), "transformer.a": torch.ones(1)}
    assert unwrapped({**tensors, "epoch": 3}) == tensors
    assert unwrapped({"model": {**tensors, "steps": 7}, "optimizer": {"state": {}}, "step": torch.ones(1)}) == tensors
    assert head_weights(tensors) == {"head.weight": tensors["head.weight"], "head.bias": tensors["head.bias"]}


@pytest.mark.parametrize(
    ("prefix", "others"),
    [
        ("img_encoder_q.model.", ("text_encoder_q.model.layer1.0.conv1.", "prototype_layer.", "img_encoder_q.embed.")),
        ("img_encoder.model.", ("text_encoder.model.", "img_encoder.global_embed.head.0.")),
        ("gloria.img_encoder.model.", ("gloria.text_encoder.model.", "gloria.img_encoder.global_embedder.")),
        ("visual.model.", ("linguistic.encoder.", "vis_proj.0.", "lin_proj.0.")),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_an_image_encoder_is_taken_out_of_the_whole_file(prefix: str, others: tuple[str, ...], nested: bool) -> None:
    own = {name: torch.ones(2) for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.bias")}
    more = {f"{one}{n}.weight": torch.zeros(1) for one in others for n in range(9)}
    whole = {**more, **{f"{prefix}{name}": value for name, value in own.items()}}
    found = foreign_layouts.unwrapped({"state_dict": whole, "hyper_parameters": {"a": 1}} if nested else whole)
    assert set(found) == set(own)
    layout = foreign_layouts.recognised(found)
    assert layout is not None and layout.backbone == "resnet"
