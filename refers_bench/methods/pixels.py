"""Pixels alone: classifies the principal components of tiny copies of the radiographs; a floor, no competitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.thumbnail import Thumbnail


class Params(BaseModel, extra="forbid", frozen=True):
    """How small."""

    side: int = Field(
        default=32,
        ge=1,
        le=128,
        description="side of the averaged image, in pixels",
        json_schema_extra={"unstated": True},
    )


def build_encoder(params: Params, network: Section, image: Section) -> Thumbnail:
    """Averages of the image on a grid, without weights."""
    from refers_bench.nets.thumbnail import Thumbnail

    return Thumbnail(side=params.side)


METHOD = Method(
    label="Pixels alone",
    source="ours: brightness, contrast, borders and rough shape of an image; not a row of the paper",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    constants={"frozen.components": (64, "ours: of 1,024 grey values, fitted on the training images")},
    floor=True,
    architecture=lambda params: "none",
    footnotes=lambda params: (
        f"floor: grey values averaged down to {params.side} x {params.side} pixels, no encoder with weights",
    ),
)
