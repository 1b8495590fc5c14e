"""Computes the mean ROC curve of each row of a table column, and keeps it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.results import Results

#: Raised when the same predictions would give other curves.
IMPL = 1
#: Points of a curve: classes are averaged at these false positive rates.
GRID = 101


@dataclass(frozen=True, kw_only=True)
class RocCurves:
    """Mean curves of one column.

    Attributes:
        rows: row name -> sensitivity at `GRID` false positive rates from 0 to 1, mean over classes and seeds; of the
            rows that have a class with positive and negative images.
    """

    rows: Mapping[str, tuple[float, ...]]


def roc_curves(results: Results, target: Target) -> RocCurves:
    """The curves of one column, computed or read back; without rows where none has stored predictions."""
    runs = results.predicted_keys(target)
    if not runs:
        return RocCurves(rows={})
    what = {"roc_curves": IMPL, "points": GRID, "runs": runs}
    return kept(RocCurves, what, results.store, functools.partial(_of_column, results, runs))


def _of_column(results: Results, runs: Mapping[str, Sequence[str]]) -> RocCurves:
    rate_G = np.linspace(0, 1, GRID)
    rows = {}
    for method, keys in runs.items():
        several = map(results.scores, keys)
        classes = [pair for one in several for pair in zip(one.labels_NK.T, one.scores_NK.T, strict=True)]
        curves = [curve for pair in classes if (curve := sensitivity(*pair, rate_G)) is not None]
        if curves:
            rows[method] = tuple(np.round(np.stack(curves).mean(axis=0), 6).tolist())
    return RocCurves(rows=rows)


def sensitivity(
    labels_N: npt.NDArray[np.int8], scores_N: npt.NDArray[np.float32], rate_G: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Sensitivity at given false positive rates, straight lines between thresholds; None for a one-sided class.

    Args:
        labels_N: 1, 0 or anything else for unknown.
        scores_N: higher means more likely positive.
        rate_G: false positive rates in [0, 1].
    """
    known = (labels_N == 0) | (labels_N == 1)
    positive, scores = labels_N[known] == 1, scores_N[known]
    if np.isnan(scores).any() or positive.all() or not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    # Images with one score pass the threshold together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.concatenate([[0], np.cumsum(positive[order])[last]]) / positive.sum()
    false = np.concatenate([[0], np.cumsum(~positive[order])[last]]) / (~positive).sum()
    return np.asarray(np.interp(rate_G, false, true), np.float64)
