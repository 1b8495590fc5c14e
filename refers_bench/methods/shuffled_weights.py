"""A floor: an encoder whose loaded weight matrices are shuffled, so that it knows nothing and looks alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from refers_bench.nets.encoder_sheets import EncoderParams
from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from torch import nn


class Params(EncoderParams, extra="forbid", frozen=True):
    """Which encoder, and which draw of the order of its weights."""

    draw: int = Field(
        default=0, ge=0, description="number of the draw of the order (ours)", json_schema_extra={"unstated": True}
    )


def build_encoder(params: Params, network: Section, image: Section) -> nn.Module:
    """The encoder that shuffles what is loaded into it."""
    from refers_bench.nets import timm_encoder

    return timm_encoder.build(params, network, image, shuffled=f"draw {params.draw}")


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    return ("floor: every weight matrix with its entries in random order, vectors kept", *params.footnotes())


METHOD = Method(
    label="Shuffled weights",
    source="weights given by the user, in random order",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    floor=True,
    sheet=Params.constants,
    weights=lambda params: params.root,
    weights_hint=lambda params: f"set data root '{params.root}' to a weight file or a Hugging Face folder",
    coverage=lambda params: params.coverage,
    architecture=lambda params: params.sheet.architecture,
    footnotes=footnotes,
    small={
        "layout": "timm",
        "architecture": "vit_tiny_patch16_224",
        "arguments": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
    },
)
