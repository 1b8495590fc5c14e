"""Computes the metrics of a result from its predictions, both where they are stored and where they are checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import ClassMetrics
from refers_bench.analysis.statistics.auc import class_aucs

#: Why a class has no AUC in imported predictions, besides the reasons of `statistics.auc`.
NAN_SCORES = "NaN scores"


def class_metrics(
    labels_NK: npt.ArrayLike,
    scores_NK: npt.NDArray[np.float32],
    classes: Sequence[str],
    *,
    split: str,
    unscored: bool = False,
) -> ClassMetrics:
    """One metric per class.

    Args:
        labels_NK: as `class_aucs` takes them.
        scores_NK: higher means more likely positive.
        classes: K names.
        split: of the images.
        unscored: whether a class with a NaN score has no AUC, as in imported predictions; else it is an error.

    Raises:
        ValueError: as `class_aucs`.
    """
    missing_K = np.asarray(np.isnan(scores_NK).any(axis=0)) if unscored else np.zeros(len(classes), bool)
    found = class_aucs(labels_NK, np.where(missing_K, np.float32(0), scores_NK))
    reasons = [why or (NAN_SCORES if lost else "") for why, lost in zip(found.undefined, missing_K, strict=True)]
    aucs = (None if why else auc for auc, why in zip(found.auc_K.tolist(), reasons, strict=True))
    return ClassMetrics(
        names=tuple(classes),
        splits=(split,) * len(classes),
        aucs=tuple(aucs),
        n_pos=tuple(found.n_pos_K.tolist()),
        n_neg=tuple(found.n_neg_K.tolist()),
        undefined=tuple(reasons),
    )
