"""Computes the area under the ROC curve of each class, and the mean over the classes that have one.

These are the only AUC and the only mean over classes of the package: what is stored, shown, compared and derived again
from predictions agrees to the last bit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Why an AUC does not exist; '' where it does.
DEFINED = ""
NO_LABELLED_IMAGES = "no labelled images"
NO_POSITIVES = "no positives"
NO_NEGATIVES = "no negatives"

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassAucs:
    """Per-class AUCs of one set of predictions.

    Attributes:
        auc_K: float64 in [0, 1]; NaN where the AUC does not exist, never 0 in its place.
        n_pos_K: int64, images labelled 1.
        n_neg_K: int64, images labelled 0.
        undefined: per class '' or the reason why there is no AUC.
    """

    auc_K: npt.NDArray[np.float64]
    n_pos_K: npt.NDArray[np.int64]
    n_neg_K: npt.NDArray[np.int64]
    undefined: tuple[str, ...]

    @property
    def mean(self) -> float:
        """`mean_over_classes`."""
        return mean_over_classes(self.auc_K.tolist())


def mean_over_classes(aucs: Iterable[float | None]) -> float:
    """Mean AUC over the classes that have one; NaN when none has.

    The sum is rounded once, so the mean does not depend on the order of the classes.

    Args:
        aucs: one per class; None or NaN where there is none.

    Example:
        >>> mean_over_classes([0.75, None, 0.25])
        0.5
    """
    defined = [auc for auc in aucs if auc is not None and not math.isnan(auc)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def class_aucs(labels_NK: npt.ArrayLike, logits_NK: npt.ArrayLike) -> ClassAucs:
    """Exact AUC of every class, ties counted as one half.

    The AUC is the share of (positive, negative) pairs that the scores order rightly (Mann-Whitney U);
    the pairs are counted in integers, so the figure does not depend on the order of the rows.

    Args:
        labels_NK: 1 positive, 0 negative; unknown as NaN, None, pandas.NA or -1. One label per image and class.
        logits_NK: raw scores, higher means more likely positive. Not probabilities: a sigmoid in low precision
            makes ties that the logits do not have. Infinite values are ordered like any other.

    Raises:
        ValueError: shapes differ, a label is none of the above, or the logit of a labelled image is NaN.
    """
    labels_NK = _labels(labels_NK)
    logits_NK = np.asarray(logits_NK)
    if labels_NK.ndim != 2 or labels_NK.shape != logits_NK.shape:
        raise ValueError(f"labels and logits must both be (images, classes), got {labels_NK.shape}, {logits_NK.shape}")
    if not np.issubdtype(logits_NK.dtype, np.number) or np.issubdtype(logits_NK.dtype, np.complexfloating):
        raise ValueError(f"logits must be real numbers, got {logits_NK.dtype}")
    if np.isnan(logits_NK).any():
        row, column = map(int, np.argwhere(np.isnan(logits_NK))[0])
        raise ValueError(f"the logit of image {row}, class {column} is NaN: these predictions cannot be scored")
    # Class by class in memory: a class is read many times.
    labels_KN, logits_KN = np.ascontiguousarray(labels_NK.T), np.ascontiguousarray(logits_NK.T)
    classes = [_one_class(labels_N, logits_N) for labels_N, logits_N in zip(labels_KN, logits_KN, strict=True)]
    return ClassAucs(
        auc_K=np.array([auc for auc, _, _, _ in classes], dtype=np.float64),
        n_pos_K=np.array([n_pos for _, n_pos, _, _ in classes], dtype=np.int64),
        n_neg_K=np.array([n_neg for _, _, n_neg, _ in classes], dtype=np.int64),
        undefined=tuple(reason for _, _, _, reason in classes),
    )


def _labels(labels: Any) -> npt.NDArray[np.int8]:
    """Labels as 1, 0 or -1 for unknown."""
    values = np.asarray(labels)
    if values.dtype == object:
        # `!=` with itself is NaN for a float, and neither True nor False for pandas.NA.
        known = np.array([_is_known(value) for value in values.ravel()], dtype=bool).reshape(values.shape)
        values = np.where(known, values, -1)
    if values.dtype.kind not in "iub":
        values = values.astype(np.float64)
        values = np.where(np.isnan(values), -1, values)
    right = (values == -1) | (values == 0) | (values == 1)
    if not right.all():
        raise ValueError(f"labels are 1, 0 or unknown (NaN, None, -1), got {values[~right][0]:g}")
    return values.astype(np.int8)


def _is_known(value: object) -> bool:
    return value is not None and (value == value) is True


def _one_class(labels_N: npt.NDArray[np.int8], logits_N: npt.NDArray[Any]) -> tuple[float, int, int, str]:
    """(AUC or NaN, positives, negatives, reason)."""
    positive = logits_N[labels_N == 1]
    negative = logits_N[labels_N == 0]
    n_pos, n_neg = len(positive), len(negative)
    if not n_pos or not n_neg:
        reason = NO_LABELLED_IMAGES if n_pos == n_neg else NO_NEGATIVES if n_pos else NO_POSITIVES
        return float("nan"), n_pos, n_neg, reason
    # In order, neighbours look in the same part of memory.
    return area(pairs_won(np.sort(positive), negative), n_neg), n_pos, n_neg, DEFINED


def pairs_won(scores_P: npt.NDArray[Any], others_Q: npt.NDArray[Any]) -> _Integers:
    """For each score twice the number of others that lie below it, and once those that equal it: int64 (P,).

    Args:
        scores_P: without NaN.
        others_Q: without NaN.
    """
    below, not_above = places(scores_P, np.sort(others_Q))
    return below + not_above


def places(scores_P: npt.NDArray[Any], ordered_Q: npt.NDArray[Any]) -> tuple[_Integers, _Integers]:
    """For each score the number of others below it, and of those not above it, given the others in order."""
    below, not_above = (np.searchsorted(ordered_Q, scores_P, side=side) for side in ("left", "right"))
    return below.astype(np.int64), not_above.astype(np.int64)


def area(won_P: _Integers, n_neg: int) -> float:
    """AUC from `pairs_won` of the positives over the negatives; needs one of each."""
    return int(won_P.sum()) / (2 * len(won_P) * n_neg)
