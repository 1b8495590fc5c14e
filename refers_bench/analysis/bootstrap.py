"""How far do mean AUCs, and their differences, move when other test images (or patients) had been drawn?

A stratified, paired bootstrap: every draw takes as many images of each stratum as there are, with replacement, and
all methods and classes see the same draw. An image stands in the stratum of its rarest finding, so that the rarest
classes keep their size; for one class these are its positives and its negatives. Drawing patients takes all images
of a patient at once; a patient stands in the stratum of the rarest finding of any of the images.

The draws give the standard error; the interval of a mean AUC is normal on the logit scale, that of a difference on
the plain one. Plain quantiles of the draws cover less than they say when a class has few positives: their spread is
right, but they ask a draw near the end of the range to be as far from the estimate as the estimate is from the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DRAWS = 2000
#: Name of the method, as it is printed.
BOOTSTRAP = "stratified paired bootstrap, normal interval (of a mean AUC on the logit scale)"
#: 97.5 % quantile of the normal distribution.
_Z = 1.959963984540054
#: Draws drawn at once, and weighed at once: the weights of so many stay in the processor's cache.
_BATCH, _CACHED = 128, 64

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What the draws say of one figure.

    Attributes:
        estimate: on the images as they are.
        low: lower end of the 95 % interval.
        high: upper end.
        se: standard deviation over the draws.
    """

    estimate: float
    low: float
    high: float
    se: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Mean AUC of every method in every draw.

    Attributes:
        estimate_M: mean AUC on the images as they are.
        mean_BM: mean AUC in each draw; a draw without a positive or a negative of some class is left out.
        dropped: draws left out.
        unit: "image" or "patient".
        n_units: images or patients.
        classes: places of the classes that the means are taken over.
    """

    estimate_M: _Floats
    mean_BM: _Floats
    dropped: int
    unit: str
    n_units: int
    classes: tuple[int, ...]

    def mean(self, *methods: int) -> Interval:
        """Interval of one method's mean AUC, within 0 and 1; of several (one method's seeds) that of their mean."""
        rows = list(methods)
        return _logit_interval(float(self.estimate_M[rows].mean()), self.mean_BM[:, rows].mean(axis=1))

    def difference(self, first: int | Sequence[int], second: int | Sequence[int]) -> Interval:
        """Interval of the difference of two methods, or of two means over methods, draw by draw."""
        one, other = np.atleast_1d(first), np.atleast_1d(second)
        estimate = float(self.estimate_M[one].mean() - self.estimate_M[other].mean())
        return _interval(estimate, self.mean_BM[:, one].mean(axis=1) - self.mean_BM[:, other].mean(axis=1))


def _interval(estimate: float, values_B: _Floats) -> Interval:
    """Estimate plus and minus 1.96 standard errors."""
    se = float(np.std(values_B, ddof=1))
    return Interval(estimate=estimate, low=estimate - _Z * se, high=estimate + _Z * se, se=se)


def _logit_interval(estimate: float, values_B: _Floats) -> Interval:
    """The same on the logit scale; the standard error stays that of the AUC itself."""
    se = float(np.std(values_B, ddof=1))
    if not 0 < estimate < 1:
        # Every draw of a perfect (or perfectly wrong) ranking is perfect too.
        return Interval(estimate=estimate, low=estimate, high=estimate, se=se)
    # A draw of exactly 0 or 1 has no logit: the nearest double stands for it.
    inside_B = np.clip(values_B, np.finfo(float).eps, 1 - np.finfo(float).eps)
    spread = float(np.std(np.log(inside_B / (1 - inside_B)), ddof=1))
    centre = math.log(estimate / (1 - estimate))
    low, high = (1 / (1 + math.exp(-(centre + sign * _Z * spread))) for sign in (-1, 1))
    return Interval(estimate=estimate, low=low, high=high, se=se)


def strata(labels_NK: npt.NDArray[Any], units_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Stratum of every unit: its rarest finding, or K for none.

    Args:
        labels_NK: 1 for a positive.
        units_N: number of the image's unit, 0 to U - 1.
    """
    positive = labels_NK == 1
    # Classes from common to rare, so that the rarest finding of a unit is written last.
    order = np.argsort(-positive.sum(axis=0), kind="stable")
    found = np.full(int(units_N.max()) + 1, labels_NK.shape[1], np.int64)
    for k in order:
        found[units_N[positive[:, k]]] = k
    return found


def bootstrap(
    labels_NK: npt.ArrayLike,
    scores_MNK: npt.ArrayLike,
    *,
    seed: int,
    draws: int = DRAWS,
    patients: Sequence[str] | None = None,
) -> Draws:
    """Mean AUC of every method over `draws` draws of the test images, or of the patients.

    Args:
        labels_NK: 1 positive, 0 negative, anything else unknown.
        scores_MNK: scores of M methods on the same images and classes.
        seed: of the draws; the same seed gives the same draws, whatever the methods.
        draws: number of draws, at least 2.
        patients: one id per image to draw patients; None to draw images.

    Raises:
        ValueError: shapes differ, a score of a labelled image is NaN, no class has an AUC, a class has positives or
            negatives in one unit alone (which every draw would repeat, as if it were known without error), or no draw
            is left.
    """
    labels, scores = np.asarray(labels_NK), np.asarray(scores_MNK)
    if scores.ndim != 3 or labels.shape != scores.shape[1:] or draws < 2:
        raise ValueError(
            f"labels (N, K) and scores (M, N, K) do not fit: {labels.shape}, {scores.shape}, {draws} draws"
        )
    if np.isnan(scores[:, (labels == 0) | (labels == 1)]).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be compared")
    classes = tuple(int(k) for k in range(labels.shape[1]) if (labels[:, k] == 1).any() and (labels[:, k] == 0).any())
    if not classes:
        raise ValueError("no class has an AUC on these images")
    labels, scores = labels[:, classes], scores[:, :, classes]
    units = np.arange(len(labels)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    for k in range(len(classes)):
        for sign, name in ((1, "positive"), (0, "negative")):
            if len(np.unique(units[labels[:, k] == sign])) < 2:
                unit = "image" if patients is None else "patient"
                raise ValueError(f"a class has its {name} images in one {unit} alone, which every draw would repeat")
    tasks = [[_Ranked.of(labels[:, k], method[:, k]) for k in range(len(classes))] for method in scores]
    mean_BM = np.empty((draws, len(scores)))
    done = 0
    for weights_UB in _draws(strata(labels, units), draws, seed):
        weights_NB = weights_UB if patients is None else np.ascontiguousarray(weights_UB[units])
        for start in range(0, weights_NB.shape[1], _CACHED):
            part_NB = np.ascontiguousarray(weights_NB[:, start : start + _CACHED])
            for m, ranked in enumerate(tasks):
                mean_BM[done : done + part_NB.shape[1], m] = np.mean([one.auc(part_NB) for one in ranked], axis=0)
            done += part_NB.shape[1]
    kept = mean_BM[~np.isnan(mean_BM).any(axis=1)]
    if len(kept) < 2:
        raise ValueError("no draw has positives and negatives of every class: too few patients")
    ones = np.ones((len(labels), 1), np.float32)
    return Draws(
        estimate_M=np.array([np.mean([one.auc(ones)[0] for one in ranked]) for ranked in tasks]),
        mean_BM=kept,
        dropped=draws - len(kept),
        unit="image" if patients is None else "patient",
        n_units=int(units.max()) + 1,
        classes=classes,
    )


def _draws(stratum_U: npt.NDArray[np.int64], draws: int, seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """Batches (units, draws of the batch): how often each unit was drawn."""
    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(stratum_U == s) for s in np.unique(stratum_U)]
    for start in range(0, draws, _BATCH):
        size = min(_BATCH, draws - start)
        weights = np.empty((len(stratum_U), size), np.float32)
        for members in groups:
            n = len(members)
            # Draw b of unit u is counted at u * size + b: one count for the whole batch.
            drawn = generator.integers(0, n, (n, size), dtype=np.int64) * size + np.arange(size)
            weights[members] = np.bincount(drawn.ravel(), minlength=n * size).reshape(n, size)
        yield weights


@dataclass(frozen=True, eq=False)
class _Ranked:
    """One class of one method, sorted once; weighing the images then needs sums alone.

    Between and at the distinct scores of the positives lie 2 G + 1 segments of negatives. `negative_SN` sums the
    weights of a segment's negatives, `positive_GN` those of the positives with one score.
    """

    negative_SN: Any
    positive_GN: Any

    @classmethod
    def of(cls, labels_N: npt.NDArray[Any], scores_N: npt.NDArray[Any]) -> _Ranked:
        """Rank the images of a class."""
        from scipy.sparse import csr_array

        positive, negative = np.flatnonzero(labels_N == 1), np.flatnonzero(labels_N == 0)
        levels, group = np.unique(scores_N[positive], return_inverse=True)
        left = np.searchsorted(levels, scores_N[negative], side="left")
        right = np.searchsorted(levels, scores_N[negative], side="right")

        def sums(rows: npt.NDArray[Any], images: npt.NDArray[Any], count: int) -> Any:
            ones = np.ones(len(images), np.float32)
            return csr_array((ones, (rows, images)), shape=(count, len(labels_N)))

        # A negative below level g falls to segment 2 g, one at level g to segment 2 g + 1.
        return cls(sums(left + right, negative, 2 * len(levels) + 1), sums(group, positive, len(levels)))

    def auc(self, weights_NB: npt.NDArray[np.float32]) -> _Floats:
        """AUC of every draw (B,); NaN where a draw has no positive or no negative."""
        # Whole numbers below 2**24 are exact in float32; their products are taken in float64.
        segment_SB = self.negative_SN @ weights_NB
        below_SB = np.cumsum(segment_SB, axis=0)
        positive_GB = (self.positive_GN @ weights_NB).astype(np.float64)
        twice_GB = below_SB[0:-1:2].astype(np.float64) + below_SB[1::2]
        pairs_B = positive_GB.sum(axis=0) * below_SB[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            auc_B: _Floats = np.einsum("gb,gb->b", positive_GB, twice_GB) / (2 * pairs_B)
        return np.where(pairs_B > 0, auc_B, np.nan)
