"""MRM hides, embeds, restores and is read out as its authors' functions: cases 14 to 19, 21, 22 (MRM), and 24's first part.

Sizes, rates, vocabularies and names are read from the cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from refers_bench import plugins
from refers_bench.manifest import protocols
from refers_bench.nets import foreign_layouts, masked_image, masked_words
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.nets.record_objective import MASK, PAD, RecordBatch, RecordObjective
from refers_bench.training import sections, weight_files

#: Relative to a tensor's largest entry: losses; features and gradients.
LOSS, FEATURE = 1e-5, 1e-4
METHOD: plugins.Method = plugins.load("method", "mrm")


def load(folder: Path, number: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    (path,) = folder.glob(f"case{number}*.safetensors")
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["hparams"])  # noqa: SIM118


def inside(data: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}


def examples(data: Mapping[str, Tensor], *, ending: str) -> list[dict[str, Tensor]]:
    """Independent examples of a case: what stands under each first component of the names that end so."""
    found = [inside(data, name.removesuffix(ending)) for name in sorted(data) if name.endswith(ending)]
    assert found
    return found


def close(found: Tensor, expected: Tensor, relative: float) -> None:
    """Within `relative` of the largest entry."""
    assert found.numel() == expected.numel()
    worst = (found.detach().double().flatten() - expected.double().flatten()).abs().max()
    assert worst <= relative * expected.double().abs().max(), f"differs by {worst:.3g}"


def normalised(image_u8: Tensor) -> Tensor:
    """As the method's source says: grey, three times."""
    mean, std = (METHOD.source_values[f"image.{name}"][0][0] for name in ("mean", "std"))
    return ((image_u8.float() / 255 - mean) / std)[:, None].expand(-1, 3, -1, -1)


def test_masking(golden_medvlp: Path) -> None:
    data, _ = load(golden_medvlp, "14")
    for one in examples(data, ending="in/noise"):
        tokens = one["in/tokens"]
        kept = masked_image.kept_patches(tokens.shape[1], one["in/mask_ratio"].item())
        places, restore, removed = masked_image.masked(one["in/noise"], kept=kept)
        assert torch.equal(restore, one["out/ids_restore"])
        assert torch.equal(removed, one["out/mask"])
        assert torch.equal(masked_image.gathered(tokens, places), one["out/kept_tokens"])


@pytest.mark.parametrize("rule", masked_image.POSITIONS)
def test_positions(golden_medvlp: Path, rule: str) -> None:
    data, _ = load(golden_medvlp, "15")
    for one in examples(data, ending="in/width_grid"):
        width, grid = one["in/width_grid"].tolist()
        found = masked_image.fixed_positions(width, grid, rule=rule)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, one[f"out/{rule}"], rtol=1e-12, atol=1e-12)


def test_image_loss(golden_medvlp: Path) -> None:
    data, hparams = load(golden_medvlp, "16")
    for name, standardise in hparams["norm_pix_loss"].items():
        one = inside(data, f"{name}/")
        image = one["in/image"][:, None].expand(-1, 3, -1, -1)
        patches = masked_image.as_patches(image, hparams["target_patch"])
        target = masked_image.standardised(patches) if standardise else patches
        predicted = one["in/prediction"].requires_grad_()
        loss = masked_image.image_loss(predicted, target, one["in/mask"])
        loss.backward()
        # The recording is of the raw patches, or of the standardised ones.
        error = min((whole[0] - one["out/patches_0"]).abs().max().item() for whole in (patches, target))
        assert error <= FEATURE * one["out/patches_0"].abs().max()
        close(loss, one["out/loss"], LOSS)
        close(predicted.grad, one["grad_in/prediction"], FEATURE)


def test_word_masking(golden_medvlp: Path) -> None:
    data, hparams = load(golden_medvlp, "17")
    pieces, ids = hparams["vocabulary"], data["in/ids"]
    assert (pieces[PAD], pieces[MASK]) == ("[PAD]", "[MASK]")
    follows = torch.tensor([piece.startswith("##") for piece in pieces])[ids]
    lengths = (ids != PAD).long().cumprod(1).sum(1)
    for one in examples(data, ending="in/draws"):
        hidden = masked_words.hidden_words(follows, lengths, one["in/draws"], probability=hparams["probability"])
        assert torch.equal(ids.masked_fill(hidden, MASK), one["out/masked_ids"])


def report_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the authors' BERT, under our names; its pooler is not used."""
    head = inside(weights, "cls.predictions.")
    return {
        **{f"bert.{name}": value for name, value in inside(weights, "bert.").items() if "pooler" not in name},
        **{f"transform.{name}": value for name, value in inside(head, "transform.dense.").items()},
        **{f"norm.{name}": value for name, value in inside(head, "transform.LayerNorm.").items()},
        "decoder.weight": head["decoder.weight"],
        "decoder.bias": head["bias"],
    }


def test_report_loss(golden_medvlp: Path) -> None:
    data, hparams = load(golden_medvlp, "18")
    model = masked_words.MaskedReportModel(
        vocabulary=hparams["vocab_size"],
        max_tokens=hparams["max_position_embeddings"],
        width=hparams["hidden_size"],
        depth=hparams["num_hidden_layers"],
        heads=hparams["num_attention_heads"],
        mlp_width=hparams["intermediate_size"],
        dropout=0.1,
    ).eval()
    assert model.norm.eps == hparams["layer_norm_eps"] and hparams["hidden_act"] == "gelu"
    model.load_state_dict(report_weights(inside(data, "weights/")))
    for one in examples(data, ending="out/loss"):
        ids, labels, latent = one["in/ids"], one["in/labels"], one["in/latent"].requires_grad_()
        logits = model(ids, one["in/attention_mask"], latent)
        loss = masked_words.report_loss(logits, labels, ids != labels, places="all")
        loss.backward()
        close(logits, one["out/logits"], FEATURE)
        close(loss, one["out/loss"], LOSS)
        close(latent.grad, one["grad_in/latent"], FEATURE)


def decoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the authors' decoder, under our names."""
    own = inside(weights, "decoder_")
    layout = foreign_layouts.recognised(own)
    assert layout is not None
    names = {"pred.weight": "predict.weight", "pred.bias": "predict.bias", "position_embedding": "positions"}
    found = {names.get(name, name): value for name, value in layout.convert(own).items()}
    return {**found, "mask_token": weights["mask_token"]}


def objective_of(data: Mapping[str, Tensor], hparams: Mapping[str, Any], **params: Any) -> RecordObjective:
    """MRM's own network and objective, of the case's sizes and with its weights."""
    weights, bert = inside(data, "weights/"), hparams["bert"]
    patch = weights["patch_embed.proj.weight"].shape[-1]
    grid = round((weights["pos_embed"].shape[1] - 1) ** 0.5)
    network = {
        **protocols.resolve_sections("paper")["network"],
        **{name: hparams[name] for name in ("width", "depth", "heads")},
        "mlp_width": len(weights["blocks.0.mlp.fc1.weight"]),
        "patch_size": patch,
    }
    image = {"size": grid * patch, "channels": weights["patch_embed.proj.weight"].shape[1]}
    model = METHOD.Params(
        backbone="vit",
        mask_ratio=hparams["mask_ratio"],
        super_resolution=data["in/image_u8"].shape[-1] // image["size"],
        normalised_target=hparams["norm_pix_loss"],
        **{f"decoder_{name}": hparams[f"decoder_{name}"] for name in ("width", "depth", "heads")},
        report_width=bert["hidden"],
        report_depth=bert["layers"],
        report_heads=bert["heads"],
        report_mlp_width=bert["intermediate"],
        **params,
    )
    facts = SourceFacts(vocabulary=bert["vocabulary"], max_tokens=bert["positions"])
    encoder = METHOD.build_encoder(model, network, image)
    assert METHOD.build_objective is not None
    objective: RecordObjective = METHOD.build_objective(model, facts, network, image, {}, encoder).eval()
    # Fixed positions are ours, and must be theirs.
    close(encoder.position_embedding, weights["pos_embed"], FEATURE)
    close(objective.image_decoder.positions, weights["decoder_pos_embed"], FEATURE)
    layout = foreign_layouts.recognised(weights)
    assert layout is not None
    encoder.load_state_dict(weight_files.encoder_only(layout.convert(weights)))
    restored = decoder_weights(weights)
    del restored["positions"]
    objective.image_decoder.load_state_dict(restored)
    objective.report_projection.load_state_dict(inside(weights, "bert_mlp."))
    objective.report_model.load_state_dict(report_weights(inside(weights, "bert_encoder.model.")))
    return objective


def record(data: Mapping[str, Tensor]) -> RecordBatch:
    ids, labels, mask = data["in/ids"], data["in/labels"], data["in/attention_mask"]
    assert torch.equal(mask, mask.cumprod(1)) and bool((ids[ids != labels] == MASK).all())
    return RecordBatch(
        images_BVCHW=normalised(data["in/image_u8"])[:, None],
        noise_BN=data["in/noise"],
        ids_BT=labels,
        lengths_B=mask.sum(1),
        hidden_BT=ids != labels,
    )


def test_step(golden_medvlp: Path) -> None:
    data, hparams = load(golden_medvlp, "19")
    objective, batch = objective_of(data, hparams), record(data)
    encoder: RadiographTransformer = objective.encoder
    images = batch.images_BVCHW[:, 0]
    small = masked_image.smaller(images, objective.size, antialias=False)
    rows = (small[:, 0] - data["out/small_image_row"][:, None]).abs().amax(2).amin(1)
    assert rows.max() <= FEATURE * data["out/small_image_row"].abs().max(), "no row is the recorded one"
    places, restore, removed = masked_image.masked(batch.noise_BN, kept=objective.kept)
    assert torch.equal(removed, data["out/mask"])
    tokens = masked_image.visible_tokens(encoder, small, places)
    close(tokens, data["out/latent"], FEATURE)
    pixels = objective.image_decoder(objective.met(tokens), restore)
    close(pixels[:, 0], data["out/prediction_first_patch"], FEATURE)
    close(pixels.mean(2), data["out/prediction_mean"], FEATURE)

    losses = objective(batch)
    close(losses["masked_patches"], data["out/image_loss"], LOSS)
    close(losses["masked_words"], data["out/report_loss"], LOSS)
    (losses["masked_patches"] + losses["masked_words"]).backward()
    assert encoder.position_embedding.grad is None, "positions are not trained"
    close(objective.report_projection.weight.grad, data["out/grad_bert_mlp.weight"], FEATURE)
    close(encoder.aggregation_embedding.grad, data["out/grad_cls_token"], FEATURE)
    assert encoder.patch_embedding.weight.grad is not None
    close(
        encoder.patch_embedding.weight.grad.abs().sum()[None], data["out/grad_patch_embed.proj.weight_sum_abs"], FEATURE
    )


def test_step_with_antialiasing(golden_medvlp: Path) -> None:
    data, hparams = load(golden_medvlp, "19")
    losses = objective_of(data, hparams, antialias=True)(record(data))
    close(losses["masked_patches"], data["out/image_loss_antialias"], LOSS)
    close(losses["masked_words"], data["out/report_loss_antialias"], LOSS)


def encoder_of(arguments: Mapping[str, Any], size: int, variant: str) -> Any:
    method: plugins.Method = plugins.load("method", "encoder")
    params = method.Params(layout="mrm", variant=variant, arguments=dict(arguments))
    return method.build_encoder(params, {"readout": "auto"}, {"size": size, "channels": 3}).eval()


def sizes(hparams: Mapping[str, Any]) -> dict[str, Any]:
    return {"embed_dim": hparams["width"], "depth": hparams["depth"], "num_heads": hparams["heads"]}


@torch.no_grad()
def test_released_layout_through_the_encoder(golden_medvlp: Path, tmp_path: Path) -> None:
    data, hparams = load(golden_medvlp, "21")
    torch.save({"model": inside(data, "checkpoint/")}, tmp_path / "MRM.pth")
    x = normalised(data["in/image_u8"])
    encoder = encoder_of(sizes(hparams), hparams["image"], "new_norm")
    coverage, _ = weight_files.load(encoder, tmp_path / "MRM.pth", minimum=1.0)
    assert (coverage.missing, coverage.unexpected) == ((), ())
    assert coverage.derived == ("net.fc_norm.weight", "net.fc_norm.bias")
    close(encoder(x), data["out/tokens_before_norm"], FEATURE)
    features = encoder.features(x)
    close(features, data["out/features"], FEATURE)
    head = nn.Linear(*reversed(data["in/head.weight"].shape))
    head.load_state_dict(inside(data, "in/head."))
    close(head(features), data["out/logits"], FEATURE)


@torch.no_grad()
def test_released_layout_through_the_radiograph_transformer(golden_medvlp: Path, tmp_path: Path) -> None:
    data, hparams = load(golden_medvlp, "21")
    weights = inside(data, "checkpoint/")
    torch.save({"model": weights}, tmp_path / "MRM.pth")
    encoder = RadiographTransformer(
        image_size=hparams["image"],
        patch_size=weights["patch_embed.proj.weight"].shape[-1],
        channels=3,
        width=hparams["width"],
        depth=hparams["depth"],
        heads=hparams["heads"],
        mlp_width=len(weights["blocks.0.mlp.fc1.weight"]),
        dropout=0.0,
        activation="gelu",
        position="added",
        aggregation="none",
    ).eval()
    coverage, _ = weight_files.load(encoder, tmp_path / "MRM.pth", minimum=1.0)
    assert coverage.missing == ()
    encoder.norm = nn.Identity()  # type: ignore[assignment]
    close(encoder(normalised(data["in/image_u8"])), data["out/tokens_before_norm"], FEATURE)


def by_recipe(name: str, number: int, shape: list[int], seed: int) -> Tensor:
    """The value of every entry of the `number`-th tensor, from its place."""
    count, word = int(np.prod(shape)), np.uint32
    x = np.arange(count, dtype=np.uint64) + np.uint64(1_000_003 * number + 7919 * seed)
    x = (x & np.uint64(0xFFFFFFFF)).astype(word)
    x ^= x >> word(16)
    x *= word(0x7FEB352D)
    x ^= x >> word(15)
    x *= word(0x846CA68B)
    x ^= x >> word(16)
    u = x.astype(np.float64) / 2**31 - 1
    if len(shape) > 1 and name not in ("pos_embed", "cls_token"):
        u *= np.sqrt(3 / np.prod(shape[1:]))
    else:
        u = 1 + 0.1 * u if len(shape) == 1 and name.endswith("weight") else 0.1 * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


@torch.no_grad()
def test_full_size(golden_medvlp: Path, tmp_path: Path) -> None:
    data, hparams = load(golden_medvlp, "22_mrm")
    seed, names = int(data["in/seed"]), hparams["names"]
    weights = {name: by_recipe(name, k, names[name], seed) for k, name in enumerate(sorted(names))}
    total = sum(value.double().abs().sum().item() for value in weights.values())
    assert total == pytest.approx(data["out/checksum"].item(), rel=1e-9)
    torch.save({"model": weights}, tmp_path / "MRM.pth")
    x = normalised(data["in/image_u8"])
    encoder = encoder_of({}, x.shape[-1], "new_norm")
    coverage, _ = weight_files.load(encoder, tmp_path / "MRM.pth", minimum=1.0)
    assert coverage.missing == ()
    tokens = encoder(x)
    close(tokens[:, 0], data["out/cls_token_before_norm"], FEATURE)
    close(encoder.patches(tokens).mean(1), data["out/mean_patch_token"], FEATURE)
    close(encoder.features(x), data["out/features"], FEATURE)


def test_mrms_learning_rates(golden_medvlp: Path) -> None:
    """As the method's recipe sets them in a preset of full size, at the fractional epochs of the case."""
    data, hparams = load(golden_medvlp, "24")
    said, recorded = hparams["mrm_pretrain"], inside(data, "mrm_pretrain/")
    recipe = {name: protocols.Value(value=value, origin=source) for name, (value, source) in METHOD.recipe.items()}
    section = protocols.sections_of(protocols.resolve("paper", method=recipe))["pretrain"]
    share = section["warmup_steps"] / section["steps"]
    assert share == said["warmup_epochs"] / said["epochs"]
    epochs = recorded["in/epoch"]
    updates = 20 * said["epochs"]
    steps = {"steps": updates, "warmup_steps": round(share * updates)}
    rule = sections.rules({**section, **steps}, nn.Linear(2, 2), metric="", higher_is_better=False, save_every_s=1.0)
    base = rule.optimizer.param_groups[0]["base_lr"]
    places = epochs * updates / said["epochs"]
    whole = (places == places.round()) & (places < updates)
    assert whole.sum() >= len(epochs) / 2
    rates = [base * rule.factor(int(place)) for place in places[whole]]
    torch.testing.assert_close(
        torch.tensor(rates, dtype=torch.float64), recorded["out/lr"][whole], rtol=1e-9, atol=1e-18
    )
