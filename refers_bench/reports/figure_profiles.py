"""Draws the share of runs above each AUC, over all columns together (performance profiles)."""

import math

from refers_bench.analysis.aggregated import Aggregated, aggregated
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.aggregates import profile
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: Thresholds in a per cent of AUC.
_STEPS = 4


def build(results: Results) -> Figure | None:
    """A panel for each evaluation of which two columns or more can be aggregated; None where there is none."""
    found = aggregated(results)[: grid.MOST_PANELS]
    if not found:
        return None
    names = grid.titles(results)
    out = "; ".join(dict.fromkeys(names[name] for one in found for name in one.lacking))
    return Figure(
        id="figure-profiles",
        caption=grid.caption_prefix(results, (target for one in found for target in one.targets))
        + "Performance profiles: share of runs (column and seed) whose mean class AUC lies above the value on the "
        "axis; the higher curve is the better row (Agarwal et al. 2021)."
        + (f" Not complete in these columns, and not drawn: {out}." if out else ""),
        alt=f"Curves that fall from 1 to 0 in {len(found)} panels; their areas are the means over columns.",
        panels=tuple(_panel(results, one) for one in found),
        note=grid.leaking(results, (target for one in found for target in one.targets)).strip(),
    )


def _panel(results: Results, one: Aggregated) -> Panel:
    names, places = grid.titles(results), list(results.methods)
    values = [100 * value for runs in one.rows.values() for seeds in runs for value in seeds]
    low, high = math.floor(min(values)) - 1, math.ceil(max(values)) + 1
    x = [low + step / _STEPS for step in range((high - low) * _STEPS + 1)]
    series = tuple(
        Series(
            label=names[name],
            x=tuple(x),
            y=tuple(profile(runs, [value / 100 for value in x]).tolist()),
            colour=places.index(name),
        )
        for name, runs in one.rows.items()
    )
    return Panel(
        title=f"{len(one.targets)} columns{one.targets[0].suffix}{grid.synthetic_mark(results, *one.targets)}",
        x_label="mean class AUC, %",
        y_label="share of runs above",
        series=series,
    )


REPORT = Report(label="Performance profiles", build=build, order=56, part="figures")
