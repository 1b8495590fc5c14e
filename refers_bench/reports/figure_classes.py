"""Draws the AUC of each class and method (Extended Data Figs. 1-4 of the paper, there as bars)."""

import math

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import mean_sd
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: More rows than this cannot be told apart; more columns than this are figures nobody looks through.
MOST_METHODS, MOST_FIGURES = 16, 12
#: Most classes of a panel, and share of a class's height that its methods take.
IN_A_PANEL, SPREAD = 5, 0.76


def build(results: Results) -> list[Figure]:
    """One figure for each of the first columns with several classes; none with too many rows to tell apart."""
    if len(results.methods) > MOST_METHODS:
        return []
    targets = results.targets[:MOST_FIGURES]
    return [figure for target in targets if (figure := _figure(results, target)) is not None]


def _figure(results: Results, target: Target) -> Figure | None:
    values: dict[str, dict[str, list[float]]] = {}
    for method in results.methods:
        for run in results.runs(method, target):
            for metric in run.metrics:
                if metric.split == "test" and metric.auc is not None:
                    values.setdefault(metric.name, {}).setdefault(method, []).append(metric.auc * 100)
    if len(values) < 2:
        return None
    names = list(values)
    each = math.ceil(len(names) / math.ceil(len(names) / IN_A_PANEL))
    parts = [names[start : start + each] for start in range(0, len(names), each)]
    return Figure(
        id=grid.item_id("figure-classes", target),
        caption=f"{grid.caption_prefix(results, [target])}AUC of each class, {grid.where(target)}: mean and SD over "
        "seeds, within 0 to 100 %.",
        alt=f"AUCs of {len(names)} classes by method; the same figures stand in the table of classes.",
        panels=tuple(_panel(results, values, part) for part in parts),
        view="class",
        shared="x",
        note=grid.incomplete(results, [target]).strip(),
    )


def _panel(results: Results, values: dict[str, dict[str, list[float]]], names: list[str]) -> Panel:
    titles = grid.titles(results)
    present = [method for method in results.methods if any(method in figures for figures in values.values())]
    series = []
    for place, method in enumerate(present):
        beside = SPREAD * ((place + 0.5) / len(present) - 0.5)
        found = [(y + beside, mean_sd(values[name][method])) for y, name in enumerate(names) if method in values[name]]
        # A single seed has no SD to draw.
        spread = [(y, mean, 0.0 if math.isnan(sd) else sd) for y, (mean, sd) in found]
        points = [(mean, y, max(0.0, mean - sd), min(100.0, mean + sd)) for y, mean, sd in spread]
        colour = list(results.methods).index(method)
        series.append(Series.with_ends(points, label=titles[method], style="intervals", colour=colour))
    return Panel(x_label="AUC, %", series=tuple(series), y_names=tuple(names))


REPORT = Report(label="AUC of each class", build=build, order=53, part="classes")
