"""Models what a job takes where nothing was measured: operations, parameters and memory from its specification.

A multiplication with an addition is two operations; a pass with gradient costs three without. Counted are matrix
products and convolutions of encoder, report transformer, text encoder and pixel decoder; normalisation and the
optimiser are not, and are part of the share of the best that a device is assumed to reach. Augmentation and pretext
transforms are counted by the pixel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from refers_bench import plugins
from refers_bench.plan.fairness import WITH_GRADIENT
from refers_bench.plan.forecast.devices import Device

#: ResNet -> (10^9 operations of a pass, 10^6 parameters, 10^6 bytes of float32 activations) of a 224 x 224 radiograph.
RESNETS: Mapping[str, tuple[float, float, float]] = {
    "resnet18": (3.6, 11.2, 25.0),
    "resnet50": (8.2, 23.5, 100.0),
    "resnet101": (15.6, 42.5, 150.0),
}
#: Bytes of activations a token, width and layer that a pass with gradient keeps, in 16 bit.
#: Source: Korthikanti et al. 2022, eq. 1, without the attention matrix.
ACTIVATION_BYTES = 34
#: Memory of a process that has loaded torch, and of a GPU's context: our assumptions.
HOST_BASE, GPU_BASE = 600 << 20, 500 << 20
#: Seconds of a job besides its updates and evaluations, by kind: our assumption.
FIXED_S: Mapping[str, float] = {"prepare": 0.5, "discover": 1.0, "pretrain": 2.0, "finetune": 1.0}
#: Seconds to read, decode and resize one image, and to draw a phantom: our assumptions.
DECODE_S, DRAW_S = 0.04, 0.02
#: Seconds to crop, warp and jitter a pixel of a batch, by device: of one thread of a processor as measured by
#: `Augment.training` of 224 x 224 (26 to 34 ns), of a GPU our assumption (200 bytes at 2 TB/s).
TRANSFORM_S: Mapping[str, float] = {"cpu": 30e-9, "cuda": 0.1e-9}
#: Times as much for a pre-training that distorts its images as well: our assumption.
DISTORTED = 2.0
#: Bytes a second that a results folder takes: our assumption.
WRITES = 200e6
#: Copies of the weights that a state and the training need: weights, best weights (state only), gradient, moments.
MOMENTS: Mapping[str, int] = {"sgd": 1, "adam": 2, "adamw": 2}
#: The auto-encoder of visual words: its batch where the specification says none, and channels of its first stage.
AUTO_ENCODER = {"batch": 32, "first": 32}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What jobs of one shape take on one device.

    Attributes:
        step_s: seconds of an update; of an image, for a preparation, in one process unless it was recorded.
        transform_s: seconds of an update's augmentation and pretext transforms, where `step_s` holds none.
        validation_s: as the next, of a validation while training; None for the same.
        evaluation_s: seconds of a radiograph or study in an evaluation.
        fixed_s: seconds a job takes besides.
        peak_bytes: largest memory, of the GPU or of the worker.
        checkpoint_bytes: size of what a pre-training publishes.
        done: share of its steps that a job does; less than 1 where early stopping was seen.
        busy: wall time over processor time of a probe on the CPU, 1 at least: above it others were at work there.
        source: "recorded", "probed" or "model".
        note: what there is to say about the figures.
    """

    step_s: float
    evaluation_s: float
    fixed_s: float
    peak_bytes: int
    checkpoint_bytes: int = 0
    transform_s: float = 0.0
    validation_s: float | None = None
    done: float = 1.0
    busy: float = 1.0
    source: str = "model"
    note: str = ""


def modelled(spec: Mapping[str, Any], device: Device) -> Cost:
    """The stated model's figures.

    Args:
        spec: of a job of a kind that has a shape.
        device: assumed to reach `Device.flops`.
    """
    kind = spec["kind"]
    if kind == "prepare":
        seconds = DECODE_S + (DRAW_S if spec["phantom"] else 0.0)
        return Cost(step_s=seconds, evaluation_s=0.0, fixed_s=FIXED_S[kind], peak_bytes=HOST_BASE)
    if kind == "discover":
        forward, weights = _auto_encoder(spec["discovery"])
        batch = batch_size(spec)
        flops = device.flops("fp32")
        return Cost(
            step_s=WITH_GRADIENT * forward * batch / flops,
            evaluation_s=forward / flops,
            fixed_s=FIXED_S[kind],
            peak_bytes=_base(device) + 16 * weights + batch * spec["discovery"]["feature_size"] ** 2 * 1_000,
        )
    section = spec[kind]
    forward = encoder_flops(spec)
    step, evaluation = (3 * forward, forward) if kind == "finetune" else _objective(spec, forward)
    step *= section["batch_size"] / section.get("processes", 1)
    weights = parameters(spec)
    return Cost(
        step_s=step / device.flops(section["precision"]),
        evaluation_s=evaluation / device.flops("fp32"),
        validation_s=evaluation / device.flops(section["precision"]),
        transform_s=_transforms(spec, device),
        fixed_s=FIXED_S[kind] + 4 * weights / WRITES,
        peak_bytes=_peak(spec, device, weights),
        checkpoint_bytes=4 * _encoder_parameters(spec) if kind == "pretrain" else 0,
    )


def saving_share(spec: Mapping[str, Any], *, every_s: float = 30.0, most: float = 0.05) -> float:
    """Share of its time that a training spends on saving its resumable state.

    Args:
        spec: of a pre-training or fine-tuning.
        every_s: seconds between two saves.
        most: share that a training allows for it.
    """
    if spec["kind"] not in ("pretrain", "finetune"):
        return 0.0
    copies = 2 + MOMENTS.get(spec[spec["kind"]]["optimizer"], 2)
    return min(most, 4 * parameters(spec) * copies / WRITES / every_s)


def batch_size(spec: Mapping[str, Any]) -> int:
    """Examples of an update."""
    if spec["kind"] == "discover":
        return int(spec["discovery"].get("feature_batch_size", AUTO_ENCODER["batch"]))
    return int(spec[spec["kind"]]["batch_size"])


def radiographs(spec: Mapping[str, Any]) -> int:
    """Radiographs of an update, as a throughput counts them: crops of one radiograph are one each."""
    if spec["kind"] != "pretrain":
        return batch_size(spec)
    method, params = _method(spec)
    return batch_size(spec) * (method.crops(params) or method.views(params))


def encoder_flops(spec: Mapping[str, Any]) -> float:
    """Operations of the encoder's forward pass over one radiograph."""
    net, image, architecture = spec["network"], spec["image"], _architecture(spec)
    if architecture in RESNETS:
        return RESNETS[architecture][0] * 1e9 * float(image["size"] / 224) ** 2
    patches = (image["size"] // net["patch_size"]) ** 2
    layers = net["depth"] * transformer_layer(patches + 1, net["width"], net["mlp_width"])
    embedding = 2 * patches * net["patch_size"] ** 2 * image["channels"] * net["width"]
    position = 4 * (patches + 1) * net["width"] ** 2 if net.get("position") == "concatenated" else 0
    return float(layers + embedding + position)


def transformer_layer(tokens: int, width: int, mlp_width: int) -> float:
    """Operations of one encoder layer: four projections, the attention, two maps of the feed-forward part.

    Example:
        >>> 12 * transformer_layer(197, 768, 3072) / 1e9  # ViT-B/16 at 224 x 224: 17.5 10^9 multiplications
        34.89...
    """
    return 8.0 * tokens * width**2 + 4.0 * tokens**2 * width + 4.0 * tokens * width * mlp_width


def parameters(spec: Mapping[str, Any]) -> int:
    """Parameters that a training keeps: the encoder's, twice with a momentum encoder, and those of its objective."""
    encoder = _encoder_parameters(spec)
    if spec["kind"] != "pretrain":
        return encoder
    method, params = _method(spec)
    count, section = encoder, spec["pretrain"]
    if method.passes(params)[1]:
        count += encoder
    if "reports" in method.needs:
        text, decoder = section["text_encoder"], section["decoder"]
        count += text["depth"] * _layer_parameters(text) + section["vocabulary"] * text["width"]
        # A decoder's layer attends twice.
        layer = _layer_parameters(decoder) + 4 * decoder["width"] ** 2
        count += decoder["depth"] * layer + section["vocabulary"] * decoder["width"]
    return count


def _objective(spec: Mapping[str, Any], forward: float) -> tuple[float, float]:
    """Operations of an update and of an evaluation, for one example of a pre-training."""
    method, params = _method(spec)
    gradient, plain = method.passes(params)
    views = method.views(params)
    images = views * forward
    rest = _reports(spec, method.report_tasks(params), views) if "reports" in method.needs else 0.0
    if method.decoder(params) == "convolutional":
        rest += _pixel_decoder(spec)
    return images * (WITH_GRADIENT * gradient + plain) + WITH_GRADIENT * rest, images * (gradient + plain) + rest


def _transforms(spec: Mapping[str, Any], device: Device) -> float:
    """Seconds of one process in which the images of an update are augmented and distorted."""
    section = spec[spec["kind"]]
    pixels = radiographs(spec) / section.get("processes", 1) * spec["image"]["size"] ** 2
    method, params = _method(spec)
    distorted = spec["kind"] == "pretrain" and method.decoder(params) == "convolutional"
    speed = 1 if device.kind == "cuda" else device.threads
    return float(pixels * TRANSFORM_S[device.kind] * (DISTORTED if distorted else 1.0) / speed)


def _reports(spec: Mapping[str, Any], tasks: Collection[str], views: int) -> float:
    """Operations of report transformer and text encoder over one study, forward."""
    section, net = spec["pretrain"], spec["network"]
    tokens, total = section["text_tokens"], 0.0
    if "study_report_consistency" in tasks:
        text = section["text_encoder"]
        total += text["depth"] * transformer_layer(tokens, text["width"], text["mlp_width"])
    if "report_generation" in tasks:
        decoder, width = section["decoder"], section["decoder"]["width"]
        memory = views * (spec["image"]["size"] // net["patch_size"]) ** 2
        visual = net["width"] * (2 if net.get("aggregation") == "concatenated" else 1)
        across = 4.0 * tokens * width**2 + 4.0 * memory * width**2 + 4.0 * tokens * memory * width
        layer = transformer_layer(tokens, width, decoder["mlp_width"]) + across
        total += 2.0 * memory * visual * width + decoder["depth"] * layer + 2.0 * tokens * width * section["vocabulary"]
    return total


def _pixel_decoder(spec: Mapping[str, Any]) -> float:
    """Operations of the convolutional decoder of patch tokens over one radiograph."""
    net, size = spec["network"], spec["image"]["size"]
    side = size // net["patch_size"]
    channels = net["width"] * (2 if net.get("aggregation") == "concatenated" else 1)
    width, total = max(16, net["width"] // 3), 0.0
    for stage in range(max(1, math.ceil(math.log2(size / side)))):
        side, out = min(2 * side, size), max(8, width >> stage)
        total += 2.0 * 9 * channels * out * side**2
        channels = out
    return total


def _auto_encoder(settings: Mapping[str, Any]) -> tuple[float, int]:
    """Operations of a forward pass of one image, and parameters."""
    side, first, features = settings["feature_size"], AUTO_ENCODER["first"], settings["features"]
    widths = [1, *(min(features, first << stage) for stage in range(3)), features]
    operations, weights = 0.0, 0
    for channels, out in itertools.pairwise(widths):
        side //= 2
        operations += 18.0 * channels * out * side**2
        weights += 9 * channels * out
    back = [*reversed(widths[1:]), first]
    for channels, out in itertools.pairwise(back):
        side *= 2
        operations += 18.0 * channels * out * side**2
        weights += 9 * channels * out
    return operations, weights


def _peak(spec: Mapping[str, Any], device: Device, weights: int) -> int:
    section, net, size = spec[spec["kind"]], spec["network"], spec["image"]["size"]
    wide = 2 if section["precision"] == "fp32" else 1
    if _architecture(spec) in RESNETS:
        each = RESNETS[_architecture(spec)][2] * 1e6 * (size / 224) ** 2 * wide / 2
    else:
        tokens = (size // net["patch_size"]) ** 2 + 1
        each = ACTIVATION_BYTES * wide * tokens * net["width"] * net["depth"]
    examples = section["batch_size"] / section["accumulate"] / section.get("processes", 1)
    if spec["kind"] == "pretrain":
        method, params = _method(spec)
        each *= method.views(params) * method.passes(params)[0]
    return int(_base(device) + 4 * weights * (2 + MOMENTS.get(section["optimizer"], 2)) + each * examples)


def _base(device: Device) -> int:
    return GPU_BASE if device.kind == "cuda" else HOST_BASE


def _encoder_parameters(spec: Mapping[str, Any]) -> int:
    net, image, architecture = spec["network"], spec["image"], _architecture(spec)
    if architecture in RESNETS:
        return int(RESNETS[architecture][1] * 1e6)
    width, tokens = net["width"], (image["size"] // net["patch_size"]) ** 2 + 1
    # Patches, positions and their projection, the aggregation embedding and the last norm.
    around = (net["patch_size"] ** 2 * image["channels"] + tokens + 4) * width
    around += (2 * width + 1) * width if net.get("position") == "concatenated" else 0
    return int(net["depth"] * _layer_parameters(net) + around)


def _layer_parameters(sizes: Mapping[str, Any]) -> int:
    """Projections, feed-forward part, their biases, and two norms."""
    width, inner = int(sizes["width"]), int(sizes["mlp_width"])
    return 4 * width**2 + 2 * width * inner + 9 * width + inner


def _method(spec: Mapping[str, Any]) -> tuple[plugins.Method, Any]:
    method: plugins.Method = plugins.load("method", spec["method"])
    return method, method.Params(**spec["params"])


def _architecture(spec: Mapping[str, Any]) -> str:
    method, params = _method(spec)
    return method.architecture(params)
