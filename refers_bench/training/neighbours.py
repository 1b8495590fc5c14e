"""Scores images by the labels of the most similar training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

#: Similarities, or votes, that are held in memory at once.
HELD = 1 << 24
#: Keeps the log-odds of unanimous votes finite.
LEAST = 1e-12


@torch.no_grad()
def votes(
    train_ND: npt.NDArray[np.float32],
    labels_NK: npt.NDArray[np.float32],
    query_MD: npt.NDArray[np.float32],
    *,
    neighbours: Sequence[int],
    temperature: float,
    device: torch.device,
) -> dict[int, npt.NDArray[np.float32]]:
    """Log-odds of each class by the weighted vote of the k most similar training images, for several k at once.

    Similarity s is the cosine, an image's weight exp(s / temperature). An image without a label of a class has no vote
    there; where no neighbour has one, the class's share among the training images decides.

    Args:
        train_ND: features of the training images.
        labels_NK: their labels, NaN where unknown.
        query_MD: features of the images to score.
        neighbours: values of k, each at most N.
        temperature: above 0.
        device: where it is computed, in float32; votes are summed in float64.

    Returns:
        k -> (M, K). Log-odds order images as the shares of votes do.

    Source: DINOv2, eval/knn.py (cosine similarity, softmax of s / 0.07), for independent binary labels.
    """
    train = F.normalize(torch.as_tensor(train_ND, device=device), dim=1)
    known = torch.as_tensor(~np.isnan(labels_NK), device=device).double()
    positive = torch.as_tensor(np.nan_to_num(labels_NK), device=device).double()
    share = (positive.sum(0) / known.sum(0)).nan_to_num(0.5)
    found: dict[int, list[Tensor]] = {k: [] for k in neighbours}
    rows = max(1, HELD // max(len(train), max(neighbours) * labels_NK.shape[1]))
    for start in range(0, len(query_MD), rows):
        query = F.normalize(torch.as_tensor(query_MD[start : start + rows], device=device), dim=1)
        near = (query @ train.T).topk(max(neighbours), dim=1)
        weight = ((near.values - near.values[:, :1]).double() / temperature).exp()[..., None]
        votes_MkK, all_MkK = ((weight * one[near.indices]).cumsum(1) for one in (positive, known))
        for k, parts in found.items():
            p = torch.where(all_MkK[:, k - 1] > 0, votes_MkK[:, k - 1] / all_MkK[:, k - 1], share)
            parts.append(((p + LEAST) / (1 - p + LEAST)).log().float().cpu())
    none = torch.zeros(0, labels_NK.shape[1])
    return {k: torch.cat([none, *parts]).numpy() for k, parts in found.items()}
