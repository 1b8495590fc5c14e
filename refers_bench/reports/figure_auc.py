"""Draws the mean AUC of every method and seed on each target."""

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per target and label ratio: a point per seed, a bar at the mean; None when nothing is done."""
    return grid.figure_of_columns(
        results,
        _panel,
        name="figure-auc",
        caption="Mean class AUC of every seed (points) and their mean (bar).",
        alt="Scatter of mean class AUC by method in {} panels; the same figures stand in the tables.",
        columns=4,
        shared="x",
    )


def _panel(results: Results, target: Target) -> Panel | None:
    titles = grid.titles(results)
    series = []
    for place, method in enumerate(results.methods):
        cell = results.cells.get((method, target))
        values = tuple(value * 100 for value in cell.values) if cell else ()
        if values:
            y = (float(place),) * len(values)
            series.append(Series(label=titles[method], x=values, y=y, style="points", colour=place))
    return grid.panel_of_rows(results, target, series)


REPORT = Report(label="AUC by method", build=build, order=50, part="figures")
