"""Model Genesis: restores a radiograph from shuffled pixels, bent intensities, in-painting and out-painting."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.restoration import RestorationObjective


class Params(BaseModel, extra="forbid", frozen=True):
    """Probabilities of the official code, in their two-dimensional form, and what restores the image."""

    windows: int = Field(
        default=700,
        ge=1,
        le=10_000,
        description="shuffled windows an image: each pixel is covered as often as by the official 10,000 of a volume; "
        "the same laboratory's two-dimensional code (POPAR, md_aug.py) takes 40, always: shuffling = popar",
        json_schema_extra={"official": 10_000},
    )
    shuffle: float = Field(default=0.5, ge=0, le=1, description="probability of local pixel shuffling")
    # The next two came later: at their defaults they are in no key.
    shuffling: Literal["volume", "popar"] = Field(
        default="volume",
        description="volume: windows and probability as above; popar: 40 windows, always, in place of both, as in the "
        "same laboratory's code for two-dimensional radiographs (jlianglab/POPAR, Pretraining/md_aug.py)",
        exclude_if=lambda value: value == "volume",
    )
    dimensions: Literal["2-D"] = Field(
        default="2-D",
        description="blocks and windows of a radiograph cover more of it than those of a volume: in-painting paints "
        "22 % of the pixels (of volumes 5.5 %), out-painting 45 % (of volumes 68 %)",
        json_schema_extra={"official": "3-D"},
        exclude_if=lambda value: value == "2-D",
    )
    intensity: float = Field(
        default=0.9, ge=0, le=1, description="probability of a Bezier curve, half of them inverted"
    )
    paint: float = Field(default=0.9, ge=0, le=1, description="probability of painting")
    inpaint: float = Field(default=0.2, ge=0, le=1, description="share of in-painting among it; else out-painting")
    decoder: Literal["convolutional", "linear"] = Field(
        default="convolutional",
        description="tokens to pixels; the official network is a U-Net with skips",
        json_schema_extra={"official": "U-Net with skips"},
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")

    @model_validator(mode="after")
    def _one_choice_of_windows(self) -> Params:
        fields = type(self).model_fields
        changed = any(getattr(self, name) != fields[name].default for name in POPAR)
        if self.shuffling == "popar" and changed:
            raise ValueError("shuffling: popar stands in place of windows and shuffle")
        return self

    def chances(self) -> dict[str, Any]:
        """What the distortions are drawn with."""
        own = self.model_dump(include={"windows", "shuffle", "intensity", "paint", "inpaint"})
        return {**own, **(POPAR if self.shuffling == "popar" else {})}


#: Local shuffling of POPAR, the same laboratory's method for two-dimensional radiographs.
POPAR: Mapping[str, Any] = {"windows": 40, "shuffle": 1.0}

#: A flip is all that comes before the pair, and the objective makes it.
SEEN: Mapping[str, tuple[Any, str]] = {
    f"image.pretrain_augment.{name}": (value, f"official code: {source}")
    for name, value, source in (
        ("crop", "none", "generate_pair takes its cubes whole"),
        ("rotation_degrees", 0, "generate_pair does not rotate"),
        ("flip_probability", 0.0, "flips are generate_pair's own, along both axes, up to three with 0.4 each"),
        ("jitter_probability", 0.0, "generate_pair changes intensities by its curve alone"),
    )
}


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> RestorationObjective:
    """Mean squared error between restored and flipped clean grey levels, over all pixels."""
    from refers_bench.data.pretext import flips, genesis
    from refers_bench.nets.restoration import RestorationObjective, decoder_of

    return RestorationObjective(
        encoder=encoder,
        decoder=decoder_of(params.decoder, encoder, size=image["size"]),
        image=image,
        target=flips,
        distort=functools.partial(genesis, **params.chances()),
    )


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
    )
}

METHOD = Method(
    label="Model Genesis",
    source="Zhou et al., Medical Image Analysis 2021; github.com/MrGiovanni/ModelsGenesis (probabilities and sizes)",
    impl=2,
    constants=SEEN,
    source_values={**SEEN, **SOURCE_VALUES},
    Params=Params,
    build_objective=build_objective,
    parts="examples",
    decoder=lambda params: params.decoder,
    small={"windows": 20},
)
