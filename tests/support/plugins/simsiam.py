"""SimSiam (Chen and He, CVPR 2021): two views of one radiograph predict each other; a method of one's own, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from refers_bench.plugins import Method

if TYPE_CHECKING:
    from torch import Tensor, nn

    from refers_bench.data.batches import StudyBatch
    from refers_bench.nets.facts import SourceFacts


class Params(BaseModel):
    """Widths of the two heads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=64, ge=2, description="of the projection")
    hidden: int = Field(default=16, ge=2, description="of the predictor's hidden layer")


def build_objective(
    params: Params,
    facts: SourceFacts,
    network: Mapping[str, Any],
    image: Mapping[str, Any],
    pretrain: Mapping[str, Any],
    encoder: nn.Module,
) -> nn.Module:
    """Negative cosine similarity of each view's prediction with the other's projection, which gets no gradient."""
    import torch
    from torch import nn
    from torch.nn.functional import cosine_similarity

    class SimSiam(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            inside: int = encoder.readout_width  # type: ignore[assignment]
            self.project = nn.Sequential(nn.Linear(inside, params.width), nn.LayerNorm(params.width))
            self.predict = nn.Sequential(
                nn.Linear(params.width, params.hidden), nn.ReLU(), nn.Linear(params.hidden, params.width)
            )

        def forward(self, batch: StudyBatch) -> dict[str, Tensor]:
            seen = [batch.images_BVCHW[:, view] for view in range(2)]
            first, second = (self.project(self.encoder.readout(self.encoder(x_BCHW))) for x_BCHW in seen)
            pairs = ((self.predict(first), second), (self.predict(second), first))
            return {"similarity": -torch.stack([cosine_similarity(p, z.detach()).mean() for p, z in pairs]).mean()}

    return SimSiam()


METHOD = Method(
    label="SimSiam",
    source="Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021",
    impl=1,
    Params=Params,
    build_objective=build_objective,
    crops=lambda params: 2,
)
