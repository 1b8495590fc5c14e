"""Describes the points of a drawn figure, so that a page can say what a reader points at.

The description is JSON in the SVG's last element, ``<metadata id="points">``: the drawing looks the same with and
without it, and a program can read the values that are drawn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from refers_bench.printable import printable
from refers_bench.render.panel import Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Points of a curve that are described at most: readers point no finer, and long training curves would fill the page.
MOST = 120
#: Points of an inch, the unit of a drawing.
_POINTS = 72


def described(svg: bytes, canvas: Canvas, panels: Sequence[Panel]) -> bytes:
    """The drawing with the description of its points.

    Args:
        svg: as matplotlib wrote it.
        canvas: what it was drawn from, placed as it is in the drawing.
        panels: of the first axes of the canvas, in order.
    """
    found = [_panel(axes, panel, canvas) for axes, panel in zip(canvas.axes, panels, strict=False)]
    text = json.dumps([one for one in found if one["series"]], ensure_ascii=False, separators=(",", ":"))
    end = svg.rindex(b"</svg>")
    return svg[:end] + f'<metadata id="points">{escape(text, quote=False)}</metadata>\n'.encode() + svg[end:]


def _panel(axes: Axes, panel: Panel, canvas: Canvas) -> dict[str, Any]:
    """Names of the axes, and the series with values and places of their points."""
    looks = [own for _, own in panel.looks()]
    series = [_series(axes, one, own[0], canvas) for one, own in zip(panel.series, looks, strict=True)]
    return {
        "title": printable(panel.title),
        "x": printable(panel.x_label),
        "y": printable(panel.y_label),
        "names": [printable(name) for name in panel.y_names],
        "series": [one for one in series if one["at"]],
    }


def _series(axes: Axes, series: Series, colour: str, canvas: Canvas) -> dict[str, Any]:
    """Name, colour, and of each point: place in the drawing, values, and place and values of its ends."""
    line = series.style == "line"
    every = max(1, math.ceil(len(series.x) / MOST)) if line else 1
    points = list(zip(series.x, series.y, strict=True))[::every]
    drawn = [place for place, point in enumerate(points) if all(map(math.isfinite, point))]
    found: dict[str, Any] = {
        "name": printable(series.label),
        "colour": colour,
        "line": line,
        "at": _places(axes, canvas, (points[place] for place in drawn)),
        "values": [[_short(value) for value in points[place]] for place in drawn],
    }
    if series.low:
        ends = list(zip(series.low, series.high, strict=True))[::every]
        found["ends"] = [[_short(value) for value in ends[place]] for place in drawn]
        for side, name in enumerate(("from", "to")):
            here = ((points[place], ends[place][side]) for place in drawn)
            found[name] = _places(axes, canvas, ((x, end) if line else (end, y) for (x, y), end in here))
    return found


def _places(axes: Axes, canvas: Canvas, points: Iterable[tuple[float, float]]) -> list[list[float]]:
    """Where points of the axes lie in the drawing: from its left and from its top, in its unit."""
    found = list(points)
    if not found:
        return []
    height = canvas.get_figheight() * _POINTS
    places = axes.transData.transform(found) * (_POINTS / canvas.dpi)
    return [[round(float(x), 1), round(height - float(y), 1)] for x, y in places]


def _short(value: float) -> float:
    """The value with four significant digits."""
    return float(f"{value:.4g}")
