"""Draws how often classes are present by the probability that each method states (reliability curves)."""

from refers_bench.analysis.cells import Target
from refers_bench.analysis.operating_points import operating_points
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.calibration import BINS
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per column with rows whose scores state probabilities; None where none has."""
    return grid.figure_of_columns(
        results,
        _panel,
        name="figure-reliability",
        caption=f"Reliability curves: share of positives by the stated probability (sigmoid of the logit), over {BINS} "
        "bins of equal mass of all classes and seeds; on the dashed line probabilities are right. Bars, of the "
        "reference row: 95 % intervals (Wilson), patients or images counted once.",
        alt="Reliability curves in {} panels; calibration errors stand in the table of operating points.",
    )


def _panel(results: Results, target: Target) -> Panel | None:
    names, found = grid.titles(results), operating_points(results, target).rows
    series = []
    for place, method in enumerate(results.methods):
        curve = found[method].curve if method in found else ()
        points = [(one.probability, one.share, one.low, one.high) for one in curve]
        if method == results.reference and points:
            series.append(Series.with_ends(points, label=names[method], colour=place))
        elif points:
            x, y = (tuple(point[axis] for point in points) for axis in (0, 1))
            series.append(Series(label=names[method], x=x, y=y, colour=place))
    if not series:
        return None
    return Panel(
        title=grid.marked_title(results, target),
        x_label="stated probability",
        y_label="share of positives",
        series=tuple(series),
        diagonal=True,
    )


REPORT = Report(label="Reliability", build=build, order=57, part="figures")
