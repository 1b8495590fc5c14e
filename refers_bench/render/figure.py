"""Defines a figure, and draws it as SVG or PDF whose bytes are the same every time."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refers_bench.render.escape import printable
from refers_bench.render.picture import Picture, draw_picture
from refers_bench.render.table import NO_VALUE, Keys, check_id

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Okabe and Ito's colours: told apart by readers with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES_OF_SERIES = ("line", "points", "bars", "intervals")
STYLES = ("-", "--", ":", "-.")
#: Styles of series that a legend names; the others stand beside their names.
_NAMED = ("line", "bars")
#: Columns of the legend of all panels by columns of panels, and most names in it.
_LEGEND_COLUMNS, _MOST_SHARED = {1: 2, 2: 4, 3: 6}, 32

#: Line at a value, or of equal values, that is no series.
_GUIDE: dict[str, Any] = {"linestyle": "--", "color": "#777777", "linewidth": 0.8}
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "refers-bench",
    "svg.fonttype": "none",  # text stays text: searchable, small, and no font is needed to write it
    "text.parse_math": False,  # a '$' in a method's name is a dollar sign
    "text.usetex": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one name.

    Attributes:
        x: for "points" and "bars", the place of a category (0, 1, ...).
        y: for "intervals", the place of a category.
        style: "line" (a curve), "points" (loose points with a bar at their mean), "bars" (upright bars), "intervals"
            (a mark at x with a bar from `low` to `high`).
        low: lower ends, of y for "line" and "bars", of x for "intervals"; () for none.
        high: upper ends.
        colour: number of the colour; by default that of the series.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: str = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    colour: int | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES_OF_SERIES:
            raise ValueError(f"unknown style '{self.style}'; known: {', '.join(STYLES_OF_SERIES)}")
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
        x_names: turns the x axis into categories 0, 1, ...
        y_names: turns the y axis into categories 0, 1, ..., from the top down.
        x_log: whether the x axis is logarithmic.
        guide: x of an upright dashed line; None for none.
        diagonal: whether a dashed line joins (0, 0) and (1, 1).
        base: value that bars begin at.
        tall: height in rows of panels; a figure is as tall as its tallest panel asks.
        picture: what is drawn instead of series; None for series.
    """

    title: str = ""
    x_label: str = ""
    y_label: str = ""
    series: tuple[Series, ...] = ()
    x_names: tuple[str, ...] = ()
    y_names: tuple[str, ...] = ()
    x_log: bool = False
    guide: float | None = None
    diagonal: bool = False
    base: float = 0.0
    tall: float = 1.0
    picture: Picture | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of small panels.

    Attributes:
        id: file name stem and anchor.
        caption: says what is drawn; names synthetic data.
        alt: what a reader who cannot see it needs to know.
        view: "mean" or "class" where a page may show either; '' where it always shows.
        part: the part of the page that it stands in, one of `refers_bench.plugins.REPORT_PARTS`.
        keys: what it is about; see `refers_bench.render.table.Keys`.
        columns: most panels in a row, 1 to 3.
    """

    id: str
    caption: str
    alt: str
    panels: tuple[Panel, ...]
    view: str = ""
    part: str = "figures"
    keys: Keys = ()
    columns: int = 3

    def __post_init__(self) -> None:
        check_id(self.id)
        if not self.panels:
            raise ValueError(f"figure '{self.id}' has no panel")


def draw(figure: Figure, *, format: str = "svg") -> bytes:  # noqa: A002 - matplotlib's own name for it
    """The figure as SVG or PDF, byte-identical for the same figure and the same matplotlib."""
    # Slow to import; only a report with figures pays for it.
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(figure.columns, len(figure.panels))
    rows = math.ceil(len(figure.panels) / columns)
    with mpl.rc_context(_SETTINGS):
        tall = max(panel.tall for panel in figure.panels)
        shared = _shared(figure.panels)
        lines = -(-len(shared) // _LEGEND_COLUMNS[columns])
        layout = ConstrainedLayoutEngine(h_pad=0.09)
        canvas = Canvas(figsize=(3.4 * columns, 2.6 * rows * tall + 0.16 * lines), layout=layout)
        FigureCanvasAgg(canvas)
        _draw_panels(canvas, figure.panels, rows=rows, columns=columns, legends=not shared)
        if shared:
            _legend(canvas, shared, columns)
        stream = io.BytesIO()
        dates = {"Date": None} if format == "svg" else {"CreationDate": None}
        with warnings.catch_warnings():
            # Not worth a warning: a name in a script that the font lacks, or one too long for its panel.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="constrained_layout not applied")
            # Place once, draw once: by default matplotlib draws everything a second time to place it again.
            layout.execute(canvas)
            canvas.set_layout_engine("none")
            canvas.savefig(stream, format=format, metadata=dates)
    return stream.getvalue()


def _shared(panels: Sequence[Panel]) -> dict[str, int]:
    """Label -> place in the panels' colours and styles, when one legend can serve all panels; else empty."""
    found: dict[str, int] = {}
    for panel in panels:
        for number, series in enumerate(panel.series):
            if series.style not in _NAMED:
                return {}
            place = number if series.colour is None else series.colour
            if found.setdefault(_label(series), place) != place:
                return {}
    # Two labels of one colour, or more than fit below the panels, need legends of their own.
    same = len({place % (len(COLOURS) * len(STYLES)) for place in found.values()}) < len(found)
    return {} if same or len(found) > _MOST_SHARED else found


def _legend(canvas: Canvas, shared: dict[str, int], columns: int) -> None:
    """One legend below all panels, never over what they show."""
    handles: dict[str, Any] = {}
    for axes in canvas.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = [name for name in shared if name in handles]
    look = {"ncols": _LEGEND_COLUMNS[columns], "frameon": False, "fontsize": 7}
    canvas.legend([handles[name] for name in names], names, loc="outside lower center", **look)


def _draw_panels(canvas: Canvas, panels: Sequence[Panel], *, rows: int, columns: int, legends: bool) -> None:
    for place, panel in enumerate(panels):
        axes = canvas.add_subplot(rows, columns, place + 1)
        if panel.guide is not None:
            axes.axvline(panel.guide, **_GUIDE)
        if panel.diagonal:
            axes.plot([0, 1], [0, 1], **_GUIDE)
        for number, series in enumerate(panel.series):
            _draw_series(axes, series, number, len(panel.series), panel.base)
        # Names beside the axes leave the title less room.
        width = 30 if panel.y_names else 44
        title = _short(panel.title, 120).replace(" %", "\N{NO-BREAK SPACE}%")
        axes.set_title("\n".join(textwrap.wrap(title, width)), fontsize=8)
        axes.set(xlabel=_short(panel.x_label, 40), ylabel=_short(panel.y_label, 40))
        if panel.picture is not None:
            draw_picture(axes, panel.picture)
            continue
        if panel.x_log:
            _log_axis(axes, panel)
        _name_axes(axes, panel, legend=legends)


def _log_axis(axes: Axes, panel: Panel) -> None:
    """A logarithmic x axis with a tick at every value that is drawn: matplotlib's own ticks are formulas."""
    values = sorted({value for series in panel.series for value in series.x if value > 0})
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(values, [f"{value:g}" for value in values])


def _name_axes(axes: Axes, panel: Panel, *, legend: bool) -> None:
    """Categories, and a legend where the figure has none for all panels."""
    if panel.x_names:
        names = [_short(name, 28) for name in panel.x_names]
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.5, len(names) - 0.5)
    if panel.y_names:
        axes.set_yticks(range(len(panel.y_names)), [_short(name, 36) for name in panel.y_names])
        axes.set_ylim(len(panel.y_names) - 0.5, -0.5)
    if legend and any(series.style in _NAMED for series in panel.series):
        axes.legend(framealpha=0.7, edgecolor="none", fontsize=6)


def _label(series: Series) -> str:
    """The name in the legend: a leading underscore, or no name, would hide the curve from it."""
    return _short(series.label, 40).lstrip("_") or NO_VALUE


def _draw_series(axes: Axes, series: Series, number: int, count: int, base: float) -> None:
    place = number if series.colour is None else series.colour
    colour = COLOURS[place % len(COLOURS)]
    label = _label(series)
    if series.style == "points":
        _points(axes, series, colour)
    elif series.style == "bars":
        width = 0.8 / count
        x = [value - 0.4 + (number + 0.5) * width for value in series.x]
        # A pattern tells bars apart once the colours begin again.
        hatch = ("", "////", "....", "xxxx")[place // len(COLOURS) % 4]
        look: dict[str, Any] = {"color": colour, "label": label, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        heights, errors = [value - base for value in series.y], _errors(series, series.y)
        axes.bar(x, heights, width, bottom=base, yerr=errors, error_kw={"lw": 0.6}, **look)
    elif series.style == "intervals":
        axes.errorbar(series.x, series.y, xerr=_errors(series, series.x), fmt="o", color=colour, ms=3.5, lw=1.0)
    else:
        style = STYLES[place // len(COLOURS) % len(STYLES)]
        axes.plot(series.x, series.y, style, color=colour, linewidth=1.0, label=label)
        if series.low:
            axes.errorbar(series.x, series.y, yerr=_errors(series, series.y), fmt="o", color=colour, ms=2.5, lw=0.8)


def _errors(series: Series, centre: Sequence[float]) -> list[list[float]] | None:
    """Distances below and above, as matplotlib takes them; None where the series has no ends."""
    if not series.low:
        return None
    below = [value - low for value, low in zip(centre, series.low, strict=True)]
    above = [high - value for value, high in zip(centre, series.high, strict=True)]
    return [[max(0.0, value) for value in ends] for ends in (below, above)]


def _points(axes: Axes, series: Series, colour: str) -> None:
    axes.plot(series.x, series.y, "o", color=colour, markersize=3.5, alpha=0.8, markeredgewidth=0)
    if series.y:
        mean = sum(series.y) / len(series.y)
        axes.plot([min(series.x) - 0.3, max(series.x) + 0.3], [mean, mean], "-", color=colour, linewidth=1.2)


def _short(text: str, limit: int) -> str:
    """The text on one line, cut at `limit` characters."""
    line = printable(text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
