"""Draws the AUC of each class and method as bars (Extended Data Figs. 1-4 of the paper)."""

import math

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import mean_sd
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: Where a bar begins: the AUC of a coin, in per cent.
CHANCE = 50.0
#: More rows than this are bars too thin to tell apart; more columns than this, figures nobody looks through.
MOST_METHODS, MOST_FIGURES = 16, 12
#: Classes side by side.
IN_A_PANEL = 5


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
    parts = [names[start : start + IN_A_PANEL] for start in range(0, len(names), IN_A_PANEL)]
    return Figure(
        id=grid.item_id("figure-classes", target),
        caption=f"{grid.caption_prefix(results, [target])}AUC of each class, {grid.where(target)}. Bars begin at "
        f"50 %, which is chance; lines: one SD over seeds.{grid.incomplete(results, [target])}",
        alt=f"Bars of the AUC of {len(names)} classes by method; the same figures stand in the table of classes.",
        panels=tuple(_panel(results, values, part) for part in parts),
        view="class",
    )


def _panel(results: Results, values: dict[str, dict[str, list[float]]], names: list[str]) -> Panel:
    titles = grid.titles(results)
    series = []
    for place, method in enumerate(results.methods):
        found = [(float(x), mean_sd(values[name][method])) for x, name in enumerate(names) if method in values[name]]
        if not any(method in figures for figures in values.values()):
            continue
        spread = [(x, mean, 0.0 if math.isnan(sd) else sd) for x, (mean, sd) in found]
        points = [(x, mean, mean - sd, mean + sd) for x, mean, sd in spread]
        series.append(Series.with_ends(points, label=titles[method], style="bars", colour=place))
    return Panel(y_label="AUC, %", series=tuple(series), x_names=tuple(names), base=CHANCE)


REPORT = Report(label="Classes, bars", build=build, order=53, part="classes")
