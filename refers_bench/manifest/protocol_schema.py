"""Which training constants are there, of which type and range? (one field per value that moves a result)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
Optimizer = Literal["sgd", "adamw"]
DecayRule = Literal["no_norm_bias", "official_code"]
Schedule = Literal["cosine", "linear", "constant"]
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
    init: Literal["random", "npz"]
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
    """What pre-training and fine-tuning have in common; clip_norm 0 and patience 0 are off."""

    steps: Count
    batch_size: Count
    optimizer: Optimizer
    learning_rate: NotNegative
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NotNegative
    decay_rule: DecayRule
    warmup_steps: Whole
    schedule: Schedule
    schedule_order: Order
    clip_norm: NotNegative
    precision: Precision
    accumulate: Count
    validate_every: Whole
    patience: Whole


class PretrainSection(TrainingSection):
    """Batches are of studies; tokens and vocabulary of the report transformer."""

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
