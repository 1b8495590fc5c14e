"""Each parameter gets the learning rate and the weight decay of its part and kind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from refers_bench import plugins
from refers_bench.manifest.protocols import resolve
from refers_bench.training import optimizers


class Objective(nn.Module):
    """The parts of a pre-training objective, small."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4))
        self.text_encoder = nn.ModuleDict({"LayerNorm": nn.LayerNorm(4), "dense": nn.Linear(4, 4)})
        self.report_transformer = nn.MultiheadAttention(4, 2)
        self.output = nn.Linear(4, 4)
        self.output.weight = self.encoder[0].weight
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)


def table(rule: str) -> dict[str, tuple[float, float]]:
    groups = optimizers.parameter_groups(
        Objective(), learning_rate=0.1, weight_decay=0.01, decay_rule=rule,
        part_learning_rates={"text_encoder": 0.2, "report_transformer": 0.3},
    )  # fmt: skip
    return {name: (group["base_lr"], group["weight_decay"]) for group in groups for name in group["names"]}


def test_parts_and_the_papers_rule() -> None:
    rows = table("no_norm_bias")
    assert rows["encoder.0.weight"] == (0.1, 0.01)
    assert rows["encoder.0.bias"] == (0.1, 0)
    assert rows["encoder.1.weight"] == rows["encoder.2.weight"] == (0.1, 0)
    assert rows["text_encoder.LayerNorm.weight"] == (0.2, 0)
    assert rows["text_encoder.dense.weight"] == (0.2, 0.01)
    assert rows["report_transformer.in_proj_weight"] == (0.3, 0.01)
    assert rows["report_transformer.in_proj_bias"] == (0.3, 0)
    assert "output.weight" not in rows
    assert "frozen" not in rows


def test_the_official_rule_reads_names_and_their_case() -> None:
    rows = table("official_code")
    assert rows["text_encoder.LayerNorm.weight"] == (0.2, 0.01)
    assert rows["text_encoder.LayerNorm.bias"] == (0.2, 0)
    # A normalisation whose name does not say so is decayed too.
    assert rows["encoder.1.weight"] == (0.1, 0.01)


def test_decay_on_everything_is_torchs_default() -> None:
    """Norms and biases as well, for released fine-tuning with a weight decay; C2L's recipe names the same rule."""
    name = resolve("official_code")["finetune.decay_rule"].value
    assert name == plugins.load("method", "c2l").recipe["pretrain.decay_rule"][0]
    torch.manual_seed(0)
    ours = Objective()
    theirs = copy.deepcopy(ours)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}
    expected = torch.optim.SGD([p for p in theirs.parameters() if p.requires_grad], **settings)
    groups = optimizers.parameter_groups(ours, learning_rate=0.1, weight_decay=0.3, decay_rule=name)
    found = optimizers.build("sgd", groups, momentum=0.9)
    for model, rule in ((ours, found), (theirs, expected)):
        for step in range(3):
            for k, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
                parameter.grad = torch.full_like(parameter, 0.01 * (k + step))
            rule.step()
    for (key, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=key)


def test_every_trained_parameter_is_in_one_group() -> None:
    model = Objective()
    groups = optimizers.parameter_groups(model, learning_rate=1, weight_decay=1, decay_rule="no_norm_bias")
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_part_is_a_whole_component() -> None:
    assert optimizers.part_of("my_text_encoder.weight", ["text_encoder"]) == ""
    assert optimizers.part_of("module.text_encoder.weight", ["text_encoder"]) == "text_encoder"


@pytest.mark.parametrize("norm", [0.0, 0.5])
def test_clipping(norm: float) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    before = optimizers.clip_gradients(torch.optim.SGD([parameter], lr=1), norm)
    assert before.item() == 5
    expected = 5.0 if norm == 0 else norm / (1 + 2e-7)
    assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-6)


def test_sgd_is_not_nesterov() -> None:
    rule = optimizers.build("sgd", [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1, "base_lr": 0.1}])
    assert not rule.defaults["nesterov"]
    assert rule.defaults["momentum"] == 0.9


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="sgd, adam, adamw"):
        optimizers.build("lion", [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1, "base_lr": 0.1}])
    with pytest.raises(ValueError, match="unknown decay rule"):
        optimizers.undecayed(nn.Linear(1, 1), "some")
