"""What is a figure, and how does it become the same SVG or PDF bytes every time?"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refers_bench.render.escape import printable
from refers_bench.render.table import NO_VALUE, check_id

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Okabe and Ito's colours: told apart by readers with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", ":", "-.")

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
    """Points of one name: a curve ("line") or loose points with a bar at their mean ("points").

    Attributes:
        x: for "points", the place of a category (0, 1, ...).
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: str = "line"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes; `x_names` turns the x axis into categories 0, 1, ..."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of small panels, three to a row.

    Attributes:
        id: file name stem and anchor.
        caption: says what is drawn; names synthetic data.
        alt: what a reader who cannot see it needs to know.
    """

    id: str
    caption: str
    alt: str
    panels: tuple[Panel, ...]

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

    columns = min(3, len(figure.panels))
    rows = math.ceil(len(figure.panels) / columns)
    with mpl.rc_context(_SETTINGS):
        canvas = Canvas(figsize=(3.4 * columns, 2.6 * rows), layout="constrained")
        FigureCanvasAgg(canvas)
        _draw_panels(canvas, figure.panels, rows=rows, columns=columns)
        stream = io.BytesIO()
        dates = {"Date": None} if format == "svg" else {"CreationDate": None}
        with warnings.catch_warnings():
            # A name in a script the font lacks, or one too long for its panel, is no reason to warn a user.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="constrained_layout not applied")
            canvas.savefig(stream, format=format, metadata=dates)
    return stream.getvalue()


def _draw_panels(canvas: Canvas, panels: Sequence[Panel], *, rows: int, columns: int) -> None:
    for place, panel in enumerate(panels):
        axes = canvas.add_subplot(rows, columns, place + 1)
        for number, series in enumerate(panel.series):
            colour = COLOURS[number % len(COLOURS)]
            if series.style == "points":
                _points(axes, series, colour)
            else:
                style = STYLES[number // len(COLOURS) % len(STYLES)]
                # A leading underscore, or no name, would hide the curve from the legend.
                label = _short(series.label, 40).lstrip("_") or NO_VALUE
                axes.plot(series.x, series.y, style, color=colour, linewidth=1.0, label=label)
        axes.set_title("\n".join(textwrap.wrap(_short(panel.title, 120), 44)), fontsize=8)
        axes.set_xlabel(_short(panel.x_label, 40))
        axes.set_ylabel(_short(panel.y_label, 40))
        if panel.x_names:
            names = [_short(name, 28) for name in panel.x_names]
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
            axes.set_xlim(-0.5, len(names) - 0.5)
        else:
            axes.legend(frameon=False, fontsize=6)


def _points(axes: Axes, series: Series, colour: str) -> None:
    axes.plot(series.x, series.y, "o", color=colour, markersize=3.5, alpha=0.8, markeredgewidth=0)
    if series.y:
        mean = sum(series.y) / len(series.y)
        axes.plot([min(series.x) - 0.3, max(series.x) + 0.3], [mean, mean], "-", color=colour, linewidth=1.2)


def _short(text: str, limit: int) -> str:
    """The text on one line, cut at `limit` characters."""
    line = printable(text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
