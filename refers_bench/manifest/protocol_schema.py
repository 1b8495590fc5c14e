"""The training constants, with their types and ranges: one field per value that moves a result.

A field with a default came later: at its default it is left out of specifications, so that their keys stand.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Ends = Annotated[list[Positive], Field(min_length=2, max_length=2)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
AtMostOne = Annotated[float, Field(gt=0, le=1)]
Size = Annotated[int, Field(ge=16, le=2048)]
Reading = Literal["paper", "official_code"]


def growing(values: list[Any]) -> list[Any]:
    """A list in ascending order that holds nothing twice."""
    if values != sorted(set(values)):
        raise ValueError("each value once, in ascending order")
    return values


class Section(BaseModel):
    """A named group of constants; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class Augmentation(Section):
    """See `refers_bench.data.augment.Augment`."""

    crop: Literal["random", "resized", "none"]
    scale: Ends
    ratio: Ends
    rotation_degrees: Annotated[float, Field(ge=0, le=180)]
    rotation_order: Literal["before_crop", "after_crop"] = "before_crop"
    flip_probability: Share
    brightness: Ends
    contrast: Ends
    jitter_probability: Share


class ImageSection(Section):
    """From file to network input; sizes in pixels, mean and std of values in [0, 1].

    Images are resized by `interpolation`, when prepared and when evaluated. They are prepared by `fit`: stretched to a
    square, or their short side resized and the centre cropped. An `intensity` of "min_max" scales the range of each
    image to [0, 1].
    """

    prepared_size: Size
    size: Size
    channels: Literal[1, 3]
    mean: list[Share]
    std: list[Positive]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    fit: Literal["stretch", "crop"] = "stretch"
    intensity: Literal["as_is", "min_max"] = "as_is"
    pretrain_augment: Augmentation
    finetune_augment: Augmentation


class TransformerSection(Section):
    """Sizes that every transformer has."""

    width: Count
    depth: Count
    heads: Count
    mlp_width: Count
    dropout: BelowOne


class NetworkSection(TransformerSection):
    """See `refers_bench.nets.radiograph_transformer.RadiographTransformer`."""

    reading: Reading
    patch_size: Count
    activation: Literal["relu", "gelu"]
    position: Literal["concatenated", "added"]
    aggregation: Literal["concatenated", "added", "none"]
    readout: Literal["auto", "cls", "mean"]
    init: Literal["random", "imagenet"]
    init_path_name: str


class TextEncoderSection(TransformerSection):
    """BERT: a data root (`path_name`) or the sizes of one trained from scratch."""

    path_name: str


class DecoderSection(TransformerSection):
    """See `refers_bench.nets.report_transformer.ReportTransformer`."""

    activation: Literal["relu", "gelu"]


class TrainingSection(Section):
    """What pre-training and fine-tuning have in common; clip_norm 0 and patience 0 are off.

    A `multistep` schedule multiplies the rate by `milestone_factor` at each of `milestones`, shares of the steps.
    """

    steps: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: NotNegative
    momentum: BelowOne
    weight_decay: NotNegative
    decay_rule: Literal["no_norm_bias", "official_code", "all"]
    warmup_steps: Whole
    schedule: Literal["cosine", "linear", "constant", "multistep"]
    milestones: list[Share] = []
    milestone_factor: AtMostOne = 0.1
    schedule_order: Literal["before_step", "after_step"]
    clip_norm: NotNegative
    precision: Literal["fp32", "bf16", "fp16"]
    accumulate: Count
    validate_every: Whole
    patience: Whole


class PretrainSection(TrainingSection):
    """Batches are of studies; tokens and vocabulary of the report transformer.

    `batch_size` is that of a method with `budget_views` radiographs an example and one pass each. The fairness `budget`
    is what all other methods may use as much of: "updates" (the same batch size), "images" (radiographs) or "compute"
    (encoder passes, a gradient counting twice a forward pass). A method with an `own_batch_size` (not 0) has that one,
    and as many updates as its share of the fairness budget buys; warm-up and validations change with the updates.
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
    lookahead_alpha: AtMostOne
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


class FrozenSection(Section):
    """Evaluation of an encoder that is not trained further; see `refers_bench.training.heads`.

    `components` principal components of the features are classified, 0 for all features; `grid` holds values of C, the
    inverse strength of the L2 penalty; `neighbours` values of k. An attentive probe is trained as `finetune` says, but
    with AdamW and the rate and weight decay given here.
    """

    readout: Literal["auto", "cls", "mean", "cls_mean", "last4_cls"]
    components: Whole
    grid: Annotated[list[Positive], Field(min_length=1), AfterValidator(growing)]
    neighbours: Annotated[list[Count], Field(min_length=1), AfterValidator(growing)]
    temperature: Positive
    attentive_heads: Count
    attentive_learning_rate: Positive
    attentive_weight_decay: NotNegative


class ProtocolSchema(Section):
    """All constants of a resolved protocol."""

    image: ImageSection
    network: NetworkSection
    pretrain: PretrainSection
    finetune: FinetuneSection
    frozen: FrozenSection


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


Rule = tuple[Callable[..., bool], str]
AT_MOST: Rule = (operator.le, "the first at most the second")
MULTIPLE: Rule = (lambda whole, part: whole % part == 0, "the first a multiple of the second")
PER_CHANNEL: Rule = (lambda numbers, channels: len(numbers) == channels, "one number for each channel")
RANGE: Rule = (lambda ends: ends[0] <= ends[1], "the smaller number first")
AREA: Rule = (lambda ends: ends[1] <= 1, "shares of the image's area, at most 1")
ASCENDING: Rule = (lambda falls: falls == sorted(falls), "shares of the steps in ascending order")
MILESTONE: Rule = (lambda schedule, falls: schedule != "multistep" or bool(falls), "at least one milestone")
ROOT: Rule = (lambda init, name: init != "imagenet" or bool(name), "the data root of the weight file")

#: Constants, and the rule that their values must satisfy together: what `ProtocolSchema` cannot see.
RELATIONS: tuple[tuple[str, Rule], ...] = (
    ("image.size image.prepared_size", AT_MOST),
    ("pretrain.warmup_steps pretrain.steps", AT_MOST),
    ("finetune.warmup_steps finetune.steps", AT_MOST),
    ("image.size network.patch_size", MULTIPLE),
    ("network.width network.heads", MULTIPLE),
    ("pretrain.text_encoder.width pretrain.text_encoder.heads", MULTIPLE),
    ("pretrain.decoder.width pretrain.decoder.heads", MULTIPLE),
    ("image.mean image.channels", PER_CHANNEL),
    ("image.std image.channels", PER_CHANNEL),
    *((f"image.pretrain_augment.{name}", RANGE) for name in ("scale", "ratio", "brightness", "contrast")),
    ("image.pretrain_augment.scale", AREA),
    *((f"image.finetune_augment.{name}", RANGE) for name in ("scale", "ratio", "brightness", "contrast")),
    ("image.finetune_augment.scale", AREA),
    ("pretrain.milestones", ASCENDING),
    ("pretrain.schedule pretrain.milestones", MILESTONE),
    ("finetune.milestones", ASCENDING),
    ("finetune.schedule finetune.milestones", MILESTONE),
    ("network.init network.init_path_name", ROOT),
)


def clashes(values: Mapping[str, Any]) -> Iterator[tuple[list[str], str, str]]:
    """Names of constants that are each right and do not fit together, their values in words, and what is allowed.

    Args:
        values: dotted name -> value, each of its right type.
    """
    for constants, (fits, allowed) in RELATIONS:
        names = constants.split()
        if not fits(*(values[name] for name in names)):
            yield names, ", ".join(f"{name} is {values[name]!r}" for name in names), allowed
