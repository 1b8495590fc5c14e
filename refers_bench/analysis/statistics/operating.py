"""Computes average precision (AUPRC), and the sensitivity at a stated specificity, of one class and of draws of it.

Average precision is the mean precision at the thresholds that let positives in, weighted by how many they let in;
images with equal scores come in together, and nothing is interpolated. The sensitivity is that at the lowest threshold
whose specificity reaches the stated one: an image is called positive where its score reaches the threshold, images
with equal scores are called alike, and nothing is interpolated between thresholds.

Source: Davis and Goadrich, ICML 2006 (linear interpolation overstates the area under a precision-recall curve);
Boyd, Eng and Page, ECML PKDD 2013 (an interval of average precision on the logit scale).
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

#: Specificity that the sensitivity is given at.
SPECIFICITY = 0.9
#: The thresholds' rule, as it is printed.
RULE = (
    "sensitivity at the lowest threshold with a specificity of at least "
    f"{SPECIFICITY * 100:g} %, equal scores called alike, no interpolation"
)

_Floats = npt.NDArray[np.float64]


def ranked(labels_N: npt.ArrayLike, scores_N: npt.ArrayLike, weights_BN: npt.ArrayLike) -> tuple[_Floats, _Floats]:
    """Average precision, and sensitivity at `SPECIFICITY`, of a test set under several weights of its images.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_N: higher means more likely positive; not NaN on labelled images.
        weights_BN: how often each image is there, whole numbers.

    Returns:
        (average precision (B,), sensitivity (B,)), both in [0, 1]; NaN without a positive or a negative image.

    Raises:
        ValueError: shapes differ, or a score of a labelled image is NaN.
    """
    labels, scores, weights = np.asarray(labels_N), np.asarray(scores_N), np.atleast_2d(np.asarray(weights_BN))
    if labels.ndim != 1 or scores.shape != labels.shape or weights.shape[1:] != labels.shape:
        raise ValueError(f"labels {labels.shape}, scores {scores.shape} and weights {weights.shape} do not fit")
    known = np.flatnonzero((labels == 0) | (labels == 1))
    if np.isnan(scores[known]).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be scored")
    positive_P, negative_Q = (_descending(scores, known[labels[known] == label]) for label in (1, 0))
    if not len(positive_P) or not len(negative_Q):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    true_PB, false_QB = _running(weights.T, positive_P), _running(weights.T, negative_Q)
    # Images that reach the score of each positive; a draw may have none of them, and then does not have it.
    reach = [_reaching(scores[group], scores[positive_P], side="left") for group in (positive_P, negative_Q)]
    right_PB = true_PB[reach[0]]
    precision_PB = right_PB / np.maximum(right_PB + false_QB[reach[1]], 1)
    area_B = np.einsum("pb,pb->b", weights.T[positive_P], precision_PB, dtype=np.float64)
    # Negatives that may be called positive; rounding must not make 10 % of 30 images fewer than 3.
    allowed_B = np.floor((1 - SPECIFICITY) * false_QB[-1].astype(np.float64) + 1e-9)
    # The first negative that is one too many: positives above it, and none that equal it, are found.
    first_B = np.minimum((false_QB[1:] <= allowed_B).sum(axis=0), len(negative_Q) - 1)
    above_Q = _reaching(scores[positive_P], scores[negative_Q], side="right")
    found_B = true_PB[above_Q[first_B], np.arange(len(weights))]
    defined_B = np.where((true_PB[-1] > 0) & (false_QB[-1] > 0), true_PB[-1], np.nan).astype(np.float64)
    return area_B / defined_B, found_B / defined_B


def _descending(scores_N: npt.NDArray[Any], images_I: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return images_I[np.argsort(-scores_N[images_I], kind="stable")]


def _running(weights_NB: npt.NDArray[Any], images_I: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Weight of the first 0, 1, ... images: (I + 1, B). Whole numbers stay exact in float32 up to 2**24."""
    sums_IB = np.zeros((len(images_I) + 1, weights_NB.shape[1]), np.float32)
    # Draws are added side by side: six times as fast as a running sum along each.
    for place, image in enumerate(images_I):
        np.add(sums_IB[place], weights_NB[image], out=sums_IB[place + 1], casting="same_kind")
    return sums_IB


def _reaching(descending_I: npt.NDArray[Any], scores_J: npt.NDArray[Any], *, side: Literal["left", "right"]) -> Any:
    """How many of some scores reach (left), or exceed (right), each of others: int64 (J,)."""
    return len(descending_I) - np.searchsorted(descending_I[::-1], scores_J, side=side)
