"""Do two methods' AUCs of a class differ more than the choice of test images explains (DeLong's test)?

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988 (the variance of several correlated AUCs); the
placements are counted from sorted scores, in O(n log n), as in Sun and Xu, IEEE Signal Processing Letters 21, 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.significance import Refusal

#: Name of the test, as it is printed.
DELONG = "DeLong's test for two correlated AUCs, two-sided, normal approximation"
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True, eq=False)
class Delong:
    """AUCs of one class for several methods on the same images.

    Attributes:
        auc_M: float64 in [0, 1].
        covariance_MM: of the AUCs over test sets of this composition.
        n_pos: images labelled 1.
        n_neg: images labelled 0.
    """

    auc_M: npt.NDArray[np.float64]
    covariance_MM: npt.NDArray[np.float64]
    n_pos: int
    n_neg: int


@dataclass(frozen=True, kw_only=True)
class DelongTest:
    """Two methods compared on one class; the statistic is normal, so there are no degrees of freedom.

    Attributes:
        n_pos: images labelled 1.
        n_neg: images labelled 0.
        difference: AUC of the first minus AUC of the second, in [-1, 1].
        se: standard error of the difference.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        z: difference over its standard error.
        p: two-sided P-value.
        test: `DELONG`.
    """

    n_pos: int
    n_neg: int
    difference: float
    se: float
    low: float
    high: float
    z: float
    p: float
    test: str = DELONG


def placements(
    labels_N: npt.ArrayLike, scores_MN: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Share of the other group that each image is ordered rightly against, ties counted as one half.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_MN: one row per method; finite on labelled images.

    Returns:
        (V10_MP, V01_MQ): of the P positive and the Q negative images; the mean over either is the AUC.

    Raises:
        ValueError: shapes differ, or a score of a labelled image is NaN.
    """
    labels = np.asarray(labels_N)
    scores = np.atleast_2d(np.asarray(scores_MN))
    if labels.ndim != 1 or scores.shape[1] != len(labels):
        raise ValueError(f"labels (N,) and scores (M, N) do not fit: {labels.shape}, {scores.shape}")
    positive_MP, negative_MQ = scores[:, labels == 1], scores[:, labels == 0]
    if np.isnan(positive_MP).any() or np.isnan(negative_MQ).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be compared")
    v10 = np.empty(positive_MP.shape)
    v01 = np.empty(negative_MQ.shape)
    for positive, negative, over, under in zip(positive_MP, negative_MQ, v10, v01, strict=True):
        _placements(positive, negative, over, under)
    return v10, v01


def _placements(
    positive: npt.NDArray[np.generic],
    negative: npt.NDArray[np.generic],
    over: npt.NDArray[np.float64],
    under: npt.NDArray[np.float64],
) -> None:
    """Fill the placements of one method's positives (`over`) and negatives (`under`)."""
    # Distinct values first: a score of three decimals has at most a thousand, whatever the number of images.
    level_P, place_P, count_P = np.unique(positive, return_inverse=True, return_counts=True)
    level_Q, place_Q, count_Q = np.unique(negative, return_inverse=True, return_counts=True)
    below_Q = np.concatenate([[0], np.cumsum(count_Q)])
    below_P = np.concatenate([[0], np.cumsum(count_P)])
    left, right = np.searchsorted(level_Q, level_P, side="left"), np.searchsorted(level_Q, level_P, side="right")
    over[:] = ((below_Q[left] + below_Q[right]) / (2 * max(1, len(negative))))[place_P]
    left, right = np.searchsorted(level_P, level_Q, side="left"), np.searchsorted(level_P, level_Q, side="right")
    under[:] = (1 - (below_P[left] + below_P[right]) / (2 * max(1, len(positive))))[place_Q]


def delong(labels_N: npt.ArrayLike, scores_MN: npt.ArrayLike) -> Delong | Refusal:
    """AUCs of one class for M methods, and their covariance.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_MN: one row per method, on the same images.

    Raises:
        ValueError: as `placements`.
    """
    v10, v01 = placements(labels_N, scores_MN)
    n_pos, n_neg = v10.shape[1], v01.shape[1]
    if min(n_pos, n_neg) < 2:
        return Refusal(reason=f"needs two positive and two negative images, has {n_pos} and {n_neg}")
    auc_M = v10.mean(axis=1)
    d10, d01 = v10 - auc_M[:, None], v01 - v01.mean(axis=1)[:, None]
    covariance = d10 @ d10.T / ((n_pos - 1) * n_pos) + d01 @ d01.T / ((n_neg - 1) * n_neg)
    return Delong(auc_M=auc_M, covariance_MM=covariance, n_pos=n_pos, n_neg=n_neg)


def pair(found: Delong | Refusal, first: int, second: int) -> DelongTest | Refusal:
    """The test of two of the methods; refused where their difference has no variance.

    Args:
        found: from `delong`.
        first: place of the first method.
        second: place of the second.
    """
    if isinstance(found, Refusal):
        return found
    weights_M = np.zeros(len(found.auc_M))
    weights_M[first] += 1
    weights_M[second] -= 1
    return contrast(found, weights_M)


def contrast(found: Delong | Refusal, weights_M: npt.ArrayLike) -> DelongTest | Refusal:
    """The test of a weighted sum of AUCs against 0, such as the mean over one method's seeds minus another's.

    Args:
        found: from `delong`, one entry per method and seed.
        weights_M: one weight per entry.
    """
    from scipy.special import ndtr

    if isinstance(found, Refusal):
        return found
    weights = np.asarray(weights_M, np.float64)
    variance = float(weights @ found.covariance_MM @ weights)
    difference = float(weights @ found.auc_M)
    # Rounding leaves about 1e-17 between methods that order the images alike.
    if variance <= 1e-14 * max(float(np.diag(found.covariance_MM)[weights != 0].max(initial=0.0)), 1e-12):
        if abs(difference) <= 1e-12:
            return Refusal(reason="zero variance: both order the positive and negative images alike")
        return Refusal(reason="zero variance: every image gives the same difference")
    se = math.sqrt(variance)
    z = difference / se
    return DelongTest(
        n_pos=found.n_pos,
        n_neg=found.n_neg,
        difference=difference,
        se=se,
        low=difference - _Z * se,
        high=difference + _Z * se,
        z=z,
        p=float(2 * ndtr(-abs(z))),
    )
