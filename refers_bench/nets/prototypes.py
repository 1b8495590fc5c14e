"""Assigns images and reports to prototypes, each of which is to predict the other's: the disease level of MGCA."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refers_bench.nets import losses


@torch.no_grad()
def sinkhorn(scores_BK: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Assignments (B, K) with rows of sum 1 and, nearly, columns of equal sums, in float32, without gradient.

    Each process of a training has its own, as the released code in effect.

    Args:
        scores_BK: similarities of examples and prototypes, in [-1, 1].
        epsilon: smoothness.
        iterations: of the normalisation of columns and rows.

    Source: mgca/models/mgca/mgca_module.py:277-301; case 10 of the recorded functions.
    """
    B, K = scores_BK.shape
    assigned = (scores_BK.float() / epsilon).exp()
    assigned = assigned / assigned.sum()
    for _ in range(iterations):
        assigned = assigned / assigned.sum(0, keepdim=True) / K
        assigned = assigned / assigned.sum(1, keepdim=True) / B
    return assigned / assigned.sum(1, keepdim=True)


class Prototypes(nn.Module):
    """Prototypes of unit length, and the swapped prediction of their assignments.

    Args:
        width: of embeddings.
        count: prototypes.
        epsilon: see `sinkhorn`.
        iterations: see `sinkhorn`.
        temperature: of the prediction.
        frozen_updates: so many updates pass before prototypes are trained.

    Source: mgca/models/mgca/mgca_module.py:229-275, 309-320; case 11 of the recorded functions. A frozen
        prototype has no gradient there, here one of zero: Adam counts these updates.
    """

    updates: Tensor

    def __init__(
        self, width: int, *, count: int, epsilon: float, iterations: int, temperature: float, frozen_updates: int
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(losses.unit(nn.Linear(width, count, bias=False).weight.detach()))
        self.how = {"epsilon": epsilon, "iterations": iterations}
        self.temperature, self.frozen_updates = temperature, frozen_updates
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def after_update(self) -> None:
        """Unit length again, as the source has it before each forward pass; counts the update."""
        self.weight.copy_(losses.unit(self.weight))
        self.updates.add_(1)

    def forward(self, image_BD: Tensor, report_BD: Tensor) -> Tensor:
        """Embeddings of any length -> loss, a scalar in float32."""
        with torch.autocast(image_BD.device.type, enabled=False):
            # No branch: reading the buffer would wait for the device.
            weight = torch.where(self.updates < self.frozen_updates, self.weight.detach(), self.weight)
            image_BK, report_BK = (losses.unit(x) @ weight.T for x in (image_BD, report_BD))
            swapped = (self.predicted(image_BK, of=report_BK), self.predicted(report_BK, of=image_BK))
            return (swapped[0] + swapped[1]) / 2

    def predicted(self, scores_BK: Tensor, *, of: Tensor) -> Tensor:
        """Cross-entropy of the assignments of scores, as the scores `of` the other modality predict them."""
        assigned = sinkhorn(scores_BK, **self.how)  # type: ignore[arg-type]
        return -(assigned * (of / self.temperature).log_softmax(1)).sum(1).mean()
