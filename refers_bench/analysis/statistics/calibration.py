"""Compares the probabilities that a classifier states, the sigmoid of its logits, with how often a class is present.

The Brier score is the mean squared distance of probability and label. The expected calibration error (ECE) is the mean
distance, over bins of as many images each, of a bin's mean probability and its share of positives. The bins' edges are
quantiles of the probabilities of all images, and equal probabilities share a bin. Small sets inflate the ECE: that
of a perfectly calibrated classifier is not 0 on them.

Source: Brier, Monthly Weather Review 78, 1950; Nixon et al., CVPR Workshops 2019 (bins of equal mass); Wilson, Journal
of the American Statistical Association 22, 1927 (interval of a share).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.placements import Units

#: Bins of the calibration error and of the reliability curve.
BINS = 10

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One point of a reliability curve.

    Attributes:
        images: in the bin.
        probability: their mean probability.
        share: of them that are positive.
        low: lower end of the share's 95 % interval.
        high: upper end.
    """

    images: int
    probability: float
    share: float
    low: float
    high: float


def calibrated(labels_N: npt.ArrayLike, logits_N: npt.ArrayLike, weights_BN: npt.ArrayLike) -> tuple[_Floats, _Floats]:
    """Expected calibration error and Brier score of a test set under several weights of its images.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        logits_N: of the classifier: their sigmoid is its probability.
        weights_BN: how often each image is there.

    Returns:
        (ECE (B,), Brier score (B,)), both in [0, 1]; NaN without an image.

    Raises:
        ValueError: as `reliability`.
    """
    known, positive_I, probability_I, bin_I = _binned(labels_N, logits_N)
    weights_BI = np.atleast_2d(np.asarray(weights_BN))[:, known]
    if not len(known):
        return np.full(len(weights_BI), np.nan), np.full(len(weights_BI), np.nan)
    apart_I = positive_I - probability_I
    # One column per bin, with what each image adds to it; and one of squares, and one that counts.
    added_IC = np.zeros((len(known), BINS + 2))
    added_IC[np.arange(len(known)), bin_I] = apart_I
    added_IC[:, BINS], added_IC[:, BINS + 1] = apart_I**2, 1
    sums_BC = weights_BI @ added_IC
    with np.errstate(invalid="ignore"):
        errors_B = np.abs(sums_BC[:, :BINS]).sum(axis=1) / sums_BC[:, BINS + 1]
        return errors_B, sums_BC[:, BINS] / sums_BC[:, BINS + 1]


def reliability(labels_N: npt.ArrayLike, logits_N: npt.ArrayLike, units: Units | None = None) -> tuple[Bin, ...]:
    """Points of the reliability curve, from the lowest probabilities to the highest; empty bins are left out.

    An interval counts the patients of a bin, not its images, where patients are the units: it errs on the wide side.

    Raises:
        ValueError: shapes differ, or a logit of a labelled image is not finite.
    """
    known, positive_I, probability_I, bin_I = _binned(labels_N, logits_N)
    of_image_I = known if units is None else units.of_image_N[known]
    found = []
    for place in np.unique(bin_I):
        inside = bin_I == place
        share = float(positive_I[inside].mean())
        low, high = _wilson(share, len(np.unique(of_image_I[inside])))
        probability = float(probability_I[inside].mean())
        found.append(Bin(images=int(inside.sum()), probability=probability, share=share, low=low, high=high))
    return tuple(found)


def _binned(
    labels_N: npt.ArrayLike, logits_N: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], _Floats, _Floats, npt.NDArray[np.intp]]:
    """(places of labelled images, whether positive, probability, bin) of these."""
    from scipy.special import expit

    labels, logits = np.asarray(labels_N), np.asarray(logits_N)
    if labels.ndim != 1 or labels.shape != logits.shape:
        raise ValueError(f"labels {labels.shape} and logits {logits.shape} do not fit")
    known = np.flatnonzero((labels == 0) | (labels == 1))
    if not np.isfinite(logits[known]).all():
        raise ValueError("a logit of a labelled image is not finite: it states no probability")
    probability_I = expit(logits[known].astype(np.float64))
    edges = np.quantile(probability_I, np.linspace(0, 1, BINS + 1)) if len(known) else np.zeros(BINS + 1)
    return known, (labels[known] == 1).astype(np.float64), probability_I, np.searchsorted(edges[1:-1], probability_I)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of so many."""
    z2 = 1.959963984540054**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)
