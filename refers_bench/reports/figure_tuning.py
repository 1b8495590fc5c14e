"""Draws how far the mean AUC of each tuned row moves between the candidates of its tuning."""

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.sensitivity import sensitivities
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per target and label ratio; None where nothing is tuned, or no row has two complete candidates."""
    if not results.tuned:
        return None
    return grid.figure_of_columns(
        results,
        _panel,
        name="figure-tuning",
        caption="Mean class AUC on the test images of what was chosen on validation (mark), and all that the "
        "candidates of tuning reach (bar).",
        alt="Ranges of mean class AUC over the candidates of tuning by method in {} panels; the same figures stand in "
        "the table of tuning.",
        columns=4,
        shared="x",
    )


def _panel(results: Results, target: Target) -> Panel | None:
    titles, series = grid.titles(results), []
    reached_by: dict[str, list[float]] = {}
    for one in sensitivities(results):
        if one.target == target:
            reached_by.setdefault(one.row, []).extend(one.complete.values())
    for place, method in enumerate(results.methods):
        cell, values = results.cells.get((method, target)), reached_by.get(method, [])
        if cell is not None and cell.n and len(values) > 1:
            reached = (cell.mean, *values)  # chosen seed by seed, it may be better than any one candidate
            ends = [(cell.mean * 100, float(place), min(reached) * 100, max(reached) * 100)]
            series.append(Series.with_ends(ends, label=titles[method], style="intervals", colour=place))
    if not series:
        return None
    return Panel(
        title=grid.marked_title(results, target),
        x_label="mean class AUC, %",
        series=tuple(series),
        y_names=tuple(titles.values()),
    )


REPORT = Report(label="Sensitivity to tuning", build=build, order=52, part="figures")
