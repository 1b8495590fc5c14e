"""C2L: contrasts two views of a radiograph with a queue, with mixed images and mixed features besides."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import LENGTHS_AT, Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.momentum_contrast import MomentumContrast


class Params(BaseModel, extra="forbid", frozen=True):
    """Constants of the official code."""

    dim: int = Field(default=128, ge=2, description="of the linear embedding; there is no MLP")
    queue: int = Field(default=16_384, ge=2, description="keys that are kept as negatives")
    momentum: float = Field(default=0.999, ge=0, lt=1, description="of the key encoder")
    temperature: float = Field(default=0.07, gt=0, description="of the similarities")
    loss: Literal["infonce", "nce"] = Field(
        default="infonce",
        description="nce: the official default, which could not run as released",
        json_schema_extra={"official": "nce"},
    )
    alpha: float = Field(default=1.0, gt=0, description="of the Beta distribution of the mixing share")
    holes: int = Field(default=3, ge=0, le=50, description="squares cut out of each view")
    hole_side: int = Field(default=32, ge=1, le=LENGTHS_AT, description="of a hole at 224 x 224, in pixels")
    crops: int = Field(default=2, ge=2, le=2, description="views of one radiograph, augmented independently")


#: The official views: crops that overlap in part, not two pictures of the whole radiograph. Saturation, hue and grey
#: scale of the official jitter do nothing to grey images.
VIEWS: Mapping[str, tuple[Any, str]] = {
    f"image.pretrain_augment.{name}": (value, f"official code: {source}")
    for name, value, source in (
        ("crop", "resized", "RandomResizedCrop"),
        ("scale", [0.2, 1.0], "RandomResizedCrop(scale=(0.2, 1))"),
        ("ratio", [0.75, 1.3333], "RandomResizedCrop, torchvision's default"),
        ("rotation_degrees", 10, "RandomRotation(10)"),
        ("rotation_order", "after_crop", "RandomRotation after RandomResizedCrop: black corners"),
        ("flip_probability", 0.5, "RandomHorizontalFlip"),
        ("jitter_probability", 1.0, "ColorJitter(0.4, 0.4, 0.4, 0.4), always"),
        ("brightness", [0.6, 1.4], "ColorJitter(0.4, 0.4, 0.4, 0.4)"),
        ("contrast", [0.6, 1.4], "ColorJitter(0.4, 0.4, 0.4, 0.4)"),
    )
}

#: Footnote of a row with the other loss.
NCE = "noise-contrastive estimation in place of InfoNCE"

#: The official training. Its length, 120 epochs of other images, is the protocol's budget here; so are the shares of it
#: after which the learning rate falls, its epochs 60, 80 and 100.
RECIPE: Mapping[str, tuple[Any, str]] = {
    f"pretrain.{name}": (value, f"official code: {source}")
    for name, value, source in (
        ("own_batch_size", 128, "batch size 128"),
        ("optimizer", "sgd", "SGD"),
        ("learning_rate", 0.03, "learning rate 0.03"),
        ("momentum", 0.9, "momentum 0.9"),
        ("weight_decay", 0.0001, "weight decay 1e-4"),
        ("decay_rule", "all", "one group of all parameters"),
        ("schedule", "multistep", "util.py, adjust_learning_rate"),
        ("milestones", [0.5, 0.6666666667, 0.8333333333], "x 0.1 after epochs 60, 80 and 100 of 120"),
        ("milestone_factor", 0.1, "x 0.1 after epochs 60, 80 and 100 of 120"),
        ("warmup_steps", 0, "no warm-up"),
        ("clip_norm", 0.0, "train_C2L does not clip"),
        ("lookahead_steps", 0, "plain SGD"),
        # The queue makes its first validation losses the lowest.
        ("select", "last", "no validation"),
    )
}


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> MomentumContrast:
    """The mean of the plain, the homogeneous and the heterogeneous contrast."""
    from refers_bench.data.distortions import cutout
    from refers_bench.nets.momentum_contrast import MomentumContrast

    return MomentumContrast(
        encoder=encoder,
        examples=facts.radiographs,
        perturb=functools.partial(cutout, holes=params.holes, side=params.hole_side),
        **params.model_dump(include={"dim", "queue", "momentum", "temperature", "loss", "alpha"}),
    )


METHOD = Method(
    label="C2L",
    source="Zhou et al., MICCAI 2020; github.com/funnyzhou/C2L_MICCAI2020",
    impl=2,
    Params=Params,
    build_objective=build_objective,
    constants=VIEWS,
    recipe=RECIPE,
    source_values={
        **VIEWS,
        **RECIPE,
        "pretrain.batch_size": RECIPE["pretrain.own_batch_size"],
        "pretrain.steps": ("120 epochs", "official code: 120 epochs; its authors' issue 5: 150 epochs at batch 256"),
    },
    parts="features",
    # Queries of the plain and the mixed view, and their keys.
    passes=lambda params: (2.0, 2.0),
    crops=lambda params: params.crops,
    footnotes=lambda params: () if params.loss == "infonce" else (NCE,),
    small={"queue": 24},
)
