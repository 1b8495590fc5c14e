"""Draws the sensitivity of each method by the false positive rate (ROC curves)."""

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.roc_curves import GRID, roc_curves
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


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
    rows = roc_curves(results, target).rows
    rate = tuple(place / (GRID - 1) for place in range(GRID))
    series = tuple(
        Series(label=titles[method], x=rate, y=rows[method], colour=place)
        for place, method in enumerate(results.methods)
        if method in rows
    )
    if not series:
        return None
    return Panel(
        title=grid.marked_title(results, target),
        x_label="false positive rate",
        y_label="sensitivity",
        series=series,
        diagonal=True,
    )


REPORT = Report(label="ROC curves", build=build, order=54, part="figures")
