"""Defines a figure of panels of one size, and draws it as SVG or PDF whose bytes are the same every time."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refers_bench.render.panel import LONGEST, Panel, Series, draw_panel, short, side_lines, title_lines
from refers_bench.render.points import described
from refers_bench.render.table import Keys, check_id

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

#: What a report needs to make a figure.
__all__ = ["Figure", "Panel", "Series", "draw"]

#: Inches: a full row of panels, the widest panel, also where it stands alone in its row.
WIDTH, WIDEST, ALONE = 10.2, 3.4, 4.6
#: Height of a panel, without title and axis, as a share of its width; also where both axes are alike.
SHAPE, SQUARE = 0.6, 0.8
#: Inches: height of a category, least height of each place in it, least height of all, line of text, axis below.
CATEGORY, PLACE, LEAST, LINE, AXIS = 0.17, 0.065, 0.6, 0.14, 0.5
#: Inches of a sign, and of the mark before a name in the legend.
SIGN, MARK = 0.066, 0.5

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
    "axes.edgecolor": "#777777",
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.6,
    "xtick.color": "#777777",
    "xtick.labelcolor": "#000000",
    "ytick.color": "#777777",
    "ytick.labelcolor": "#000000",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of panels of one size.

    Attributes:
        id: file name stem and anchor.
        caption: what is drawn, in one line; names synthetic data.
        alt: what a reader who cannot see it needs to know.
        view: "mean" or "class" where a page may show either; '' where it always shows.
        part: the part of the page that it stands in, one of `refers_bench.plugins.REPORT_PARTS`.
        keys: what it is about; see `refers_bench.render.table.Keys`.
        columns: most panels in a row, 1 to 6.
        shared: "x" or "y" where that axis is the same in all panels; '' where each has its own.
        note: what else is to be known, as what is left out; shown below the caption.
    """

    id: str
    caption: str
    alt: str
    panels: tuple[Panel, ...]
    view: str = ""
    part: str = "figures"
    keys: Keys = ()
    columns: int = 3
    shared: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)
        if not self.panels:
            raise ValueError(f"figure '{self.id}' has no panel")


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Rows and columns of panels; width and height of each in inches.

    Attributes:
        once: whether all panels have the same categories, which are then named at the left of each row alone.
        room: inches that these names take.
    """

    rows: int
    columns: int
    width: float
    height: float
    once: bool
    room: float


def draw(figure: Figure, *, format: str = "svg") -> bytes:  # noqa: A002 - matplotlib's own name for it
    """The figure as SVG or PDF, byte-identical for the same figure and the same matplotlib."""
    # Slow to import; only a report with figures pays for it.
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = _layout(figure)
    width = layout.room + layout.columns * layout.width
    legend = _shared_legend(figure.panels)
    names = _legend_columns(list(legend), width)
    with mpl.rc_context(_SETTINGS):
        engine = ConstrainedLayoutEngine(h_pad=0.05, w_pad=0.05)
        height = layout.rows * layout.height + 1.2 * LINE * -(-len(legend) // names)
        canvas = Canvas(figsize=(width, height), layout=engine)
        FigureCanvasAgg(canvas)
        _draw_panels(canvas, figure, layout, legends=not legend)
        if legend:
            _legend(canvas, list(legend), names)
        stream = io.BytesIO()
        dates = {"Date": None} if format == "svg" else {"CreationDate": None}
        with warnings.catch_warnings():
            # Not worth a warning: a name in a script that the font lacks, or one too long for its panel.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="constrained_layout not applied")
            # Place once, draw once: by default matplotlib draws everything a second time to place it again.
            engine.execute(canvas)
            canvas.set_layout_engine("none")
            canvas.savefig(stream, format=format, metadata=dates)
        return described(stream.getvalue(), canvas, figure.panels) if format == "svg" else stream.getvalue()


def _layout(figure: Figure) -> _Layout:
    """Panels as wide as a row of them allows, and as high as their categories, or else their width, ask."""
    panels = figure.panels
    rows = math.ceil(len(panels) / figure.columns)
    columns = math.ceil(len(panels) / rows)
    names = [min(len(name), LONGEST) for panel in panels for name in panel.y_names]
    once = bool(names) and len({panel.y_names for panel in panels}) == 1
    room = max(names) * SIGN if once else 0.0
    width = min(WIDEST if columns > 1 else ALONE, (WIDTH - room) / columns)
    height = width * (SQUARE if panels[0].diagonal else SHAPE)
    if names:
        places = max(len({y for series in panel.series for y in series.y}) for panel in panels)
        height = max(LEAST, max(len(panel.y_names) for panel in panels) * CATEGORY, places * PLACE)
    lines = max(len(title_lines(panel, width)) for panel in panels)
    lines += max(len(side) for panel in panels for side in side_lines(panel, width))
    height += LINE * lines + AXIS
    return _Layout(rows=rows, columns=columns, width=width, height=height, once=once, room=room)


def _shared_legend(panels: Sequence[Panel]) -> dict[str, tuple[str, str, str]]:
    """Name -> look, where one legend can serve all panels; else empty."""
    found: dict[str, tuple[str, str, str]] = {}
    for panel in panels:
        for (name, own), listed in zip(panel.looks(), panel.needs_legend(), strict=True):
            if listed and found.setdefault(name, own) != own:
                return {}
    # Two names of one look need legends of their own.
    return found if len(set(found.values())) == len(found) else {}


def _legend_columns(names: Sequence[str], width: float) -> int:
    """As many columns as fit so many inches, and no more than the rows they make need."""
    for columns in range(len(names), 1, -1):
        rows = -(-len(names) // columns)
        longest = [max(map(len, names[start : start + rows])) for start in range(0, len(names), rows)]
        if sum(longest) * SIGN + len(longest) * MARK <= width:
            return len(longest)
    return 1


def _legend(canvas: Canvas, names: Sequence[str], columns: int) -> None:
    """One legend below all panels, never over what they show."""
    handles: dict[str, Any] = {}
    for axes in canvas.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    look = {"ncols": columns, "frameon": False, "fontsize": 7.5}
    canvas.legend([handles[name] for name in names], names, loc="outside lower center", **look)


def _draw_panels(canvas: Canvas, figure: Figure, layout: _Layout, *, legends: bool) -> None:
    """All panels; what they have in common is written once a row or once a column."""
    panels = figure.panels
    alike_x, alike_y = (len({getattr(one, name) for one in panels}) == 1 for name in ("x_label", "y_label"))
    held = [value for panel in panels for value in panel.values(figure.shared)] if figure.shared else []
    for place, panel in enumerate(panels):
        axes = canvas.add_subplot(layout.rows, layout.columns, place + 1)
        first, lowest = place % layout.columns == 0, place + layout.columns >= len(panels)
        axes.set_title("\n".join(title_lines(panel, layout.width)), fontsize=8)
        draw_panel(
            axes,
            panel,
            width=layout.width,
            shared=figure.shared,
            held=held,
            rows=max(len(one.y_names) for one in panels),
            edges=(first, lowest),
        )
        if layout.once and not first:
            axes.set_yticklabels([])
        axes.set_xlabel(short(panel.x_label, 60) if lowest or not alike_x else "")
        axes.set_ylabel(short(panel.y_label, 40) if first or not alike_y else "")
        if legends and any(panel.needs_legend()):
            # Beside the axes, where it covers nothing.
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=6.5)
