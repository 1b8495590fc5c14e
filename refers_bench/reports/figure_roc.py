"""Draws the sensitivity of each method by the false positive rate (ROC curves)."""

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: Points of a drawn curve: classes are averaged at these false positive rates.
GRID = 101


def build(results: Results) -> Figure | None:
    """One panel per column: the mean over classes and seeds of each method's curves; None without predictions."""
    return grid.figure_of_columns(
        results,
        _panel,
        name="figure-roc",
        caption=f"ROC curves, mean over classes and seeds of the sensitivity at {GRID} false positive rates.",
        alt="ROC curves in {} panels; their areas stand in the tables as mean AUCs.",
        columns=4,
        shared="y",
    )


def _panel(results: Results, target: Target) -> Panel | None:
    titles = grid.titles(results)
    rate = np.linspace(0, 1, GRID)
    series = []
    for place, method in enumerate(results.methods):
        keys = [planned.run.key for planned in results.runs(method, target) if planned.run.counts]
        read_back = [results.scores(key) for key in keys if key in results.predicted]
        classes = [pair for one in read_back for pair in zip(one.labels_NK.T, one.scores_NK.T, strict=True)]
        curves = [curve for pair in classes if (curve := sensitivity(*pair, rate)) is not None]
        if curves:
            y = tuple(np.round(np.stack(curves).mean(axis=0), 6).tolist())
            series.append(Series(label=titles[method], x=tuple(rate.tolist()), y=y, colour=place))
    if not series:
        return None
    return Panel(
        title=grid.marked_title(results, target),
        x_label="false positive rate",
        y_label="sensitivity",
        series=tuple(series),
        diagonal=True,
    )


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


REPORT = Report(label="ROC curves", build=build, order=54, part="figures")
