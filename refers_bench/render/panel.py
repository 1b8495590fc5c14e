"""Defines one pair of axes with its series, and draws it with matplotlib."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refers_bench.printable import printable
from refers_bench.render.palette import look
from refers_bench.render.picture import Picture, draw_picture
from refers_bench.render.table import NO_VALUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = ("line", "points", "intervals")
#: Signs of the longest names of categories, and of series.
LONGEST = 36
#: Marks of a curve with more points than `_FEW`.
_MARKS, _FEW = 5, 12
_NO_BREAK = "\N{NO-BREAK SPACE}"
#: Line at a value, or of equal values, that is no series.
_GUIDE: dict[str, Any] = {"linestyle": "--", "color": "#777777", "linewidth": 0.8}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one name.

    Attributes:
        label: its name; a legend says it, unless it is a category of its panel.
        y: for "points" and "intervals", the place of a category (0, 1, ...), or a place near it.
        style: "line" (a curve), "points" (loose points with a bar at their mean), "intervals" (a mark at x with a bar
            from `low` to `high`).
        low: lower ends, of y for "line", of x for "intervals"; () for none.
        high: upper ends.
        colour: number of its colour, marker and line; for a method its place in the manifest, so that it looks the
            same in every figure; None for the place of the series in its panel.
        grey: whether it is no method, and takes none of their colours.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: str = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    colour: int | None = None
    grey: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"unknown style '{self.style}'; known: {', '.join(STYLES)}")
        lengths = {len(self.x), len(self.y), len(self.low) or len(self.x), len(self.high) or len(self.x)}
        if len(lengths) > 1:
            raise ValueError(f"series '{self.label}': x, y, low and high differ in length")

    @classmethod
    def with_ends(cls, points: Sequence[tuple[float, float, float, float]], **fields: Any) -> Series:
        """Of points that have ends: (x, y, low, high) each."""
        x, y, low, high = zip(*points, strict=True) if points else ((),) * 4
        return cls(x=x, y=y, low=low, high=high, **fields)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes.

    Attributes:
        y_names: turns the y axis into categories 0, 1, ..., from the top down.
        x_log: whether the x axis is logarithmic.
        guide: x of an upright dashed line; None for none.
        sides: what values left and right of the guide mean; written under the axis.
        diagonal: whether both axes run from 0 to 1, and a dashed line joins their corners.
        picture: what is drawn instead of series; None for series.
    """

    title: str = ""
    x_label: str = ""
    y_label: str = ""
    series: tuple[Series, ...] = ()
    y_names: tuple[str, ...] = ()
    x_log: bool = False
    guide: float | None = None
    sides: tuple[str, str] = ("", "")
    diagonal: bool = False
    picture: Picture | None = None

    def values(self, axis: str) -> list[float]:
        """All numbers that the axis "x" or "y" must hold; none of a loss that grew beyond numbers."""
        found = [self.guide] if axis == "x" and self.guide is not None else []
        for series in self.series:
            found += getattr(series, axis)
            if (series.style == "line") == (axis == "y"):
                found += [*series.low, *series.high]
        return [value for value in found if math.isfinite(value)]

    def looks(self) -> list[tuple[str, tuple[str, str, str]]]:
        """Name and look (colour, marker, line) of each series in order."""
        places = ((one, number if one.colour is None else one.colour) for number, one in enumerate(self.series))
        return [(_label(one), look(place, grey=one.grey)) for one, place in places]

    def needs_legend(self) -> list[bool]:
        """Of each series, whether a legend must name it: categories are named beside the axis."""
        return [one.label not in self.y_names for one in self.series]


def title_lines(panel: Panel, width: float) -> list[str]:
    """Lines of the title over a panel of so many inches; a share stays together: "10 % of labels"."""
    title = re.sub(r" % (?:of (?=\w))?", lambda found: found[0].replace(" ", _NO_BREAK), short(panel.title, 120))
    return textwrap.wrap(title, max(16, int(width * 14)))


def side_lines(panel: Panel, width: float) -> tuple[list[str], list[str]]:
    """Lines of what stands under the two ends of the axis of a panel of so many inches."""
    left, right = (textwrap.wrap(short(text, 60), max(8, int(width * 8))) for text in panel.sides)
    return left, right


def draw_panel(
    axes: Axes, panel: Panel, *, width: float, shared: str, held: Sequence[float], rows: int, edges: tuple[bool, bool]
) -> None:
    """Draw series, or a picture, between axes with limits at round values.

    Args:
        axes: empty axes.
        panel: what is drawn.
        width: of the panel, in inches.
        shared: axis that is the same in all panels of the figure, "x", "y" or ''.
        held: values that this axis must hold.
        rows: categories that the y axis has room for: those of the panel with most.
        edges: whether this panel is the first of its row, and the lowest of its column.
    """
    if panel.picture is not None:
        draw_picture(axes, panel.picture)
        return
    if panel.guide is not None:
        axes.axvline(panel.guide, **_GUIDE)
    listed = panel.needs_legend()
    for number, (series, (name, own)) in enumerate(zip(panel.series, panel.looks(), strict=True)):
        _draw_series(axes, series, own, number, {"label": name} if listed[number] else {})
    axes.grid(visible=True)
    if panel.diagonal:
        axes.plot([0, 1], [0, 1], **_GUIDE)
        quarters = (0, 0.25, 0.5, 0.75, 1)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=quarters, yticks=quarters)
    for axis in ("x", "y"):
        values = held if axis == shared else panel.values(axis)
        if values and not (panel.diagonal or (panel.x_log if axis == "x" else panel.y_names)):
            low, high, ticks = limits(values, most=min(7, max(3, int(width * 2.6))) if axis == "x" else 5)
            axes.set(**{f"{axis}lim": (low, high), f"{axis}ticks": ticks})
    if panel.x_log:
        _log_axis(axes, panel)
    if panel.y_names:
        _categories(axes, panel, rows)
    axes.tick_params(labelleft=edges[0] or shared != "y", labelbottom=edges[1] or shared != "x")
    _write_sides(axes, side_lines(panel, width))


def _categories(axes: Axes, panel: Panel, rows: int) -> None:
    """Names from the top down; lines through them, or between them where each has several places."""
    axes.set_yticks(range(len(panel.y_names)), [short(name, LONGEST) for name in panel.y_names])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(axis="y", which="both", length=0)
    if any(y % 1 for series in panel.series for y in series.y):
        axes.grid(visible=False, axis="y")
        axes.set_yticks([place + 0.5 for place in range(len(panel.y_names))], minor=True)
        axes.grid(visible=True, axis="y", which="minor")


def limits(values: Sequence[float], *, most: int) -> tuple[float, float, list[float]]:
    """Ends of an axis, and its ticks: round values around all that it holds, and a little room beyond them."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(1.0, abs(low)):
        low, high = low - 1, high + 1
    found = [float(tick) for tick in MaxNLocator(nbins=most, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)]
    # A tick may miss the value it stands at by the last digit.
    first = max((tick for tick in found if tick <= low), default=low)
    last = min((tick for tick in found if tick >= high), default=high)
    room = 0.03 * (last - first)
    return first - room, last + room, [tick for tick in found if first <= tick <= last]


def _log_axis(axes: Axes, panel: Panel) -> None:
    """A logarithmic x axis with a tick at every value that is drawn: matplotlib's own ticks are formulas."""
    values = sorted({value for series in panel.series for value in series.x if value > 0})
    axes.set_xscale("log")
    axes.minorticks_off()
    # A number that would touch the one before it is not written.
    room = 0.09 * math.log(values[-1] / values[0]) if values else 0.0
    labels: list[str] = []
    last = -math.inf
    for value in values:
        clear = math.log(value) - last >= room
        labels.append(f"{value:g}" if clear else "")
        last = math.log(value) if clear else last
    axes.set_xticks(values, labels)


def _write_sides(axes: Axes, lines: tuple[list[str], list[str]]) -> None:
    """What both sides of the guide mean, under the ends of the axis and above its name."""
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    for end, (text, at) in enumerate(zip(lines, ("left", "right"), strict=True)):
        if text:
            axes.annotate("\n".join(text), (end, 0), xytext=(0, -14), ha=at, fontsize=7, color="#444444", **where)
    axes.xaxis.labelpad = 10.0 * max(map(len, lines)) + 2


def _draw_series(axes: Axes, series: Series, own: tuple[str, str, str], number: int, name: dict[str, str]) -> None:
    colour, marker, line = own
    dots: dict[str, Any] = {"color": colour, "marker": marker, "markeredgewidth": 0, **name}
    if series.style == "points":
        axes.plot(series.x, series.y, linestyle="", markersize=4.5, **dots)
        if len(series.x) > 1:
            mean, middle = sum(series.x) / len(series.x), series.y[0]
            axes.plot([mean, mean], [middle - 0.36, middle + 0.36], "-", color=colour, linewidth=1.3)
    elif series.style == "intervals":
        ends = _errors(series, series.x)
        axes.errorbar(series.x, series.y, xerr=ends, linestyle="", markersize=4.5, elinewidth=1.1, **dots)
    else:
        # A long curve has a few marks, not where the next curve has its own.
        step = len(series.x) // _MARKS if len(series.x) > _FEW else 1
        every = (number * step * 2 // 7 % step, step)
        axes.plot(series.x, series.y, linestyle=line, linewidth=1.1, markersize=4, markevery=every, **dots)
        if series.low:
            ends = _errors(series, series.y)
            axes.errorbar(series.x, series.y, yerr=ends, linestyle="", ecolor=colour, elinewidth=0.8)


def _errors(series: Series, centre: Sequence[float]) -> list[list[float]] | None:
    """Distances below and above, as matplotlib takes them; None where the series has no ends."""
    if not series.low:
        return None
    below = [value - low for value, low in zip(centre, series.low, strict=True)]
    above = [high - value for value, high in zip(centre, series.high, strict=True)]
    return [[max(0.0, value) for value in ends] for ends in (below, above)]


def _label(series: Series) -> str:
    """The name in the legend: a leading underscore, or no name, would hide the curve from it."""
    return short(series.label, LONGEST).lstrip("_") or NO_VALUE


def short(text: str, limit: int) -> str:
    """The text on one line, cut at `limit` characters."""
    line = printable(text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
