"""Models what a job takes where nothing was measured: operations, parameters and memory from its specification.

A multiplication with an addition is two operations; a pass with gradient costs three without. Counted are matrix
products and convolutions of encoder, report transformer, text encoder and pixel decoder; normalisation and the
optimiser are not, and are part of the share of the best that a device is assumed to reach. Augmentation and pretext
transforms are counted by the pixel.

Planning counts by formulas, checked against `torch.utils.flop_counter` in the tests: to count on the meta device it
would have to import torch and build every network, and the objectives of most methods read values, which it has not.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from refers_bench.plan.fairness import WITH_GRADIENT
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.shapes import method_of, unstepped

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
FIXED_S: Mapping[str, float] = {
    "prepare": 0.5,
    "discover": 1.0,
    "pretrain": 2.0,
    "finetune": 1.0,
    "features": 1.0,
    "heads": 10.0,
    "frozen": 0.5,
    "out_of_fold": 0.2,
}
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
    if unstepped(spec):
        return Cost(step_s=0.0, evaluation_s=0.0, fixed_s=FIXED_S[kind], peak_bytes=HOST_BASE)
    base, single = GPU_BASE if device.kind == "cuda" else HOST_BASE, device.flops("fp32")
    if kind == "discover":
        forward, weights = _auto_encoder(spec["discovery"])
        batch = batch_size(spec)
        return Cost(
            step_s=WITH_GRADIENT * forward * batch / single,
            evaluation_s=forward / single,
            fixed_s=FIXED_S[kind],
            peak_bytes=base + 16 * weights + batch * spec["discovery"]["feature_size"] ** 2 * 1_000,
        )
    model = _Training(spec)
    if kind == "features":
        step_s = model.encoder.flops / single
        return Cost(step_s=step_s, evaluation_s=0.0, fixed_s=FIXED_S[kind], peak_bytes=base + 4 * model.parameters())
    (step, evaluation), weights = model.operations(), model.parameters()
    flops, processes = device.flops(model.section["precision"]), model.section.get("processes", 1)
    side = spec["image"]["size"] * model.magnification
    pixels = radiographs(spec) / processes * side**2
    transform_s = TRANSFORM_S[device.kind] * (DISTORTED if model.decodes else 1.0)
    return Cost(
        step_s=step * (model.section["batch_size"] / processes) / flops,
        evaluation_s=evaluation / single,
        validation_s=evaluation / flops,
        transform_s=pixels * transform_s / (1 if device.kind == "cuda" else device.threads),
        fixed_s=FIXED_S[kind] + 4 * weights / WRITES,
        peak_bytes=int(base + 4 * weights * _copies(model.section) + model.activation_bytes()),
        checkpoint_bytes=checkpoint_bytes(spec),
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
    return min(most, 4 * parameters(spec) * _copies(spec[spec["kind"]]) / WRITES / every_s)


def _copies(section: Mapping[str, Any]) -> int:
    """Copies of the weights that a state has, and that a training keeps in memory."""
    return 2 + MOMENTS.get(section["optimizer"], 2)


def feature_bytes(spec: Mapping[str, Any]) -> int:
    """Bytes of the float16 features of one image, where the encoder is a transformer of the specification's width.

    Args:
        spec: of a features job with a network.
    """
    patches = int(spec["image"]["size"] // spec["network"]["patch_size"]) ** 2
    readouts = {"tokens": patches + 1, "cls_mean": 2, "last4_cls": 4}
    return 2 * int(spec["network"]["width"]) * readouts.get(spec["readout"], 1)


def batch_size(spec: Mapping[str, Any]) -> int:
    """Examples of an update."""
    if spec["kind"] == "discover":
        return int(spec["discovery"].get("feature_batch_size", AUTO_ENCODER["batch"]))
    return int(spec[spec["kind"]]["batch_size"])


def radiographs(spec: Mapping[str, Any]) -> int:
    """Radiographs of an update, as a throughput counts them: crops of one radiograph are one each."""
    if spec["kind"] != "pretrain":
        return batch_size(spec)
    method, params = method_of(spec)
    return batch_size(spec) * (method.crops(params) or method.views(params))


def checkpoint_bytes(spec: Mapping[str, Any]) -> int:
    """Bytes of what a job publishes of its network: the encoder of a pre-training, in float32."""
    return 4 * _Training(spec).encoder.parameters if spec["kind"] == "pretrain" else 0


def encoder_flops(spec: Mapping[str, Any]) -> float:
    """Operations of the encoder's forward pass over one radiograph."""
    return _Training(spec).encoder.flops


def update_flops(spec: Mapping[str, Any]) -> float:
    """Operations of an update, for one example (a radiograph or a study), in all networks."""
    return _Training(spec).operations()[0]


def parameters(spec: Mapping[str, Any]) -> int:
    """Parameters that a training keeps: the encoder's, twice with a momentum encoder, and those of its objective."""
    return _Training(spec).parameters()


def transformer_layer(tokens: int, width: int, mlp_width: int) -> float:
    """Operations of one encoder layer: four projections, the attention, two maps of the feed-forward part.

    Example:
        >>> 12 * transformer_layer(197, 768, 3072) / 1e9  # ViT-B/16 at 224 x 224: 17.5 10^9 multiplications
        34.89...
    """
    return 8.0 * tokens * width**2 + 4.0 * tokens**2 * width + 4.0 * tokens * width * mlp_width


class _Encoder(NamedTuple):
    """Of one radiograph's forward pass: operations, parameters, and bytes of 16-bit activations with a gradient."""

    flops: float
    parameters: int
    activation_bytes: float


class _Training:
    """Operations, parameters and memory of a pre-training or fine-tuning."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.section, self.net, self.image = spec.get(spec["kind"], {}), spec["network"], spec["image"]
        self.method, self.params = method_of(spec)
        self.pretrains = spec["kind"] == "pretrain"
        self.views = self.method.views(self.params) if self.pretrains else 1
        self.gradient, self.plain = self.method.passes(self.params) if self.pretrains else (1.0, 0.0)
        self.reads = self.pretrains and "reports" in self.method.needs
        self.decodes = self.pretrains and self.method.decoder(self.params) == "convolutional"
        self.seen = self.method.seen(self.params) if self.pretrains else 1.0
        self.magnification = self.method.magnification(self.params) if self.pretrains else 1
        sizes = (self.params, self.net, self.image, self.section)
        self.transformers = self.method.transformers(*sizes) if self.pretrains else ()
        self.patches = (self.image["size"] // self.net["patch_size"]) ** 2
        self.channels = self.net["width"] * (2 if self.net.get("aggregation") == "concatenated" else 1)
        self.encoder = self._encoder()

    def _encoder(self) -> _Encoder:
        net, image, architecture = self.net, self.image, self.method.architecture(self.params)
        if architecture in RESNETS:
            flops, weights, kept = RESNETS[architecture]
            area = float(image["size"] / 224) ** 2 * self.method.enlargement(self.params)
            return _Encoder(flops * 1e9 * area, int(weights * 1e6), kept * 1e6 * area / 2)
        width, depth, tokens = net["width"], net["depth"], self.patches + 1
        joined = net.get("position") == "concatenated"
        patch = net["patch_size"] ** 2 * image["channels"]
        shown = 1 + int(self.seen * self.patches)
        layers = depth * transformer_layer(shown, width, net["mlp_width"])
        embedding, position = 2 * self.patches * patch * width, 4 * tokens * width**2 if joined else 0
        # Patches, positions and their projection, the aggregation embedding and the last norm.
        around = (patch + tokens + 4) * width + ((2 * width + 1) * width if joined else 0)
        return _Encoder(
            flops=float(layers + embedding + position),
            parameters=int(depth * _layer_parameters(net) + around),
            activation_bytes=ACTIVATION_BYTES * shown * width * depth,
        )

    def operations(self) -> tuple[float, float]:
        """Of an update and of an evaluation, for one example."""
        images = self.views * self.encoder.flops
        rest = (self._reports() if self.reads else 0.0) + (self._pixel_decoder() if self.decodes else 0.0)
        for one in self.transformers:
            rest += one["depth"] * transformer_layer(one["tokens"], one["width"], one["mlp_width"])
            rest += 2.0 * one["tokens"] * one["width"] * one["outputs"]
        update = images * (WITH_GRADIENT * self.gradient + self.plain) + WITH_GRADIENT * rest
        return update, images * (self.gradient + self.plain) + rest

    def parameters(self) -> int:
        count = self.encoder.parameters * (2 if self.plain else 1)
        tasks = self.method.report_tasks(self.params) if self.reads else ()
        if "study_report_consistency" in tasks:
            text = self.section["text_encoder"]
            count += text["depth"] * _layer_parameters(text) + self.section["vocabulary"] * text["width"]
        if "report_generation" in tasks:
            # A decoder's layer attends twice.
            decoder = self.section["decoder"]
            layer = _layer_parameters(decoder) + 4 * decoder["width"] ** 2
            count += decoder["depth"] * layer + self.section["vocabulary"] * decoder["width"]
        for one in self.transformers:
            count += one["depth"] * _layer_parameters(one) + (one["inputs"] + one["outputs"]) * one["width"]
        return count

    def activation_bytes(self) -> float:
        """Of the examples that one process takes at a time."""
        wide = 2 if self.section["precision"] == "fp32" else 1
        examples = self.section["batch_size"] / self.section["accumulate"] / self.section.get("processes", 1)
        return float(self.encoder.activation_bytes * wide * (self.views * self.gradient) * examples)

    def _reports(self) -> float:
        """Operations of report transformer and text encoder over one study, forward."""
        section, tokens, total = self.section, self.section["text_tokens"], 0.0
        tasks = self.method.report_tasks(self.params)
        if "study_report_consistency" in tasks:
            text = section["text_encoder"]
            total += text["depth"] * transformer_layer(tokens, text["width"], text["mlp_width"])
        if "word_regions" in tasks:
            # Two products, and both again where gradients need them: a third of all three passes more.
            reports = self.section["batch_size"] / self.section.get("processes", 1)
            total += 4 / 3 * reports * 4.0 * self.patches * tokens * section["text_encoder"]["width"]
        if "report_generation" in tasks:
            decoder, width, memory = section["decoder"], section["decoder"]["width"], self.views * self.patches
            across = 4.0 * tokens * width**2 + 4.0 * memory * width**2 + 4.0 * tokens * memory * width
            layer = transformer_layer(tokens, width, decoder["mlp_width"]) + across
            words = 2.0 * tokens * width * section["vocabulary"]
            total += 2.0 * memory * self.channels * width + decoder["depth"] * layer + words
        return total

    def _pixel_decoder(self) -> float:
        """Operations of the convolutional decoder of patch tokens over one radiograph."""
        size, channels, total = self.image["size"], self.channels, 0.0
        side = size // self.net["patch_size"]
        for stage in range(max(1, math.ceil(math.log2(size / side)))):
            side, out = min(2 * side, size), max(8, max(16, self.net["width"] // 3) >> stage)
            total += 2.0 * 9 * channels * out * side**2
            channels = out
        return total


def _auto_encoder(settings: Mapping[str, Any]) -> tuple[float, int]:
    """Operations of a forward pass of one image, and parameters."""
    side, first, features = settings["feature_size"], AUTO_ENCODER["first"], settings["features"]
    down = [1, *(min(features, first << stage) for stage in range(3)), features]
    up, least = [*reversed(down[1:]), first], side >> 4
    layers = [(*pair, side >> stage) for stage, pair in enumerate(itertools.pairwise(down), 1)]
    layers += [(*pair, least << stage) for stage, pair in enumerate(itertools.pairwise(up), 1)]
    operations = sum(18.0 * channels * out * size**2 for channels, out, size in layers)
    return operations, sum(9 * channels * out for channels, out, _ in layers)


def _layer_parameters(sizes: Mapping[str, Any]) -> int:
    """Projections, feed-forward part, their biases, and two norms."""
    width, inner = int(sizes["width"]), int(sizes["mlp_width"])
    return 4 * width**2 + 2 * width * inner + 9 * width + inner
