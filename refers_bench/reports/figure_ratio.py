"""Draws the mean AUC by the share of labels (Fig. 2 of the paper)."""

from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import SeedSummary
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per task with several label ratios: a curve per method, bars of one SD; None when there is none."""
    tasks = dict.fromkeys((target.dataset, target.task) for target in results.targets)
    found = {task: panel for task in tasks if (panel := _panel(results, *task)) is not None}
    if not found:
        return None
    panels = list(found.values())
    drawn = [target for target in results.targets if (target.dataset, target.task) in found]
    return Figure(
        id="figure-ratio",
        caption=grid.caption_prefix(results, drawn)
        + "Mean class AUC against the share of labels; bars: one SD over seeds, within 0 to 100 %.",
        alt=f"Curves of mean class AUC against label ratio in {len(panels)} panels; the figures stand in the tables.",
        panels=tuple(panels),
        shared="y",
        note="Of a single seed, bars are the 95 % interval over test images." + grid.incomplete(results, drawn),
    )


def _panel(results: Results, dataset: str, task: str) -> Panel | None:
    targets = sorted(target for target in results.targets if (target.dataset, target.task) == (dataset, task))
    if len(targets) < 2:
        return None
    titles = grid.titles(results)
    series = []
    for place, method in enumerate(results.methods):
        found = [(t, results.cells[method, t]) for t in targets if (method, t) in results.cells]
        found = [(target, cell) for target, cell in found if cell.n]
        if not found:
            continue
        points = [
            (target.label_ratio * 100, cell.mean * 100, *_ends(cell, image_statistics(results, target), method))
            for target, cell in found
        ]
        series.append(Series.with_ends(points, label=titles[method], colour=place))
    if not series:
        return None
    return Panel(
        title=grid.target_title(targets[0]) + grid.synthetic_mark(results, *targets),
        x_label="labels used for fine-tuning, %",
        y_label="mean class AUC, %",
        series=tuple(series),
        x_log=True,
    )


def _ends(cell: SeedSummary, images: ImageStatistics | None, method: str) -> tuple[float, float]:
    """Ends of the bar at a mean, in per cent; without length where nothing is known of its error."""
    mean = cell.mean * 100
    if cell.n > 1:
        return max(0.0, mean - cell.sd * 100), min(100.0, mean + cell.sd * 100)
    if images is not None and method in images.means:
        return images.means[method].low * 100, images.means[method].high * 100
    return mean, mean


REPORT = Report(label="AUC against label ratio", build=build, order=51, part="figures")
