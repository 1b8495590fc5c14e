"""Anybody's weights: an encoder that was pre-trained elsewhere, fine-tuned and evaluated like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, model_validator

from refers_bench.plugins import LENGTHS_AT, Method, Section

if TYPE_CHECKING:
    from torch import nn


class Params(BaseModel, extra="forbid", frozen=True):
    """Which file, and for which network."""

    root: str = Field(
        default="checkpoint", pattern=r"^[a-z][a-z0-9_]{0,79}$", description="data root that names the weight file"
    )
    backbone: Literal["radiograph_transformer", "resnet18", "resnet50", "resnet101"] = Field(
        default="radiograph_transformer", description="network of the protocol, or a ResNet"
    )
    # It came later: where images are not enlarged it is in no key.
    upsampled: int = Field(
        default=0,
        ge=0,
        le=4 * LENGTHS_AT,
        description="side at 224 x 224 to which a ResNet's images are enlarged (GLoRIA, MGCA: 299); 0 for none",
        exclude_if=lambda value: value == 0,
        json_schema_extra={"unstated": True},
    )
    coverage: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="least share of the encoder's tensors that the file must fill (ours)",
        json_schema_extra={"unstated": True},
    )
    source: str = Field(default="", max_length=300, description="where the weights come from, for the footnote")

    @model_validator(mode="after")
    def _of_a_resnet(self) -> Params:
        if self.upsampled and not self.backbone.startswith("resnet"):
            raise ValueError("upsampled is for a ResNet; the radiograph transformer has image.size")
        return self


def build_encoder(params: Params, network: Section, image: Section) -> nn.Module:
    """The protocol's radiograph transformer or a ResNet, to be filled from the file."""
    from refers_bench.nets import backbones

    return backbones.build(params.backbone, network, image, upsampled=params.upsampled)


METHOD = Method(
    label="Checkpoint",
    source="weights given by the user",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    weights=lambda params: params.root,
    coverage=lambda params: params.coverage,
    upsampled=lambda params: params.upsampled,
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    footnotes=lambda params: (f"weights given by the user: {params.source or params.root}",),
)
