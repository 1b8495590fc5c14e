"""The training constants, with their types and ranges: one field per value that moves a result.

A field with a default came later: at its default it is left out of specifications, so that their keys stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
Optimizer = Literal["sgd", "adam", "adamw"]
DecayRule = Literal["no_norm_bias", "official_code", "all"]
Schedule = Literal["cosine", "linear", "constant", "multistep"]
Order = Literal["before_step", "after_step"]
Precision = Literal["fp32", "bf16", "fp16"]
Reading = Literal["paper", "official_code"]


class Section(BaseModel):
    """A named group of constants; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class Augmentation(Section):
    """See `refers_bench.data.augment.Augment`."""

    crop: Literal["random", "resized", "none"]
    scale: Range
    ratio: Range
    rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    rotation_order: Literal["before_crop", "after_crop"] = "before_crop"
    flip_probability: Share
    brightness: Range
    contrast: Range
    jitter_probability: Share


class ImageSection(Section):
    """From prepared image to network input; sizes in pixels, mean and std of values in [0, 1]."""

    prepared_size: Annotated[int, Field(ge=16, le=2048)]
    size: Annotated[int, Field(ge=16, le=2048)]
    channels: Literal[1, 3]
    mean: list[Share]
    std: list[Positive]
    pretrain_augment: Augmentation
    finetune_augment: Augmentation


class NetworkSection(Section):
    """See `refers_bench.nets.radiograph_transformer.RadiographTransformer`."""

    reading: Reading
    patch_size: Count
    width: Count
    depth: Count
    heads: Count
    mlp_width: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    activation: Literal["relu", "gelu"]
    position: Literal["concatenated", "added"]
    aggregation: Literal["concatenated", "added", "none"]
    readout: Literal["auto", "cls", "mean"]
    init: Literal["random", "imagenet"]
    init_path_name: str


class TextEncoderSection(Section):
    """BERT: a data root (`path_name`) or the sizes of one trained from scratch."""

    path_name: str
    width: Count
    depth: Count
    heads: Count
    mlp_width: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class DecoderSection(Section):
    """See `refers_bench.nets.report_transformer.ReportTransformer`."""

    width: Count
    depth: Count
    heads: Count
    mlp_width: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    activation: Literal["relu", "gelu"]


class TrainingSection(Section):
    """What pre-training and fine-tuning have in common; clip_norm 0 and patience 0 are off.

    A `multistep` schedule multiplies the rate by `milestone_factor` at each of `milestones`, shares of the steps.
    """

    steps: Count
    batch_size: Count
    optimizer: Optimizer
    learning_rate: NotNegative
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NotNegative
    decay_rule: DecayRule
    warmup_steps: Whole
    schedule: Schedule
    milestones: list[Share] = []
    milestone_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    schedule_order: Order
    clip_norm: NotNegative
    precision: Precision
    accumulate: Count
    validate_every: Whole
    patience: Whole


class PretrainSection(TrainingSection):
    """Batches are of studies; tokens and vocabulary of the report transformer.

    `batch_size` is that of a method with `budget_views` radiographs an example and one pass each; `budget` says what
    all other methods may use as much of as it does: "updates" (the same batch size), "images" (radiographs) or
    "compute" (encoder passes, a gradient counting twice a forward pass). A method with an `own_batch_size` (not 0) has
    that one, and as many updates as its share of the budget buys; warm-up and validations change with the updates.
    """

    budget: Literal["updates", "images", "compute"]
    budget_views: Count
    own_batch_size: Whole = 0
    processes: Count

    view_sampling: Reading
    report_flip: Reading
    text_learning_rate: NotNegative
    decoder_learning_rate: NotNegative
    lookahead_steps: Whole
    lookahead_alpha: Annotated[float, Field(gt=0, le=1)]
    select: Literal["best_validation", "last"]
    temperature: Positive
    image_to_text_weight: Share
    text_to_image_gradient: bool
    text_tokens: Annotated[int, Field(ge=4, le=512)]
    vocabulary: Annotated[int, Field(ge=10)]
    text_encoder: TextEncoderSection
    decoder: DecoderSection


class FinetuneSection(TrainingSection):
    """Batches are of radiographs."""

    select: Literal["best_auc", "best_loss", "last"]
    loss: Literal["bce"]


class ProtocolSchema(Section):
    """All constants of a resolved protocol."""

    image: ImageSection
    network: NetworkSection
    pretrain: PretrainSection
    finetune: FinetuneSection


def _constants(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _constants(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


#: Dotted name of every constant -> its field.
CONSTANTS: Mapping[str, FieldInfo] = dict(_constants(ProtocolSchema))


def in_specifications(name: str, value: Any) -> bool:
    """Whether specifications state this value: they leave out later constants at their defaults."""
    info = CONSTANTS[name]
    return bool(info.is_required() or value != info.default)


@dataclass(frozen=True, kw_only=True)
class Clash:
    """Constants that are each right and do not fit together."""

    names: tuple[str, ...]
    found: str
    allowed: str


def clashes(values: Mapping[str, Any]) -> Iterator[Clash]:
    """What `ProtocolSchema` cannot see: relations between constants.

    Args:
        values: dotted name -> value, each of its right type.
    """

    def clash(names: tuple[str, ...], allowed: str) -> Clash:
        found = ", ".join(f"{name} is {values[name]!r}" for name in names)
        return Clash(names=names, found=found, allowed=allowed)

    for small, large in (
        ("image.size", "image.prepared_size"),
        ("pretrain.warmup_steps", "pretrain.steps"),
        ("finetune.warmup_steps", "finetune.steps"),
    ):
        if values[small] > values[large]:
            yield clash((small, large), "the first at most the second")
    for whole, part in (
        ("image.size", "network.patch_size"),
        ("network.width", "network.heads"),
        ("pretrain.text_encoder.width", "pretrain.text_encoder.heads"),
        ("pretrain.decoder.width", "pretrain.decoder.heads"),
    ):
        if values[whole] % values[part]:
            yield clash((whole, part), "the first a multiple of the second")
    for name in ("image.mean", "image.std"):
        if len(values[name]) != values["image.channels"]:
            yield clash((name, "image.channels"), "one number for each channel")
    for part in ("image.pretrain_augment", "image.finetune_augment"):
        for name in ("scale", "ratio", "brightness", "contrast"):
            low, high = values[f"{part}.{name}"]
            if low > high:
                yield clash((f"{part}.{name}",), "the smaller number first")
        if values[f"{part}.scale"][1] > 1:
            yield clash((f"{part}.scale",), "shares of the image's area, at most 1")
    for part in ("pretrain", "finetune"):
        name, falls = f"{part}.milestones", values[f"{part}.milestones"]
        if falls != sorted(falls):
            yield clash((name,), "shares of the steps in ascending order")
        if values[f"{part}.schedule"] == "multistep" and not falls:
            yield clash((f"{part}.schedule", name), "at least one milestone")
    if values["network.init"] == "imagenet" and not values["network.init_path_name"]:
        yield clash(("network.init", "network.init_path_name"), "the data root of the weight file")
