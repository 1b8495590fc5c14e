"""Model Genesis: restore a radiograph from shuffled pixels, bent intensities, in-painting and out-painting."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from refers_bench.plugins import Method

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.radiograph_transformer import RadiographTransformer
    from refers_bench.nets.restoration import RestorationObjective


class Params(BaseModel):
    """Probabilities of the official code, in their two-dimensional form, and what restores the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: int = Field(
        default=700, ge=1, le=10_000,
        description="shuffled windows an image: each pixel is covered as often as by the official 10,000 of a volume",
        json_schema_extra={"official": 10_000},
    )  # fmt: skip
    shuffle: float = Field(default=0.5, ge=0, le=1, description="probability of local pixel shuffling")
    intensity: float = Field(
        default=0.9, ge=0, le=1, description="probability of a Bezier curve, half of them inverted"
    )
    paint: float = Field(default=0.9, ge=0, le=1, description="probability of painting")
    inpaint: float = Field(default=0.2, ge=0, le=1, description="share of in-painting among it; else out-painting")
    decoder: Literal["convolutional", "linear"] = Field(
        default="convolutional", description="tokens to pixels; the official network is a U-Net with skips",
        json_schema_extra={"official": "U-Net with skips"},
    )  # fmt: skip
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


def build_encoder(params: Params, network: Mapping[str, Any], image: Mapping[str, Any]) -> RadiographTransformer:
    """The protocol's radiograph transformer."""
    from refers_bench.nets.radiograph_transformer import build

    return build(network, image)


def build_objective(
    params: Params, facts: SourceFacts, network: Mapping[str, Any], image: Mapping[str, Any],
    pretrain: Mapping[str, Any], encoder: RadiographTransformer,
) -> RestorationObjective:  # fmt: skip
    """Mean squared error between restored and flipped clean grey levels, over all pixels."""
    from refers_bench.data.distortions import flips, genesis
    from refers_bench.nets.restoration import RestorationObjective, decoder_of

    chances = params.model_dump(include={"windows", "shuffle", "intensity", "paint", "inpaint"})
    return RestorationObjective(
        encoder=encoder, decoder=decoder_of(params.decoder, encoder, size=image["size"]), image=image, target=flips,
        distort=functools.partial(genesis, **chances),
    )  # fmt: skip


#: The official training, of a convolutional network on volumes; flips are part of the pretext task.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    name: (value, f"official code, PyTorch: {source}")
    for name, value, source in (
        ("pretrain.optimizer", "sgd", "SGD"),
        ("pretrain.learning_rate", 1.0, "SGD at 1.0"),
        ("pretrain.momentum", 0.9, "momentum 0.9"),
        ("pretrain.weight_decay", 0.0, "no weight decay"),
        ("pretrain.schedule", "multistep", "StepLR, every 40 epochs"),
        ("pretrain.milestones", "every 40 epochs", "StepLR, every 40 epochs"),
        ("pretrain.milestone_factor", 0.5, "StepLR, x 0.5"),
        ("pretrain.warmup_steps", 0, "no warm-up"),
        ("pretrain.batch_size", 6, "batches of 6 volumes"),
        ("pretrain.steps", "10,000 epochs at most", "ends by patience"),
        ("pretrain.patience", 50, "50 epochs without a lower validation loss"),
        ("pretrain.select", "best_validation", "lowest validation loss"),
        ("image.pretrain_augment.crop", "none", "the volumes as they are"),
        ("image.pretrain_augment.rotation_degrees", 0, "no rotation"),
        ("image.pretrain_augment.jitter_probability", 0.0, "no jitter but the pretext task's"),
    )
}

METHOD = Method(
    label="Model Genesis",
    source="Zhou et al., Medical Image Analysis 2021; github.com/MrGiovanni/ModelsGenesis (probabilities and sizes)",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="examples",
)
