"""Draws how far the mean AUC of each tuned row moves between the candidates of its tuning."""

from collections.abc import Mapping, Sequence
from functools import partial

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.sensitivity import sensitivities
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per target and label ratio; None where nothing is tuned, or no row has two complete candidates."""
    reached: dict[tuple[str, Target], list[float]] = {}
    for one in sensitivities(results):
        reached.setdefault((one.row, one.target), []).extend(one.complete.values())
    return grid.figure_of_columns(
        results,
        partial(_panel, reached),
        name="figure-tuning",
        caption="Mean class AUC on the test images of what was chosen on validation (mark), and all that the "
        "candidates of tuning reach (bar).",
        alt="Ranges of mean class AUC over the candidates of tuning by method in {} panels; the same figures stand in "
        "the table of tuning.",
        columns=4,
        shared="x",
    )


def _panel(reached: Mapping[tuple[str, Target], Sequence[float]], results: Results, target: Target) -> Panel | None:
    titles, series = grid.titles(results), []
    for place, method in enumerate(results.methods):
        cell, values = results.cells.get((method, target)), reached.get((method, target), ())
        if cell is not None and cell.n and len(values) > 1:
            every = (cell.mean, *values)  # chosen seed by seed, it may be better than any one candidate
            ends = [(cell.mean * 100, float(place), min(every) * 100, max(every) * 100)]
            series.append(Series.with_ends(ends, label=titles[method], style="intervals", colour=place))
    return grid.panel_of_rows(results, target, series)


REPORT = Report(label="Sensitivity to tuning", build=build, order=52, part="figures")
