"""Draws each method's difference from the reference with its interval over test images (forest plot)."""

from statistics import fmean

from refers_bench.analysis.cells import Target
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid, paper

#: Columns and rows that a reader's first screen holds beside the main table.
MOST_COLUMNS, MOST_ROWS = 6, 17


def build(results: Results) -> Figure | None:
    """One panel per column with differences, in the main table's order; None when there is none."""
    found: list[ImageStatistics] = []
    order = _main_order(results)
    for target in order:
        one = image_statistics(results, target) if len(found) < MOST_COLUMNS else None
        if one is not None and one.differences:
            found.append(one)
    if not found:
        return None
    names = grid.titles(results)
    reference = names.get(found[0].reference, found[0].reference)
    rows = _sorted_rows(found)
    shown = rows[:MOST_ROWS]
    drawn = [one.target for one in found]
    more = [f"{len(shown)} of {len(rows)} methods, those closest to {reference}."] if len(rows) > len(shown) else []
    more += [f"{len(drawn)} of {len(order)} columns."] if len(order) > len(drawn) else []
    more += ["The others stand in the table of test images."] if more else []
    how = "; ".join(dict.fromkeys(INTERVAL[one.unit] for one in found))
    return Figure(
        id="figure-forest",
        caption=f"{grid.caption_prefix(results, drawn)}{reference} minus each other method: mean class AUC in points, "
        "95 % intervals over test images.",
        alt=f"Forest plot of differences in {len(found)} panels; the same figures stand in the table of test images.",
        panels=tuple(_panel(results, one, reference, shown) for one in found),
        columns=MOST_COLUMNS,
        shared="x",
        note=" ".join([*more, f"Intervals: {how}."]) + grid.incomplete(results, drawn),
    )


def _main_order(results: Results) -> list[Target]:
    """Columns in the order of Table 1 of the paper, then those it does not have."""
    first = [target for column in paper.ALL if (target := paper.find_target(results, column)) is not None]
    return [*dict.fromkeys([*first, *results.targets])]


def _sorted_rows(found: list[ImageStatistics]) -> list[str]:
    """Methods, those on top that come closest to the reference, or exceed it, in the mean over the drawn columns."""
    methods = dict.fromkeys(method for one in found for method in one.differences)
    mean = {
        method: fmean(one.differences[method].estimate for one in found if method in one.differences)
        for method in methods
    }
    return sorted(methods, key=lambda method: (mean[method], method))


def _panel(results: Results, one: ImageStatistics, reference: str, rows: list[str]) -> Panel:
    names, places = grid.titles(results), list(results.methods)
    series = []
    for y, method in enumerate(rows):
        if (interval := one.differences.get(method)) is not None:
            point = (interval.estimate * 100, float(y), interval.low * 100, interval.high * 100)
            colour = places.index(method)
            series.append(Series.with_ends([point], label=names[method], style="intervals", colour=colour))
    return Panel(
        title=grid.marked_title(results, one.target),
        series=tuple(series),
        y_names=tuple(names[method] for method in rows),
        guide=0.0,
        sides=("favours other", f"favours {reference}"),
    )


REPORT = Report(label="Differences", build=build, order=11)
