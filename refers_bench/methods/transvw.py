"""TransVW: tells apart and restores visual words, patterns that recur at one place of many radiographs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.visual_word_objective import VisualWordObjective

#: Parameters that the discovery of words depends on.
DISCOVERY = (
    "words",
    "patients",
    "val_patients",
    "side",
    "smallest_scale",
    "largest_scale",
    "jitter",
    "border",
    "features",
    "feature_size",
    "feature_steps",
    "feature_batch_size",
    "feature_learning_rate",
    "feature_schedule",
    "feature_patience",
)
#: What a field says where no source states its value.
OURS: dict[str, Any] = {"unstated": True}


class Params(BaseModel, extra="forbid", frozen=True):
    """Discovery, distortions and weights; the published two-dimensional set-up could not be had, so sizes are ours."""

    words: int = Field(default=44, ge=2, le=2000, description="visual words, C (official trainer's default)")
    patients: int = Field(default=200, ge=2, description="nearest patients that show a word, N; fewer if there are")
    val_patients: int = Field(default=30, ge=0, description="the same among the validation patients")
    side: float = Field(
        default=0.3,
        gt=0,
        lt=0.5,
        description="of a crop, as a share of the image's (our reading): 77 of 256 pixels, enlarged to 224; officially "
        "64 of 512, not enlarged",
        json_schema_extra=OURS,
    )
    smallest_scale: float = Field(default=0.78, gt=0, description="of each example's two further crops")
    largest_scale: float = Field(default=1.25, gt=0, le=2, description="of each example's two further crops")
    jitter: float = Field(
        default=0.16, ge=0, le=1, description="of their first rows and columns, as a share of the crop's side"
    )
    border: float = Field(
        default=0.15,
        ge=0,
        lt=0.5,
        description="share of the image at each edge without a centre (our reading)",
        json_schema_extra=OURS,
    )
    features: int = Field(default=512, ge=8, description="numbers that describe a radiograph")
    feature_size: int = Field(
        default=128, ge=16, multiple_of=16, description="side of the images they are computed from, in pixels"
    )
    feature_steps: int = Field(
        default=20_000,
        ge=1,
        description="updates of the auto-encoder that computes them (ours; officially, epochs)",
        json_schema_extra=OURS,
    )
    # The next four came later: at their defaults they are in no key.
    feature_batch_size: int = Field(
        default=32,
        ge=1,
        description="of its batches of radiographs; officially of volumes",
        json_schema_extra={"official": 8},
        exclude_if=lambda value: value == 32,
    )
    feature_learning_rate: float = Field(
        default=0.001, gt=0, description="of its Adam", exclude_if=lambda value: value == 0.001
    )
    feature_schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine",
        description="of its learning rate; officially halved after 20 epochs without a better loss",
        json_schema_extra={"official": "plateau"},
        exclude_if=lambda value: value == "cosine",
    )
    feature_patience: int = Field(
        default=0,
        ge=0,
        le=0,
        description="epochs without a better loss after which it stops; here it never does",
        json_schema_extra={"official": 50},
        exclude_if=lambda value: value == 0,
    )
    feature_skips: Literal[False] = Field(
        default=False,
        description="of the auto-encoder: a U-Net's let the pooled code hold less of the image",
        json_schema_extra={"official": True},
        exclude_if=lambda value: not value,
    )
    dimensions: Literal["2-D"] = Field(
        default="2-D",
        description="block and window of a crop cover more of it than those of a volume: in-painting paints 6 % of the "
        "pixels (of volumes 1.4 %), out-painting 75 % (of volumes 87 %)",
        json_schema_extra={"official": "3-D"},
        exclude_if=lambda value: value == "2-D",
    )
    windows: int = Field(default=5, ge=1, le=10_000, description="shuffled windows a crop")
    alpha: float = Field(
        default=172.5,
        ge=0,
        description="of the elastic warp, in pixels at 64 x 64; officially of noise smoothed along a depth of 32, "
        "which leaves 0.174 of it: shifts are as large here, 5 % of the side",
        json_schema_extra={"official": 991.0},
    )
    sigma: float = Field(default=8.0, gt=0, description="of its Gaussian, in pixels at 64 x 64")
    classification_weight: float = Field(default=0.01, ge=0, description="of the cross-entropy over words")
    restoration_weight: float = Field(default=1.0, ge=0, description="of the mean squared error")
    decoder: Literal["convolutional", "linear"] = Field(
        default="convolutional",
        description="tokens to pixels; the official network is a U-Net with skips",
        json_schema_extra={"official": "U-Net with skips"},
    )
    views: int = Field(default=1, ge=1, le=1, description="crops per example; single ones by definition")


#: Crops are distorted as they are: nothing else is augmented (`data.visual_words.CropSource`).
SEEN: Mapping[str, tuple[Any, str]] = {
    f"image.pretrain_augment.{name}": (value, f"official code: {source}")
    for name, value, source in (
        ("crop", "none", "the crop of a visual word, whole"),
        ("rotation_degrees", 0, "luna_loader does not rotate"),
        ("flip_probability", 0.0, "luna_loader does not flip"),
        ("jitter_probability", 0.0, "luna_loader changes intensities by its curve alone"),
    )
}


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> VisualWordObjective:
    """Cross-entropy over visual words and mean squared error of the undistorted crop."""
    from refers_bench.data.pretext import visual_words
    from refers_bench.nets.restoration import decoder_of
    from refers_bench.nets.visual_word_objective import VisualWordObjective

    return VisualWordObjective(
        encoder=encoder,
        decoder=decoder_of(params.decoder, encoder, size=image["size"]),
        image=image,
        words=params.words,
        classification_weight=params.classification_weight,
        restoration_weight=params.restoration_weight,
        distort=functools.partial(visual_words, windows=params.windows, alpha=params.alpha, sigma=params.sigma),
    )


#: The official training, of a convolutional network on crops of volumes.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    name: (value, f"official code, PyTorch: {source}")
    for name, value, source in (
        ("pretrain.optimizer", "adam", "Adam"),
        ("pretrain.learning_rate", 0.001, "Adam at 1e-3"),
        ("pretrain.weight_decay", 0.0, "no weight decay"),
        ("pretrain.schedule", "multistep", "StepLR, every 40 epochs"),
        ("pretrain.milestones", "every 40 epochs", "StepLR, every 40 epochs"),
        ("pretrain.milestone_factor", 0.5, "StepLR, x 0.5"),
        ("pretrain.warmup_steps", 0, "no warm-up"),
        ("pretrain.batch_size", 64, "batches of 64 crops (12 by its configuration's default)"),
        ("pretrain.steps", "10,000 epochs at most", "ends by patience"),
        ("pretrain.patience", 50, "50 epochs without a lower validation loss"),
        ("pretrain.select", "best_validation", "lowest validation loss"),
    )
}

METHOD = Method(
    label="TransVW",
    source="Haghighi et al., IEEE TMI 2021; github.com/JLiangLab/TransVW (discovery, distortions, weights)",
    impl=2,
    constants=SEEN,
    source_values={**SEEN, **SOURCE_VALUES},
    Params=Params,
    build_objective=build_objective,
    parts="examples",
    decoder=lambda params: params.decoder,
    discovery=lambda params: params.model_dump(mode="json", include=set(DISCOVERY)),
    small={"words": 6, "patients": 4},
)
