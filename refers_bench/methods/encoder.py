"""Any encoder that others released or trained: of timm, Hugging Face or torchvision, by its data sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refers_bench.nets.encoder_sheets import EncoderParams
from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from torch import nn


def build_encoder(params: EncoderParams, network: Section, image: Section) -> nn.Module:
    """Timm's network of the data sheet, to be filled from the file."""
    from refers_bench.nets import timm_encoder

    return timm_encoder.build(params, network, image)


METHOD = Method(
    label="Encoder",
    source="weights given by the user, read by their data sheet",
    impl=1,
    Params=EncoderParams,
    build_encoder=build_encoder,
    sheet=EncoderParams.constants,
    weights=lambda params: params.root,
    weights_hint=lambda params: f"set data root '{params.root}' to a weight file or a Hugging Face folder",
    coverage=lambda params: params.coverage,
    architecture=lambda params: params.sheet.architecture,
    footnotes=EncoderParams.footnotes,
    small={
        "layout": "timm",
        "architecture": "vit_tiny_patch16_224",
        "arguments": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
    },
)
