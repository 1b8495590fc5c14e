"""Computes average precision (AUPRC), and the sensitivity at a stated specificity, of one class and of draws of it.

Average precision is the mean precision at the thresholds that let positives in, weighted by how many they let in;
images with equal scores come in together, and nothing is interpolated. The sensitivity is that at the lowest threshold
whose specificity reaches the stated one: an image is called positive where its score reaches the threshold, images
with equal scores are called alike, and nothing is interpolated between thresholds.

Source: Davis and Goadrich, ICML 2006 (linear interpolation overstates the area under a precision-recall curve);
Boyd, Eng and Page, ECML PKDD 2013 (an interval of average precision on the logit scale).
"""

from typing import Any

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
    positive_P, negative_Q = known[labels[known] == 1], known[labels[known] == 0]
    if not len(positive_P) or not len(negative_Q):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    # Only thresholds that let positives in matter: the distinct scores of positives, from the highest down.
    levels_L = np.unique(scores[positive_P])[::-1]
    new_LB = _by_level(weights, scores, positive_P, levels_L)[:-1]
    false_LB = _by_level(weights, scores, negative_Q, levels_L)
    true_LB = new_LB.cumsum(axis=0)
    false_LB, negatives_B = np.split(false_LB.cumsum(axis=0, out=false_LB), [len(levels_L)])
    area_B = (new_LB * (true_LB / np.maximum(true_LB + false_LB, 1))).sum(axis=0, dtype=np.float64)
    # Negatives that may be called positive; rounding must not make 10 % of 30 images fewer than 3.
    negatives_B = negatives_B[0].astype(np.float64)
    allowed_B = np.floor((1 - SPECIFICITY) * negatives_B + 1e-9)
    # Positives are found above the first negative that is one too many; those that equal it are not.
    found_B = np.where(false_LB <= allowed_B, new_LB, 0).sum(axis=0, dtype=np.float64)
    defined_B = np.where((true_LB[-1] > 0) & (negatives_B > 0), true_LB[-1], np.nan).astype(np.float64)
    return area_B / defined_B, found_B / defined_B


def _by_level(
    weights_BN: npt.NDArray[Any], scores_N: npt.NDArray[Any], images_I: npt.NDArray[np.intp], levels_L: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Weight of the images whose highest level that they reach is each one, and of those that reach none: (L + 1, B).

    Whole numbers stay exact.
    """
    from scipy.sparse import csr_array

    level_I = len(levels_L) - np.searchsorted(levels_L[::-1], scores_N[images_I], side="right")
    shape = (len(levels_L) + 1, weights_BN.shape[1])
    places = csr_array((np.ones(len(images_I), np.float32), (level_I, images_I)), shape=shape)
    return np.asarray(places @ np.ascontiguousarray(weights_BN.T, np.float32))
