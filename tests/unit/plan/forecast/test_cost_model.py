"""The model's operations, parameters, memory and seconds of small networks, computed by hand, and real parameter counts."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.manifest import protocols
from refers_bench.plan.forecast.cost_model import (
    Cost,
    batch_size,
    encoder_flops,
    modelled,
    parameters,
    radiographs,
    saving_share,
    transformer_layer,
    update_flops,
)
from refers_bench.plan.forecast.devices import Device

#: 3 layers of 10 channels over 9 patches and one token; a processor of 80 GFLOP/s in two threads; a GPU.
NETWORK: dict[str, Any] = {
    "patch_size": 4, "width": 10, "depth": 3, "heads": 2, "mlp_width": 7, "position": "concatenated",
    "aggregation": "concatenated",
}  # fmt: skip
IMAGE = {"size": 12, "channels": 1}
CPU = Device(kind="cpu", name="A processor", threads=2)
GPU = Device(kind="cuda", name="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30)
#: Its 16-bit and float32 operations a second: shares of 0.35 and 0.6 of 989 and 67 TFLOP/s.
HALF, SINGLE = 989e12 * 0.35, 67e12 * 0.6
#: Operations of the encoder: layers of 8 x 10 x 10^2 + 4 x 10^2 x 10 + 4 x 10 x 10 x 7, embedding, position.
FORWARD = 3 * (8_000 + 4_000 + 2_800) + 2 * 9 * 16 * 10 + 4 * 10 * 100
#: Its parameters: layers of 4 x 100 + 2 x 70 + 9 x 10 + 7; patches, tokens, and norms; the position's projection.
ENCODER = 3 * 637 + (16 + 10 + 4) * 10 + 21 * 10


def finetuning(method: str = "scratch", *, params: dict[str, Any] | None = None, **network: Any) -> dict[str, Any]:
    section = {"batch_size": 6, "precision": "fp32", "optimizer": "sgd", "accumulate": 1}
    return {
        "kind": "finetune", "method": method, "params": params or {}, "network": {**NETWORK, **network},
        "image": IMAGE, "finetune": section,
    }  # fmt: skip


def pretraining(method: str, *, params: dict[str, Any] | None = None, **network: Any) -> dict[str, Any]:
    section = {
        "batch_size": 4, "processes": 2, "precision": "bf16", "optimizer": "adamw", "accumulate": 2, "text_tokens": 5,
        "vocabulary": 11, "text_encoder": {"width": 6, "depth": 2, "mlp_width": 8},
        "decoder": {"width": 8, "depth": 1, "mlp_width": 12},
    }  # fmt: skip
    return {
        "kind": "pretrain", "method": method, "params": params or {}, "network": {**NETWORK, **network},
        "image": IMAGE, "pretrain": section,
    }  # fmt: skip


def checked(found: Cost, **expected: float) -> None:
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


def test_operations_and_parameters_of_an_encoder() -> None:
    assert (FORWARD, ENCODER) == (51_280, 2_421)
    assert encoder_flops(finetuning()) == FORWARD
    assert parameters(finetuning()) == ENCODER
    assert encoder_flops(finetuning(position="added")) == FORWARD - 4_000
    assert parameters(finetuning(position="added")) == ENCODER - 210
    assert transformer_layer(5, 6, 8) == 8 * 5 * 36 + 4 * 25 * 6 + 4 * 5 * 6 * 8 == 3_000


def test_a_fine_tuning_on_a_processor() -> None:
    checked(
        modelled(finetuning(), CPU),
        step_s=3 * FORWARD * 6 / 80e9, evaluation_s=FORWARD / 80e9, validation_s=FORWARD / 80e9,
        transform_s=6 * 144 * 30e-9 / 2, fixed_s=1.0 + 4 * ENCODER / 200e6, checkpoint_bytes=0,
        # Weights, the best of them and a moment; activations of 10 tokens in 3 layers of 10 channels, twice 34 bytes.
        peak_bytes=(600 << 20) + 4 * ENCODER * 3 + 6 * 34 * 2 * 10 * 10 * 3,
    )  # fmt: skip
    assert (batch_size(finetuning()), radiographs(finetuning("refers"))) == (6, 6)
    assert saving_share(finetuning()) == pytest.approx(4 * ENCODER * 3 / 200e6 / 30)
    assert saving_share(finetuning(), every_s=1e-9) == 0.05
    assert saving_share(finetuning(), every_s=1e-9, most=0.2) == 0.2
    assert saving_share({"kind": "prepare"}) == 0.0


#: Operations of the parts of a report's objective, of one study: two layers of text; a decoder over 27 patches.
TEXT = 2 * 3_000
ACROSS = 4 * 5 * 64 + 4 * 27 * 64 + 4 * 5 * 27 * 8
DECODER = 2 * 27 * 20 * 8 + (8 * 5 * 64 + 4 * 25 * 8 + 4 * 5 * 8 * 12 + ACROSS) + 2 * 5 * 8 * 11
#: Parameters of text encoder and decoder, whose layers attend twice, each with its words.
WORDS = 2 * 302 + 11 * 6 + (532 + 4 * 64) + 11 * 8


def test_a_pre_training_on_reports_on_a_gpu() -> None:
    spec = pretraining("refers", params={"views": 3})
    assert (DECODER, WORDS) == (27_312, 1_546)
    rest = TEXT + DECODER
    evaluation = 3 * FORWARD + rest
    checked(
        modelled(spec, GPU),
        # Two of four studies in each of two processes; a gradient costs twice a forward pass more.
        step_s=2 * 3 * evaluation / HALF, evaluation_s=evaluation / SINGLE, validation_s=evaluation / HALF,
        transform_s=6 * 144 * 0.1e-9, fixed_s=2.0 + 4 * (ENCODER + WORDS) / 200e6, checkpoint_bytes=4 * ENCODER,
        peak_bytes=(500 << 20) + 4 * (ENCODER + WORDS) * 4 + 34 * 10 * 10 * 3 * 3,
    )  # fmt: skip
    assert radiographs(spec) == 12
    assert parameters(spec) == ENCODER + WORDS
    assert saving_share(spec) == pytest.approx(4 * (ENCODER + WORDS) * 4 / 200e6 / 30)
    for tasks, part in (("report_generation", DECODER), ("study_report_consistency", TEXT)):
        one = pretraining("refers", params={"views": 1, "tasks": [tasks]})
        decoder_of_one = part - (18 * (2 * 20 * 8 + 4 * 64 + 4 * 5 * 8) if tasks == "report_generation" else 0)
        checked(modelled(one, GPU), evaluation_s=(FORWARD + decoder_of_one) / SINGLE)
    alone = pretraining("refers", params={"views": 3}, aggregation="none")
    checked(modelled(alone, GPU), evaluation_s=(evaluation - 2 * 27 * 10 * 8) / SINGLE)


def test_passes_without_gradient_and_a_second_encoder() -> None:
    """C2L takes two passes with gradient and two without, and keeps a momentum encoder."""
    spec = pretraining("c2l")
    assert parameters(spec) == 2 * ENCODER
    checked(
        modelled(spec, GPU), step_s=2 * FORWARD * (3 * 2 + 2) / HALF, evaluation_s=FORWARD * 4 / SINGLE,
        peak_bytes=(500 << 20) + 4 * 2 * ENCODER * 4 + 34 * 10 * 10 * 3 * 2,
    )  # fmt: skip


def test_a_restoration_pays_for_its_decoder_and_its_distortions() -> None:
    """From 3 x 3 tokens of 20 channels to 12 x 12 pixels in two stages of 16 and 8 channels."""
    decoder = 2 * 9 * 20 * 16 * 36 + 2 * 9 * 16 * 8 * 144
    spec = pretraining("model_genesis", params={"decoder": "convolutional"})
    checked(
        modelled(spec, GPU), step_s=2 * 3 * (FORWARD + decoder) / HALF, evaluation_s=(FORWARD + decoder) / SINGLE,
        transform_s=2 * 2 * 144 * 0.1e-9,
    )  # fmt: skip
    plain = pretraining("model_genesis", params={"decoder": "convolutional"}, aggregation="none")
    checked(modelled(plain, GPU), evaluation_s=(FORWARD + decoder - 2 * 9 * 10 * 16 * 36) / SINGLE)


def test_a_discovery_trains_an_auto_encoder() -> None:
    """Sides 16, 8, 4, 2, 1 and back; 1, 32, 64, 64, 64 channels and back to 32; 9 weights a pair of channels."""
    down = [(1, 32, 8), (32, 64, 4), (64, 64, 2), (64, 64, 1)]
    up = [(64, 64, 2), (64, 64, 4), (64, 32, 8), (32, 32, 16)]
    operations = sum(18 * one * other * side**2 for one, other, side in down + up)
    weights = sum(9 * one * other for one, other, _ in down + up)
    assert (operations, weights) == (9_547_776, 193_824)
    spec = {"kind": "discover", "discovery": {"feature_size": 16, "features": 64, "feature_batch_size": 8}}
    checked(
        modelled(spec, CPU), step_s=3 * operations * 8 / 80e9, evaluation_s=operations / 80e9, fixed_s=1.0,
        peak_bytes=(600 << 20) + 16 * weights + 8 * 16**2 * 1_000,
    )  # fmt: skip
    assert batch_size({"kind": "discover", "discovery": {}}) == 32


@pytest.mark.parametrize(("phantom", "seconds"), [(None, 0.04), ({"seed": 0}, 0.06)])
def test_a_preparation_decodes_and_draws(phantom: Any, seconds: float) -> None:
    found = modelled({"kind": "prepare", "phantom": phantom}, GPU)
    assert found == Cost(step_s=seconds, evaluation_s=0.0, fixed_s=0.5, peak_bytes=600 << 20)
    assert (found.done, found.busy, found.source, found.transform_s, found.checkpoint_bytes) == (
        1.0,
        1.0,
        "model",
        0,
        0,
    )


@pytest.mark.parametrize(
    ("method", "params", "times"),
    [
        ("gloria", {"backbone": "resnet50"}, (299 / 224) ** 2),
        ("mgca", {"backbone": "resnet50", "upsampled": 448}, 4.0),
        ("checkpoint", {"backbone": "resnet50", "upsampled": 299}, (299 / 224) ** 2),
        ("gloria", {"backbone": "resnet50", "upsampled": 0}, 1.0),
        ("mgca", {"backbone": "resnet50", "upsampled": 112}, 1.0),
        ("convirt", {"backbone": "resnet50"}, 1.0),
    ],
)
def test_an_enlarged_image_counts_all_its_pixels_in_every_job(method: str, params: Any, times: float) -> None:
    """By the paper's ResNet-50, 8.2 x 10^9 operations at 224 x 224; the memory of its activations grows alike."""
    for spec in (finetuning(method, params=params), *([pretraining(method, params=params)] * (method != "checkpoint"))):
        spec["image"] = {"size": 224, "channels": 1}
        assert encoder_flops(spec) == pytest.approx(8.2e9 * times)
    spec = finetuning(method, params=params)
    spec["image"] = {"size": 224, "channels": 1}
    assert update_flops(spec) == pytest.approx(3 * 8.2e9 * times)
    peak = (500 << 20) + 4 * 23.5e6 * 3 + 6 * 100e6 * times
    assert modelled(spec, GPU).peak_bytes == pytest.approx(peak, abs=1)


@pytest.mark.parametrize(
    ("depth", "flops", "weights", "activations"), [(18, 3.6e9, 11.2e6, 25e6), (50, 8.2e9, 23.5e6, 100e6)]
)
def test_a_resnet_has_published_figures_at_224_pixels(
    depth: int, flops: float, weights: float, activations: float
) -> None:
    spec = finetuning("lsp_convnet", params={"depth": depth})
    spec["image"] = {"size": 112, "channels": 1}
    assert encoder_flops(spec) == pytest.approx(flops / 4)
    assert parameters(spec) == weights
    peak = (500 << 20) + 4 * weights * 3 + 6 * activations / 4
    assert modelled(spec, GPU).peak_bytes == pytest.approx(peak, abs=1)


@pytest.mark.parametrize("preset", ["smoke", "cpu"])
@pytest.mark.parametrize("position", ["concatenated", "added"])
def test_parameters_are_those_of_the_network_that_is_built(preset: str, position: str) -> None:
    from refers_bench.nets.radiograph_transformer import build

    sections = protocols.resolve_sections(preset)
    network = {**sections["network"], "position": position}
    built = sum(one.numel() for one in build(network, sections["image"]).parameters())
    spec = {**finetuning(), "network": network, "image": sections["image"]}
    assert parameters(spec) == built
