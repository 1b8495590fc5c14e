"""Scores images by the labels of their nearest training images in feature space, as DINOv2's evaluation does.

Features are scaled to length 1; a neighbour votes with exp(cosine similarity / temperature). A class's score is the
positive share of the votes of its k nearest training rows, among those whose label for it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from refers_bench.errors import DataError
from refers_bench.training.heads import Group, check, undefined
from refers_bench.training.logistic import Floats

#: Numbers of neighbours. Source: DINOv2, dinov2/eval/knn.py (`nb_knn`, four values).
NEIGHBOURS = (10, 20, 100, 200)
#: Of the votes. Source: likewise (`temperature`).
TEMPERATURE = 0.07
#: Neighbours where there is nothing to choose on. Source: DINO (Caron et al. 2021), section 3.2: best for most runs.
UNCHOSEN = 20

#: Training and query rows of a block: 4,096 x 1,024 similarities in float64 are 32 MiB.
TRAINING_ROWS, QUERY_ROWS = 4096, 1024


def squared_error(labels_n: Floats, shares_n: Floats) -> float:
    """Mean squared error (Brier score) of one class's shares of votes: `loss` of `choose`; a share may be 0 or 1."""
    return float(np.square(shares_n - labels_n).mean())


def vote(
    x_ND: Floats,
    *,
    group: Group,
    rows_n: npt.NDArray[np.int64],
    k_C: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    device: str | torch.device = "cpu",
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Share of positive votes of each row, for each number of neighbours.

    Where fewer training rows know a class than neighbours are asked for, all of them vote. Rows at equal similarity
    to the last neighbour are as good as it: which of them votes is not defined. Similarities are float64; memory is
    some 150 MiB for blocks of rows, besides the features as given (which may be memory-mapped).

    Args:
        x_ND: features, one row per image; any float type.
        group: training rows and labels.
        rows_n: rows that are scored.
        k_C: numbers of neighbours, each at least 1.
        temperature: above 0; the smaller, the more the nearest counts.
        device: where to compute.

    Returns:
        float32 in [0, 1] (C, n, K), NaN where a class lacks positives or negatives; and per class '' or the reason.

    Raises:
        DataError: a feature is not finite.
        ValueError: as `refers_bench.training.heads.fit_logistic`; or a k or the temperature is out of range.

    Source: DINOv2, dinov2/eval/knn.py; one weighted vote per label instead of one per class is ours.
    """
    check(group)
    if min(k_C) < 1 or temperature <= 0:
        raise ValueError(f"k and temperature must be positive, got {list(k_C)}, {temperature}")
    labels_nK, reasons = np.asarray(group.labels_nK, np.float64), undefined(group.labels_nK)
    found = np.full((len(k_C), len(rows_n), len(reasons)), np.nan, np.float32)
    # Classes that the same rows know share their neighbours.
    alike: dict[bytes, list[int]] = {}
    for k, reason in enumerate(reasons):
        if not reason:
            alike.setdefault(np.isnan(labels_nK[:, k]).tobytes(), []).append(k)
    for classes in alike.values():
        known = ~np.isnan(labels_nK[:, classes[0]])
        train_n, positive_nK = np.asarray(group.rows_n)[known], labels_nK[known][:, classes]
        positive = torch.from_numpy(positive_nK).to(device)
        ends = torch.tensor([min(k, len(train_n)) - 1 for k in k_C], device=device)
        for part, query_QD in _unit_rows(x_ND, rows_n, QUERY_ROWS, device):
            near_QL, place_QL = _nearest(x_ND, train_n, query_QD, int(ends.max()) + 1)
            # A common factor changes no share; votes are at most 1.
            votes_QL = ((near_QL - near_QL[:, :1]) / temperature).exp()
            for_QLK = (votes_QL[:, :, None] * positive[place_QL]).cumsum(1)
            shares_QCK = for_QLK[:, ends] / votes_QL.cumsum(1)[:, ends, None]
            found[:, part, classes] = shares_QCK.clamp(0, 1).permute(1, 0, 2).float().cpu().numpy()
    return found, reasons


def _nearest(x_ND: Floats, train_n: npt.NDArray[np.int64], query_QD: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Similarities and places in `train_n` of the nearest rows, the nearest first: (Q, count) each."""
    near = query_QD.new_empty(len(query_QD), 0)
    place = torch.empty(near.shape, dtype=torch.long, device=near.device)
    for part, block_BD in _unit_rows(x_ND, train_n, TRAINING_ROWS, query_QD.device):
        here = torch.arange(part.start, part.stop, device=near.device).expand(len(near), -1)
        near, place = torch.cat([near, query_QD @ block_BD.T], 1), torch.cat([place, here], 1)
        near, order = near.topk(min(count, near.shape[1]), dim=1)
        place = place.gather(1, order)
    return near, place


def _unit_rows(
    x_ND: Floats, rows_n: npt.NDArray[np.int64], step: int, device: str | torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows, scaled to length 1; a row of zeros stays one: float64."""
    for first in range(0, len(rows_n), step):
        part = slice(first, min(first + step, len(rows_n)))
        block = torch.from_numpy(np.asarray(x_ND[rows_n[part]])).to(device, torch.float64)
        length = block.norm(dim=1, keepdim=True)
        if not torch.isfinite(length).all():
            raise DataError(
                f"features of row {rows_n[first + int((~torch.isfinite(length)).nonzero()[0, 0])]} are not finite"
            )
        yield part, block / length.clamp(min=1e-12)
