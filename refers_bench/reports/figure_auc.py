"""How do the methods compare on each target, seed by seed?"""

from __future__ import annotations

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per target and label ratio: a point per seed, a bar at the mean; None when nothing is done."""
    panels = [panel for target in results.targets[: grid.MOST_PANELS] if (panel := _panel(results, target)) is not None]
    if not panels:
        return None
    caption = "Mean class AUC of every seed (points) and their mean (bar)."
    return Figure(
        id="figure-auc",
        caption=grid.caption_prefix(results, results.targets)
        + caption
        + grid.not_drawn(grid.MOST_PANELS, len(results.targets))
        + grid.incomplete(results, results.targets[: grid.MOST_PANELS]),
        alt=f"Scatter of mean class AUC by method in {len(panels)} panels; the same figures stand in the tables.",
        panels=tuple(panels),
    )


def _panel(results: Results, target: Target) -> Panel | None:
    titles = grid.titles(results, results.methods)
    present = [method for method in results.methods if results.cells.get((method, target))]
    series = []
    for place, method in enumerate(present):
        values = tuple(value * 100 for value in results.cells[method, target].values)
        series.append(Series(label=titles[method], x=tuple(float(place) for _ in values), y=values, style="points"))
    if not any(entry.y for entry in series):
        return None
    mark = " (synthetic)" if target in results.synthetic else ""
    return Panel(
        title=f"{grid.target_title(target)}, {grid.percent(target.label_ratio)}{mark}",
        x_label="",
        y_label="mean class AUC, %",
        series=tuple(series),
        x_names=tuple(titles[method] for method in present),
    )


REPORT = Report(label="AUC by method", build=build, order=50)
