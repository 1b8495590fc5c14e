"""Optimisers, schedules and whole trainings follow the recorded updates of the authors' code (cases 7, 9, 12, 13).

Sizes, rates and numbers of steps are those of a case's own `hparams` and tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from official_checkpoints import encoder_weights, head_weights, objective_weights
from refers_bench.data.batches import RadiographBatch, StudyBatch
from refers_bench.manifest import protocols
from refers_bench.nets import text_encoder
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.losses import masked_bce
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.nets.report_transformer import ReportTransformer
from refers_bench.nets.study_objective import StudyObjective
from refers_bench.nets.view_fusion import ViewFusion
from refers_bench.training import loop, optimizers, schedules
from refers_bench.training.compilation import compile_networks


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


#: As the networks are, and translated by torch for this processor, which takes a minute.
COMPILED = pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
TRAJECTORY = {"absolute": 2e-5, "relative": 2e-5}


def gradient_norms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Joint gradient norm before clipping of each update the loop makes."""
    norms: list[float] = []
    clip = loop.clip_gradients

    def noted(optimizer: Any, max_norm: float) -> Tensor:
        norm = clip(optimizer, max_norm)
        norms.append(norm.item())
        return norm

    monkeypatch.setattr(loop, "clip_gradients", noted)
    return norms


def no_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


def curve(outcome: loop.Outcome, name: str) -> Tensor:
    return torch.tensor([value for _, row, value in outcome.counters.history if row == name], dtype=torch.float64)


def encoder_of(hp: dict[str, Any], data: dict[str, Tensor], *, aggregation: str) -> RadiographTransformer:
    """Of a case's sizes; patches and channels are those of its patch map."""
    kernel = next(value for name, value in data.items() if name.endswith("patch_embeddings.weight"))
    channels, patch = kernel.shape[1:3]
    return RadiographTransformer(
        image_size=hp["img"], patch_size=patch, channels=channels, width=hp["hidden"], depth=hp["layers"],
        heads=hp["heads"], mlp_width=hp["mlp"], dropout=0.0, activation="gelu", position="added",
        aggregation=aggregation,
    )  # fmt: skip


def batches_of(data: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The batches that updates take in turn."""
    numbers = sorted({int(name.partition("/")[0][5:]) for name in data if name.startswith("batch")})
    return [
        {name.removeprefix(f"batch{i}/"): value for name, value in data.items() if name.startswith(f"batch{i}/")}
        for i in numbers
    ]


@COMPILED
def test_finetuning_trajectory(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    data, hp = load(golden / "case13_finetune_trajectory.safetensors")
    encoder = encoder_of(hp, data, aggregation="none")
    model = Classifier(encoder, hp["classes"])

    def ours(prefix: str) -> dict[str, Tensor]:
        official = {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}
        weights = {f"encoder.{name}": value for name, value in encoder_weights(official).items()}
        return weights | head_weights(official)

    model.load_state_dict(ours("init/"))
    if compiled:
        compile_networks(model)
    groups = optimizers.parameter_groups(
        model,
        learning_rate=hp["lr"],
        weight_decay=hp["wd"],
        decay_rule=protocols.resolve("official_code")["finetune.decay_rule"].value,
    )
    shape = schedules.multiplier("cosine", steps=hp["total"], warmup_steps=hp["warmup"])
    batches = [RadiographBatch(images_BCHW=one["images"], labels_BK=one["labels"]) for one in batches_of(data)]
    norms = gradient_norms(monkeypatch)
    outcome = loop.Training(
        model, key="golden", settings=loop.Settings(steps=len(data["record/loss"]), clip_norm=hp["max_grad_norm"]),
        optimizer=optimizers.build("sgd", groups, momentum=hp["momentum"]),
        factor=schedules.per_update(shape, order="before_step"), draw=lambda step: batches[step % len(batches)],
        losses=lambda batch: {"labels": masked_bce(model(batch.images_BCHW), batch.labels_BK)},
        validate=None, state_path=tmp_path / "state", device=torch.device("cpu"),
    ).run()  # fmt: skip
    close(curve(outcome, "loss/total"), data["record/loss"], "loss", **TRAJECTORY)
    close(curve(outcome, "lr"), data["record/lr_used"], "lr", absolute=1e-12)
    close(torch.tensor(norms), data["record/total_norm_before_clip"], "norm", **TRAJECTORY)
    state = model.state_dict()
    for name, value in ours("final/").items():
        close(state[name], value, name, **TRAJECTORY)


@COMPILED
def test_pretraining_trajectory(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    data, hp = load(golden / "case12_pretrain_trajectory.safetensors")
    encoder = encoder_of(hp, data, aggregation="added")
    bert = {"width": hp["hidden"], "depth": hp["b_layers"], "heads": hp["heads"], "mlp_width": hp["b_ffn"]}
    fusion = ViewFusion(reading="official_code", patch_width=hp["hidden"], width=hp["hidden"], views=3, pooled=False)
    model = no_dropout(
        StudyObjective(
            encoder=encoder, view_fusion=fusion, temperature=hp["tau"], image_to_text_weight=hp["lambd"],
            text_to_image_gradient=False,
            report_transformer=ReportTransformer(
                vocabulary=hp["vocab"], visual_width=hp["hidden"], max_tokens=hp["max_len"], width=hp["t_hidden"],
                depth=hp["t_layers"], heads=hp["t_heads"], mlp_width=hp["t_ffn"], dropout=0.0,
            ),
            text_encoder=text_encoder.build(
                {**bert, "dropout": 0.0}, vocabulary=hp["b_vocab"], max_tokens=hp["b_max_pos"],
                out_width=len(data["init/contrastive_bert.fc.bias"]), path=None,
            ),
        )
    )  # fmt: skip

    def ours(prefix: str) -> dict[str, Tensor]:
        official = {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}
        return objective_weights(official)

    model.load_state_dict(ours("init/"))
    if compiled:
        compile_networks(model)
    groups = optimizers.parameter_groups(
        model, learning_rate=hp["lr"], weight_decay=hp["wd"], decay_rule="official_code",
        part_learning_rates={"text_encoder": hp["bert_lr"]},
    )  # fmt: skip
    rule = optimizers.Lookahead(
        optimizers.build("sgd", groups, momentum=hp["momentum"]), steps=hp["lookahead_k"], alpha=hp["lookahead_alpha"]
    )
    shape = schedules.multiplier("cosine", steps=hp["total"], warmup_steps=hp["warmup"])

    def batch(part: dict[str, Tensor]) -> StudyBatch:
        return StudyBatch(
            images_BVCHW=torch.stack([part["image"], part["image2"], part["image3"]], dim=1),
            tokens_BT=part["caption_tokens"], lengths_B=part["caption_lengths"], text_ids_BT=part["input_ids"],
            text_mask_BT=part["attention_mask"], labels_BK=torch.zeros(len(part["image"]), 0),
        )  # fmt: skip

    batches = [batch(part) for part in batches_of(data)]
    norms = gradient_norms(monkeypatch)
    outcome = loop.Training(
        model, key="golden", settings=loop.Settings(steps=hp["steps"], clip_norm=hp["clip"]), optimizer=rule,
        factor=schedules.per_update(shape, order="after_step"), draw=lambda step: batches[step % len(batches)], losses=model,
        validate=None, state_path=tmp_path / "state", device=torch.device("cpu"),
    ).run()  # fmt: skip
    close(curve(outcome, "loss/total"), data["record/loss_total"], "total", **TRAJECTORY)
    close(curve(outcome, "loss/report_generation"), data["record/loss_captioning"], "report generation", **TRAJECTORY)
    consistency = curve(outcome, "loss/study_report_consistency")
    close(consistency, data["record/loss_contrastive"], "consistency", **TRAJECTORY)
    close(torch.tensor(norms), data["record/total_norm_before_clip"], "norm", **TRAJECTORY)
    common = data["record/lr_common_and_bert"][:, 0]
    close(curve(outcome, "lr"), common, "lr", absolute=1e-12)
    state = model.state_dict()
    for name, value in ours("final/").items():
        close(state[name], value, name, **TRAJECTORY)
