"""Context Restoration: puts swapped patches of a radiograph back where they were."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

from refers_bench.plugins import LENGTHS_AT, Method, Section

if TYPE_CHECKING:
    from torch import Tensor

    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.restoration import RestorationObjective


#: What is to be restored is the radiograph itself: turned, it would have black corners to be restored.
SEEN: Mapping[str, tuple[Any, str]] = {
    f"image.pretrain_augment.{name}": (value, "no code was published; the definition restores the image itself")
    for name, value in (
        ("crop", "none"),
        ("rotation_degrees", 0),
        ("flip_probability", 0.0),
        ("jitter_probability", 0.0),
    )
}


class Params(BaseModel, extra="forbid", frozen=True):
    """How much is swapped, and what restores it. The published paper's own values could not be verified."""

    swaps: int = Field(
        default=20,
        ge=1,
        le=200,
        description="pairs of patches, one after the other (our reading; touches 27 %)",
        json_schema_extra={"unstated": True},
    )
    smallest_side: int = Field(
        default=20,
        ge=2,
        le=LENGTHS_AT // 3,
        description="of a patch at 224 x 224, in pixels (our reading)",
        json_schema_extra={"unstated": True},
    )
    largest_side: int = Field(
        default=20,
        ge=2,
        le=LENGTHS_AT // 3,
        description="sides are uniform between the two (our reading)",
        json_schema_extra={"unstated": True},
    )
    decoder: Literal["convolutional", "linear"] = Field(
        default="convolutional", description="tokens to pixels (our reading)", json_schema_extra={"unstated": True}
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")

    @model_validator(mode="after")
    def _sides_in_order(self) -> Params:
        if self.smallest_side > self.largest_side:
            raise ValueError("smallest_side is at most largest_side")
        return self


def distort(x_NHW: Tensor, generator: Any, *, swaps: int, side: tuple[int, int]) -> Tensor:
    """Swap pairs of squares cumulatively."""
    from refers_bench.data.distortions import apply_swaps, draw_swaps

    drawn = draw_swaps(len(x_NHW), x_NHW.shape[-1], swaps=swaps, side=side, generator=generator)
    return apply_swaps(x_NHW, drawn)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> RestorationObjective:
    """Mean squared error between restored and clean grey levels, over all pixels."""
    from refers_bench.nets.restoration import RestorationObjective, decoder_of

    return RestorationObjective(
        encoder=encoder,
        decoder=decoder_of(params.decoder, encoder, size=image["size"]),
        image=image,
        distort=functools.partial(distort, swaps=params.swaps, side=(params.smallest_side, params.largest_side)),
    )


METHOD = Method(
    label="Context Restoration",
    source="Chen et al., Medical Image Analysis 2019; sizes and number of swaps are our reading",
    impl=2,
    Params=Params,
    build_objective=build_objective,
    constants=SEEN,
    parts="examples",
    decoder=lambda params: params.decoder,
)
