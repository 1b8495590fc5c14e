"""Draws each method's difference from the reference with its interval over test images (forest plot)."""

from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid


def build(results: Results) -> Figure | None:
    """One panel per column with differences; None when there is none."""
    columns = [image_statistics(results, target) for target in results.targets[: grid.MOST_PANELS]]
    found = [one for one in columns if one is not None and one.differences]
    if not found:
        return None
    names = grid.titles(results)
    reference = names.get(found[0].reference, found[0].reference)
    return Figure(
        id="figure-forest",
        caption=grid.caption_prefix(results, (one.target for one in found))
        + f"{reference} minus each method, mean class AUC in points; 95 % intervals over test images "
        f"({'; '.join(dict.fromkeys(INTERVAL[one.unit] for one in found))})." + grid.left_out(results),
        alt=f"Forest plot of differences in {len(found)} panels; the same figures stand in the table of test images.",
        panels=tuple(_panel(results, one, reference) for one in found),
    )


def _panel(results: Results, one: ImageStatistics, reference: str) -> Panel:
    names = grid.titles(results)
    methods = list(one.differences)
    intervals = [one.differences[method] for method in methods]
    points = [(one.estimate * 100, float(y), one.low * 100, one.high * 100) for y, one in enumerate(intervals)]
    return Panel(
        title=grid.marked_title(results, one.target),
        x_label=f"{reference} minus method, points",
        series=(Series.with_ends(points, label="difference", style="intervals"),),
        y_names=tuple(names.get(method, method) for method in methods),
        guide=0.0,
    )


REPORT = Report(label="Differences", build=build, order=11)
