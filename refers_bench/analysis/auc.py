"""What is the area under the ROC curve of each class, and for which classes does it not exist?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Why an AUC does not exist; '' where it does.
DEFINED = ""
NO_LABELLED_IMAGES = "no labelled images"
NO_POSITIVES = "no positives"
NO_NEGATIVES = "no negatives"


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
    def n_defined(self) -> int:
        """Classes that have an AUC."""
        return sum(reason == DEFINED for reason in self.undefined)

    @property
    def mean(self) -> float:
        """Mean over the classes that have an AUC; NaN when none has. Show it with `n_defined`."""
        return float(np.nanmean(self.auc_K)) if self.n_defined else float("nan")


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
    classes = [_one_class(labels_NK[:, k], logits_NK[:, k]) for k in range(labels_NK.shape[1])]
    return ClassAucs(
        auc_K=np.array([auc for auc, _, _, _ in classes], dtype=np.float64),
        n_pos_K=np.array([n_pos for _, n_pos, _, _ in classes], dtype=np.int64),
        n_neg_K=np.array([n_neg for _, _, n_neg, _ in classes], dtype=np.int64),
        undefined=tuple(reason for _, _, _, reason in classes),
    )


def _labels(labels: Any) -> npt.NDArray[np.float64]:
    """Labels as float64 with NaN for unknown."""
    values = np.asarray(labels)
    if values.dtype == object:
        # `!=` with itself is NaN for a float, and neither True nor False for pandas.NA.
        known = np.array([_is_known(value) for value in values.ravel()], dtype=bool).reshape(values.shape)
        values = np.where(known, values, np.nan)
    values = values.astype(np.float64)
    values = np.where(values == -1, np.nan, values)
    wrong = ~np.isnan(values) & (values != 0) & (values != 1)
    if wrong.any():
        raise ValueError(f"labels are 1, 0 or unknown (NaN, None, -1), got {values[wrong][0]:g}")
    return values


def _is_known(value: object) -> bool:
    return value is not None and (value == value) is True


def _one_class(labels_N: npt.NDArray[np.float64], logits_N: npt.NDArray[Any]) -> tuple[float, int, int, str]:
    """(AUC or NaN, positives, negatives, reason)."""
    positive = logits_N[labels_N == 1]
    negative = logits_N[labels_N == 0]
    n_pos, n_neg = len(positive), len(negative)
    if not n_pos or not n_neg:
        reason = NO_LABELLED_IMAGES if n_pos == n_neg else NO_NEGATIVES if n_pos else NO_POSITIVES
        return float("nan"), n_pos, n_neg, reason
    negative = np.sort(negative)
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    # Twice U: a pair ordered rightly counts 2, a tie counts 1.
    twice_u = int(below.sum(dtype=np.int64)) + int(not_above.sum(dtype=np.int64))
    return twice_u / (2 * n_pos * n_neg), n_pos, n_neg, DEFINED


def undefined_classes(classes: Sequence[str], scored: ClassAucs) -> dict[str, str]:
    """Class name -> reason, for the classes without an AUC."""
    return {name: reason for name, reason in zip(classes, scored.undefined, strict=True) if reason}
