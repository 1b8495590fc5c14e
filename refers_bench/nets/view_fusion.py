"""Fuses the views of a study: their weights, the tokens that a report is generated from, and one study feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

READINGS = ("paper", "official_code", "off")


class ViewFusion(nn.Module):
    """Weights the patches of several views and joins them.

    Readings:
        official_code: per patch position, one sigmoid gate per view from the views' concatenated patch features
            (three separate linear maps; the gates do not sum to 1); the study feature is the concatenation of the
            raw aggregation embeddings and never passes the gates.
        paper: an MLP over the views' pooled features gives one weight per view through a softmax; the weighted
            views serve both tasks. The text gives no layer sizes: one hidden layer of the patch width is assumed.
        off: no weights; tokens and features are joined as they are (of one view in Table 3 row 3).

    Args:
        reading: one of `READINGS`.
        patch_width: P, of the patch features.
        width: D, of the aggregation embedding.
        views: V.
        pooled: whether the study feature comes from the pooled patches (paper) or the aggregation embeddings (released
            code; the paper's plain ViT, whose embeddings are weighted as the patches are).

    Source: paper, Methods (view fusion); Pre-train/refers/modules/Fusion.py:21-52, models/captioning.py:154-167.
    """

    def __init__(self, *, reading: str, patch_width: int, width: int, views: int, pooled: bool) -> None:
        super().__init__()
        if reading not in READINGS:
            raise ValueError(f"unknown reading {reading!r}; allowed: {', '.join(READINGS)}")
        self.reading, self.views, self.pooled = reading, views, pooled
        self.study_width = views * (patch_width if pooled else width)
        joined = views * patch_width
        if reading == "official_code":
            self.gates = nn.ModuleList(nn.Linear(joined, 1) for _ in range(views))
        elif reading == "paper":
            self.weigh = nn.Sequential(nn.Linear(joined, patch_width), nn.ReLU(), nn.Linear(patch_width, views))

    def weights(self, patches_BVNP: Tensor) -> Tensor:
        """(B, V, N, P) -> weights that broadcast over it: (B, V, N, 1) or (B, V, 1, 1)."""
        if self.reading == "official_code":
            joined_BNC = patches_BVNP.transpose(1, 2).flatten(2)
            return torch.sigmoid(torch.stack([gate(joined_BNC) for gate in self.gates], dim=1))
        if self.reading == "paper":
            pooled_BC = patches_BVNP.mean(2).flatten(1)
            return torch.softmax(self.weigh(pooled_BC), dim=-1)[:, :, None, None]
        return patches_BVNP.new_ones(1, 1, 1, 1)

    def forward(self, patches_BVNP: Tensor, aggregates_BVD: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse the views.

        Args:
            patches_BVNP: patch features of each view, after the recurrent concatenation.
            aggregates_BVD: aggregation embeddings.

        Returns:
            Memory of the report transformer (B, V*N, P), first view first; study feature (B, study_width).
        """
        weights = self.weights(patches_BVNP)
        weighted = patches_BVNP * weights
        if self.pooled:
            study = weighted.mean(2)
        else:
            study = aggregates_BVD * weights[:, :, 0] if self.reading == "paper" else aggregates_BVD
        return weighted.flatten(1, 2), study.flatten(1)
