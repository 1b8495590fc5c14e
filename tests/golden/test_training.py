"""Do optimisers, schedules and whole trainings follow the recorded updates of the authors' code?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from refers_bench.training import optimizers, schedules


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["hparams"])  # noqa: SIM118


def close(a: Tensor, b: Tensor, what: str, *, absolute: float, relative: float = 0.0) -> None:
    limit = absolute + relative * b.abs().max().item()
    worst = (a.double() - b.double()).abs().max().item()
    assert worst <= limit, f"{what}: differs by {worst:.3g}, allowed {limit:.3g}"


def tree(named: dict[str, Tensor]) -> nn.Module:
    """A module whose parameters carry exactly these dotted names."""
    root = nn.Module()
    for name, value in named.items():
        *folders, leaf = name.split(".")
        module = root
        for folder in folders:
            if not hasattr(module, folder):
                module.add_module(folder, nn.Module())
            module = getattr(module, folder)
        module.register_parameter(leaf, nn.Parameter(value.clone()))
    return root


def official_optimizer(model: nn.Module, hp: dict[str, Any], *, lr: str, decay: str) -> optimizers.Lookahead:
    groups = optimizers.parameter_groups(
        model, learning_rate=hp[lr], weight_decay=hp[decay], decay_rule="official_code",
        part_learning_rates={"contrastive_bert": hp["bert_lr"]},
    )  # fmt: skip
    inner = optimizers.build("sgd", groups, momentum=hp["momentum"])
    return optimizers.Lookahead(inner, steps=hp["lookahead_k"], alpha=hp["lookahead_alpha"])


@pytest.mark.parametrize("case", ["case07a", "case07b"])
def test_pretraining_optimiser(golden: Path, case: str) -> None:
    data, hp = load(golden / f"{case}_optimizer_pretrain.safetensors")
    model = tree({name: data[f"init/{name}"] for name in hp["param_order"]})
    parameters = dict(model.named_parameters())
    optimizer = official_optimizer(model, hp, lr="base_lr", decay="weight_decay")
    by_id = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters.items():
        assert by_id[id(parameter)]["base_lr"] == data[f"group/base_lr/{name}"].item(), name
        assert by_id[id(parameter)]["weight_decay"] == data[f"group/weight_decay/{name}"].item(), name
    curve = schedules.multiplier("cosine", steps=hp["total"], warmup_steps=hp["warmup"])
    factor = schedules.per_update(curve, order="after_step")
    for update in range(hp["steps"]):
        for name, parameter in parameters.items():
            parameter.grad = data[f"grads/{name}"][update].clone()
        norm = optimizers.clip_gradients(optimizer, hp["clip"])
        close(norm, data["total_norm_before_clip"][update], "norm", absolute=1e-5, relative=1e-5)
        optimizers.set_rates(optimizer, factor(update))
        for column, name in enumerate(hp["param_order"]):
            assert abs(by_id[id(parameters[name])]["lr"] - data["lr_used"][update, column].item()) <= 1e-12
        optimizer.step()
        for name, parameter in parameters.items():
            reference = data[f"traj/{name}"][update + 1]
            close(parameter.detach(), reference, f"{name} after {update + 1}", absolute=1e-5, relative=1e-5)
    for name, parameter in parameters.items():
        buffer = optimizer.inner.state[parameter]["momentum_buffer"]
        close(buffer, data[f"momentum_final/{name}"], f"momentum of {name}", absolute=1e-5, relative=1e-5)
    after = [by_id[id(parameters[name])]["base_lr"] * factor(hp["steps"]) for name in hp["param_order"]]
    close(torch.tensor(after, dtype=torch.float64), data["lr_after_last"], "lr_after_last", absolute=1e-12)


def test_pretraining_schedules(golden: Path) -> None:
    data, hp = load(golden / "case07c_pretrain_schedules.safetensors")
    official = schedules.multiplier("cosine", steps=hp["official_total"], warmup_steps=hp["official_warmup"])
    ours = torch.tensor([official(int(k)) for k in data["official/steps"]], dtype=torch.float64)
    close(ours, data["official/cosine_multiplier"], "official cosine", absolute=1e-12)
    for name, theirs in {"cosine": "cosine", "linear": "linear", "constant": "none", "multistep": "multistep"}.items():
        curve = schedules.multiplier(
            name, steps=hp["small_total"], warmup_steps=hp["small_warmup"],
            milestones=hp["milestones"], gamma=hp["gamma"],
        )  # fmt: skip
        reference = data[f"small/{theirs}_multiplier"]
        ours = torch.tensor([curve(k) for k in range(len(reference))], dtype=torch.float64)
        close(ours, reference, name, absolute=1e-12)


@pytest.mark.parametrize(
    ("case", "name", "warm"),
    [
        ("warmup_cosine", "cosine", True),
        ("warmup_linear", "linear", True),
        ("warmup_constant", "constant", True),
        ("constant", "constant", False),
    ],
)
def test_finetuning_schedules(golden: Path, case: str, name: str, warm: bool) -> None:
    data, hp = load(golden / "case09_finetune_schedules.safetensors")
    curve = schedules.multiplier(name, steps=hp["total"], warmup_steps=hp["warmup"] if warm else 0)
    at_k = torch.tensor([hp["lr"] * curve(k) for k in range(hp["total"] + 1)], dtype=torch.float64)
    close(at_k, data[f"{case}/lr_at_k"], case, absolute=1e-12)
    factor = schedules.per_update(curve, order="before_step")
    used = torch.tensor([hp["lr"] * factor(update) for update in range(hp["total"])], dtype=torch.float64)
    close(used, data[f"{case}/lr_used_by_update"], case, absolute=1e-12)
