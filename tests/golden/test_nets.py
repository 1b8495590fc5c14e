"""Networks compute what the authors' modules computed: every stored output and gradient of cases 1-6, 8, 10, 11, 14.

Tolerances and conventions: README of the fixtures, section 0. Dropout is off, weights are random. Sizes and constants are
those of a case's own `hparams` and tensors, so that another set of the same format passes as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import official_checkpoints
from refers_bench.errors import UserError
from refers_bench.nets import foreign_layouts
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.losses import masked_bce, report_generation, study_report_contrast
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.nets.report_transformer import ReportTransformer
from refers_bench.nets.study_objective import StudyObjective
from refers_bench.nets.text_encoder import TextEncoder
from refers_bench.nets.view_fusion import ViewFusion


class Case:
    """One fixture file, by its number: its tensors and hyper-parameters."""

    def __init__(self, golden: Path, number: str) -> None:
        with safe_open(only(golden, f"{number}_*.safetensors"), framework="pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.hparams: dict[str, Any] = json.loads((file.metadata() or {}).get("hparams", "{}"))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}

    @property
    def largest_gradient(self) -> float:
        return max((v.abs().max().item() for n, v in self.tensors.items() if n.startswith("grad")), default=0.0)


def only(folder: Path, pattern: str) -> Path:
    """The one file of that name: what follows a case's number may say its sizes."""
    (path,) = folder.glob(pattern)
    return path


def same(found: Tensor, expected: Tensor, what: str) -> None:
    """Forward rule: |a - b| <= 1e-5 + 1e-5 max|ref|."""
    assert found.shape == expected.shape, what
    limit = 1e-5 + 1e-5 * expected.abs().max().item()
    worst = (found.detach() - expected).abs().max().item()
    assert worst <= limit, f"{what}: {worst:.2e} > {limit:.2e}"


def same_gradients(found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor], scale: float) -> None:
    """Gradient rule: |a - b| <= 1e-4 max|ref| + 1e-6 G."""
    assert expected, "no gradient stored"
    for name, reference in expected.items():
        gradient = found[name]
        assert gradient is not None, f"no gradient reaches {name}"
        assert gradient.shape == reference.shape, name
        limit = 1e-4 * reference.abs().max().item() + 1e-6 * scale
        worst = (gradient - reference).abs().max().item()
        assert worst <= limit, f"gradient of {name}: {worst:.2e} > {limit:.2e}"


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def encoder(h: Mapping[str, Any], weights: Mapping[str, Tensor], *, grid: int | None = None) -> RadiographTransformer:
    """Of a case's sizes; patches and channels are those of its patch map."""
    kernel = next(value for name, value in weights.items() if name.endswith("patch_embeddings.weight"))
    channels, patch = kernel.shape[1:3]
    return RadiographTransformer(
        image_size=patch * grid if grid else h["img"], patch_size=patch, channels=channels, width=h["hidden"],
        depth=h["layers"], heads=h["heads"], mlp_width=h["mlp"], dropout=0.0, activation="gelu", position="added",
        aggregation="added",
    ).eval()  # fmt: skip


def patcher(width: int) -> RadiographTransformer:
    """For its recurrent concatenation alone, which has no weights."""
    return RadiographTransformer(
        image_size=2, patch_size=1, channels=1, width=width, depth=1, heads=1, mlp_width=1, dropout=0.0,
        activation="gelu", position="added", aggregation="added",
    ).eval()  # fmt: skip


def filled(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    module.load_state_dict(weights, strict=True)
    return module


def fusion(width: int) -> ViewFusion:
    """Of three views: the official class has three maps."""
    return ViewFusion(reading="official_code", patch_width=width, width=width, views=3, pooled=False)


def decoder(h: Mapping[str, Any], *, visual: int, prefix: str = "t_") -> ReportTransformer:
    return ReportTransformer(
        vocabulary=h["vocab"], visual_width=visual, max_tokens=h["max_len"], width=h[f"{prefix}hidden"],
        depth=h[f"{prefix}layers"], heads=h[f"{prefix}heads"], mlp_width=h[f"{prefix}ffn"], dropout=0.0,
    ).eval()  # fmt: skip


def bert(h: Mapping[str, Any], weights: Mapping[str, Tensor], *, prefix: str = "") -> TextEncoder:
    """Of a case's sizes; the width of its feature is that of its last map."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=h[f"{prefix}vocab"], hidden_size=h["hidden"], num_hidden_layers=h[f"{prefix}layers"],
        num_attention_heads=h["heads"], intermediate_size=h[f"{prefix}ffn"],
        max_position_embeddings=h[f"{prefix}max_pos"], layer_norm_eps=h.get("layer_norm_eps", 1e-12),
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    out = next(value for name, value in weights.items() if name.endswith("fc.bias") and "fusion" not in name)
    return TextEncoder(BertModel(config), len(out)).eval()


def test_case_01_encoder(golden: Path) -> None:
    case = Case(golden, "case01")
    net = encoder(case.hparams, case.under("param/"))
    weights = {f"transformer.{n.removeprefix('transformer.')}": v for n, v in case.under("param/").items()}
    filled(net, official_checkpoints.encoder_weights(weights))
    images = case["in/images"].clone().requires_grad_()
    embedded = net.embed(images)  # type: ignore[operator]
    same(embedded, case["out/embeddings"], "embeddings")
    same(net.blocks[0](embedded), case["out/after_block0"], "first block")  # type: ignore[index,operator]
    tokens = net(images)
    same(tokens, case["out/tokens"], "tokens")
    loss = tokens.square().sum()
    same(loss, case["out/loss"], "loss")
    loss.backward()
    stored = {f"transformer.{n.removeprefix('transformer.')}": v for n, v in case.under("grad/").items()}
    same_gradients(gradients(net), official_checkpoints.encoder_weights(stored), case.largest_gradient)
    same_gradients({"images": images.grad}, case.under("grad_in/"), case.largest_gradient)


@pytest.mark.parametrize("suffix", ["", "_view2"])
def test_case_02_recurrent_concatenation_as_coded(golden: Path, suffix: str) -> None:
    case = Case(golden, "case02")
    tokens = case[f"in/tokens{suffix}"]
    same(patcher(tokens.shape[-1]).patches(tokens), case[f"out/patches{suffix}"], "patches")


def test_case_03_view_fusion(golden: Path) -> None:
    case = Case(golden, "case03")
    net = fusion(case["in/tokens_view1"].shape[-1])
    filled(
        net,
        {
            n.removeprefix("view_fusion."): v
            for n, v in official_checkpoints.objective_weights(fused_names(case.under("param/"))).items()
        },
    )
    tokens = [case[f"in/tokens_view{v}"].clone().requires_grad_() for v in (1, 2, 3)]
    patches = [t[:, 1:] + t[:, :1] for t in tokens]
    for view in patches:
        view.retain_grad()
    stacked = torch.stack(patches, 1)
    weights = net.weights(stacked)
    for v in (1, 2, 3):
        same(patches[v - 1], case[f"mid/patches_view{v}"], f"patches of view {v}")
        same(weights[:, v - 1], case[f"out/weight{v}"], f"gate {v}")
    memory, study = net(stacked, torch.stack([t[:, 0] for t in tokens], 1))
    same(memory, case["out/fused"], "fused")
    same(study, case["out/global_feature"], "study feature")
    memory.square().sum().backward()
    stored = {
        n.removeprefix("view_fusion."): v
        for n, v in official_checkpoints.objective_weights(fused_names(case.under("grad/"))).items()
    }
    same_gradients(gradients(net), stored, case.largest_gradient)
    same_gradients(
        {f"patches_view{v}": patches[v - 1].grad for v in (1, 2, 3)}, case.under("grad_mid/"), case.largest_gradient
    )
    same_gradients(
        {f"tokens_view{v}": tokens[v - 1].grad for v in (1, 2, 3)}, case.under("grad_in/"), case.largest_gradient
    )


def fused_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"fusion.{name.removeprefix('fusion.')}": value for name, value in weights.items()}


def test_case_04_contrastive_loss(golden: Path) -> None:
    case = Case(golden, "case04")
    batches = sorted({name.partition("/")[0] for name in case.tensors})
    assert batches
    for batch in batches:
        check_contrast(case, batch)


def check_contrast(case: Case, batch: str) -> None:
    temperature, weight = case.hparams["tau"], case.hparams["lambd"]
    image = case[f"{batch}/in/image_feature"].clone().requires_grad_()
    text = case[f"{batch}/in/text_feature"].clone().requires_grad_()
    loss = study_report_contrast(
        image, text, temperature=temperature, image_to_text_weight=weight, text_to_image_gradient=False
    )
    same(loss, case[f"{batch}/out/loss"], f"loss of batch {batch}")
    # Each direction alone is the mean of its stored per-sample terms.
    for share, name in ((1.0, "image_to_text"), (0.0, "text_to_image")):
        alone = study_report_contrast(
            image, text, temperature=temperature, image_to_text_weight=share, text_to_image_gradient=True
        )
        same(alone, case[f"{batch}/out/per_sample_{name}"].mean(), f"{name} of batch {batch}")
    loss.backward()
    stored = case.under(f"{batch}/grad_in/")
    scale = max(value.abs().max().item() for value in stored.values())
    same_gradients({"image_feature": image.grad, "text_feature": text.grad}, stored, scale)


def test_case_05_report_transformer(golden: Path) -> None:
    case = Case(golden, "case05")
    h = case.hparams
    net = decoder(h, visual=h["visual_dim"], prefix="")
    filled(net, of_decoder(case.under("param/")))
    features = case["in/visual_features"].clone().requires_grad_()
    tokens, lengths = find(case, "tokens"), find(case, "lengths")
    same(net.embed(tokens), case["out/embedding"], "embedding")  # type: ignore[operator]
    logits = net(features, tokens, lengths)
    same(logits, case["out/logits"], "logits")
    loss = report_generation(logits, tokens)
    same(loss, case["out/loss"], "loss")
    loss.backward()
    same_gradients(gradients(net), of_decoder(case.under("grad/")), case.largest_gradient)
    same_gradients({"visual_features": features.grad}, case.under("grad_in/"), case.largest_gradient)


def of_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {f"textual.{name.removeprefix('textual.')}": value for name, value in weights.items()}
    return {n.removeprefix("report_transformer."): v for n, v in official_checkpoints.objective_weights(named).items()}


def find(case: Case, ending: str) -> Tensor:
    return next(value for name, value in case.tensors.items() if name.startswith("in/") and name.endswith(ending))


def objective(
    net: nn.Module, width: int, h: Mapping[str, Any], text: nn.Module, *, constants: Mapping[str, Any] | None = None
) -> StudyObjective:
    """The whole pre-training objective; temperature and lambda are the case's unless they are given."""
    constants = constants or h
    return StudyObjective(
        encoder=net, view_fusion=fusion(width), report_transformer=decoder(h, visual=width), text_encoder=text,
        temperature=constants["tau"], image_to_text_weight=constants["lambd"], text_to_image_gradient=False,
    ).eval()  # fmt: skip


class GivenFeature(nn.Module):
    """Stands where the text branch would: the fixture gives its output."""

    def __init__(self, feature: Tensor) -> None:
        super().__init__()
        self.feature = feature

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return self.feature


def batch_of(case: Case, prefix: str = "in/", *, images: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        images_BVCHW=torch.stack([case[f"{prefix}image{v}"] for v in ("", "2", "3")], 1) if images else None,
        tokens_BT=case[f"{prefix}caption_tokens"], lengths_B=case[f"{prefix}caption_lengths"],
        text_ids_BT=case.tensors.get(f"{prefix}input_ids"), text_mask_BT=case.tensors.get(f"{prefix}attention_mask"),
    )  # fmt: skip


def check_objective(
    case: Case, net: StudyObjective, losses: Mapping[str, Tensor], memory: Tensor, study: Tensor
) -> None:
    same(memory, case["out/fused"], "fused")
    same(study, case["out/global_feature"], "study feature")
    same(losses["study_report_consistency"], case["out/loss_contrastive"], "contrastive loss")
    same(losses["report_generation"], case["out/loss_captioning"], "generation loss")
    same(sum(losses.values()), case["out/loss_total"], "total loss")  # type: ignore[arg-type]


def check_objective_gradients(case: Case, net: StudyObjective, groups: Mapping[str, str]) -> None:
    found = gradients(net)
    same_gradients(found, official_checkpoints.objective_weights(case.under("grad/")), case.largest_gradient)
    for theirs, ours in groups.items():
        norm = (
            torch.stack([g.square().sum() for n, g in found.items() if g is not None and n.startswith(ours)])
            .sum()
            .sqrt()
        )
        same_gradients({theirs: norm}, {theirs: case[f"gradnorm/{theirs}"]}, case.largest_gradient)


def test_case_06a_objective_end_to_end(golden: Path) -> None:
    case = Case(golden, "case06a")
    h = case.hparams
    text = case["in/text_feature"].clone().requires_grad_()
    net = objective(encoder(h, case.under("param/")), h["hidden"], h, GivenFeature(text))
    filled(net, official_checkpoints.objective_weights(case.under("param/")))
    batch = batch_of(case)
    memory, study = net.fuse(batch.images_BVCHW)
    losses = net(batch)
    check_objective(case, net, losses, memory, study)
    logits = net.report_transformer(memory, batch.tokens_BT, batch.lengths_B)  # type: ignore[misc]
    same(logits, case["out/logits"], "logits")
    assert torch.equal(logits.argmax(-1), case["out/predictions"])
    sum(losses.values()).backward()  # type: ignore[union-attr]
    check_objective_gradients(
        case, net, {"visual": "encoder", "fusion": "view_fusion", "textual": "report_transformer"}
    )
    same_gradients({"text_feature": text.grad}, case.under("grad_in/"), case.largest_gradient)


def test_case_06b_objective_of_given_tokens(golden: Path) -> None:
    case = Case(golden, "case06b")
    text = case["in/text_feature"].clone().requires_grad_()
    width = case.hparams["dim"]
    net = objective(patcher(width), width, case.hparams, GivenFeature(text))
    net.load_state_dict(official_checkpoints.objective_weights(case.under("param/")), strict=False)
    tokens = [case[f"in/visual_tokens{v}"].clone().requires_grad_() for v in (1, 2, 3)]
    memory, study = net.fuse_tokens(torch.stack(tokens, 1))
    losses = net.losses_of(memory, study, batch_of(case, images=False))
    check_objective(case, net, losses, memory, study)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    check_objective_gradients(case, net, {"fusion": "view_fusion", "textual": "report_transformer"})
    found = {"text_feature": text.grad, **{f"visual_tokens{v}": tokens[v - 1].grad for v in (1, 2, 3)}}
    same_gradients(found, case.under("grad_in/"), case.largest_gradient)


def labels_of(case: Case) -> Tensor:
    if "in/labels" in case.tensors:
        return case["in/labels"]
    return case["in/labels_two_column"].argmax(1, keepdim=True).float()


def classifier_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        **{f"encoder.{name}": value for name, value in official_checkpoints.encoder_weights(weights).items()},
        **official_checkpoints.head_weights(weights),
    }


@pytest.mark.parametrize("number", ["case08a", "case08b", "case08c"])
def test_case_08_fine_tuning_models(golden: Path, number: str) -> None:
    case = Case(golden, number)
    layers = tuple(
        sorted(int(found[1]) for name in case.tensors if (found := re.fullmatch(r"out/feature_layer(\d+)", name)))
    )
    assert bool(layers) == (number == "case08b")
    weights = case.under("param/")
    net = Classifier(encoder(case.hparams, weights), case.hparams["classes"], layers=layers).eval()
    filled(net, classifier_weights(weights))
    logits = net(case["in/images"])
    same(logits, case["out/logits"], "logits")
    loss = masked_bce(logits, labels_of(case))
    same(loss, case["out/loss"], "loss")
    if "out/probabilities" in case.tensors:
        same(logits.sigmoid(), case["out/probabilities"], "probabilities")
    if layers:
        features = net.encoder.readout_layers(case["in/images"], layers)  # type: ignore[operator]
        joined = torch.cat([case[f"out/feature_layer{layer}"] for layer in layers], -1)
        same(features, joined.flatten(1), f"features of layers {layers}")
    loss.backward()
    same_gradients(gradients(net), classifier_weights(case.under("grad/")), case.largest_gradient)


def jax(path: Path) -> dict[str, Tensor]:
    with np.load(path) as arrays:
        return foreign_layouts.from_jax(arrays)


def same_positions(found: Tensor, expected: Tensor, old: int, new: int) -> None:
    """Resized positions; where the function the authors called ends a grid in zeros, all but those.

    It does so where the last coordinate, (new - 1) steps of (old - 1) / (new - 1), is rounded to more than old - 1.
    """
    same(found[:, :1], expected[:, :1], "class position")
    grids = [x[:, 1:].reshape(1, new, new, -1) for x in (found, expected)]
    beyond = (new - 1) * ((old - 1) / (new - 1)) > old - 1
    if beyond:
        assert not grids[1][:, -1].any()
        assert not grids[1][:, :, -1].any()
    inside = slice(None, -1) if beyond else slice(None)
    same(grids[0][:, inside, inside], grids[1][:, inside, inside], f"grid {old} -> {new}")


def test_case_08d_other_image_sizes(golden: Path) -> None:
    case = Case(golden, "case08d")
    h, official = case.hparams, jax(only(golden, "case08d_*.npz"))
    assert h["new_grids"]
    for grid in h["new_grids"]:
        weights = classifier_weights(official)
        expected = case[f"grid{grid}/out/position_embeddings"]
        found = foreign_layouts.resize_positions(weights["encoder.position_embedding"], grid)
        same_positions(found, expected, h["grid"], grid)
        net = Classifier(encoder(h, official, grid=grid), h["classes"]).eval()
        filled(net, {**weights, "encoder.position_embedding": expected})
        images = case[f"grid{grid}/in/images"]
        same(net.encoder(images), case[f"grid{grid}/out/tokens"], f"tokens at {grid}")  # type: ignore[operator]
        same(net(images), case[f"grid{grid}/out/logits"], f"logits at {grid}")


def test_case_08d_position_embeddings(golden: Path) -> None:
    case = Case(golden, "case08d")
    assert case.hparams["extra"]
    for old, new in case.hparams["extra"]:
        found = foreign_layouts.resize_positions(case[f"resize_{old}_to_{new}/in/position_embeddings"], new)
        same_positions(found, case[f"resize_{old}_to_{new}/out/position_embeddings"], old, new)


def test_case_10_jax_layout(golden: Path) -> None:
    case = Case(golden, "case10")
    official = jax(only(golden, "case10_*.npz"))
    for name, expected in case.under("param/").items():
        assert torch.equal(official[name], expected), name
    net = Classifier(encoder(case.hparams, official), case.hparams["classes"]).eval()
    filled(net, classifier_weights(official))
    same(net.encoder(case["in/images"]), case["out/tokens"], "tokens")  # type: ignore[operator]
    same(net(case["in/images"]), case["out/logits"], "logits")


def test_case_11_text_encoder(golden: Path) -> None:
    case = Case(golden, "case11")
    net = bert(case.hparams, case.under("param/"))
    rename = lambda weights: {
        n.replace("text_encoder.", "bert.").removeprefix("contrastive_bert."): v for n, v in weights.items()
    }
    net.load_state_dict(rename(case.under("param/")), strict=True)
    feature = net(case["in/input_ids"], case["in/attention_mask"])
    same(feature, case["out/feature"], "feature")
    feature.square().sum().backward()
    same_gradients(gradients(net), rename(case.under("grad/")), case.largest_gradient)


def test_case_14a_pretraining_checkpoint(golden: Path) -> None:
    case = Case(golden, "case14a")
    h = case.hparams["model_config"]
    content = torch.load(golden / "checkpoint_pretrain_official_layout.pt", weights_only=True)
    assert content["iteration"] == case.hparams["iteration"]
    text = bert(h, content["model"], prefix="b_")
    # The checkpoint is of case 12, which names the constants of the loss.
    net = objective(encoder(h, content["model"]), h["hidden"], h, text, constants=Case(golden, "case12").hparams)
    filled(net, official_checkpoints.objective_weights(official_checkpoints.unwrapped(content)))
    batch = batch_of(case)
    same(net.encoder(case["in/image"]), case["out/visual_tokens"], "tokens")
    same(text(batch.text_ids_BT, batch.text_mask_BT), case["out/text_feature"], "text feature")
    memory, study = net.fuse(batch.images_BVCHW)
    check_objective(case, net, net(batch), memory, study)
    same(net.report_transformer(memory, batch.tokens_BT, batch.lengths_B), case["out/logits"], "logits")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("file", "with_head"),
    [
        ("checkpoint_finetune_init_official_layout.pt", False),
        ("checkpoint_finetune_init_with_extra_keys.pt", False),
        ("checkpoint_finetuned_official_layout.bin", True),
        ("checkpoint_pretrain_official_layout.pt", False),
    ],
)
def test_case_14b_fine_tuning_checkpoints(golden: Path, file: str, with_head: bool) -> None:
    case = Case(golden, "case14b")
    official = official_checkpoints.unwrapped(torch.load(golden / file, weights_only=True))
    net = Classifier(encoder(case.hparams, official), case.hparams["classes"]).eval()
    filled(net.encoder, official_checkpoints.encoder_weights(official))
    same(net.encoder(case["in/images"]), case["out/tokens"], "tokens")
    head = official_checkpoints.head_weights(official) or {
        "head.weight": case["head/weight"],
        "head.bias": case["head/bias"],
    }
    assert bool(official_checkpoints.head_weights(official)) == with_head
    net.head.load_state_dict({name.removeprefix("head."): value for name, value in head.items()})
    same(net(case["in/images"]), case["out/logits"], "logits")


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(UserError, match=r"no weight of a radiograph transformer among 1 entries"):
        official_checkpoints.encoder_weights({"conv1.weight": torch.zeros(1)})
