"""Random initialisation: no pre-training at all, the canary arm of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from refers_bench.plugins import Method

if TYPE_CHECKING:
    from refers_bench.nets.radiograph_transformer import RadiographTransformer


class Params(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def build_encoder(params: Params, network: Mapping[str, Any], image: Mapping[str, Any]) -> RadiographTransformer:
    """The protocol's radiograph transformer, untrained."""
    from refers_bench.nets.radiograph_transformer import build

    return build(network, image)


METHOD = Method(
    label="Random initialisation",
    source="no pre-training; not a row of the paper",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
)
