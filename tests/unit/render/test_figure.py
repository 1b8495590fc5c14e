"""What is drawn in a figure lies where its numbers say, in the colours of its legend, between axes that name it."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from refers_bench.render.figure import COLOURS, Figure, Panel, Series, draw

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(*panels: Panel, columns: int = 3) -> ElementTree.Element:
    return ElementTree.fromstring(draw(Figure(id="f", caption="c", alt="a", panels=panels, columns=columns)))


def points(path: str) -> list[tuple[float, float]]:
    """Corners of a path of straight lines."""
    numbers = re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)
    return [(float(x), float(y)) for x, y in numbers]


def paths(root: ElementTree.Element, colour: str, *, dashed: bool = False) -> list[list[tuple[float, float]]]:
    """Lines of a colour, without a fill, in the order in which they are drawn."""
    found = []
    for path in root.iter(f"{SVG}path"):
        style = path.get("style", "")
        if f"stroke: {colour.lower()}" in style and ("stroke-dasharray" in style) == dashed and "fill: none" in style:
            found.append(points(path.get("d", "")))
    return found


def rectangles(root: ElementTree.Element, colour: str) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of the filled rectangles of a colour."""
    found = []
    for path in root.iter(f"{SVG}path"):
        if f"fill: {colour.lower()}" in path.get("style", "") and len(corners := points(path.get("d", ""))) >= 4:
            x, y = [x for x, _ in corners], [y for _, y in corners]
            found.append((min(x), min(y), max(x) - min(x), max(y) - min(y)))
    return found


def texts(root: ElementTree.Element) -> dict[str, tuple[float, float, float]]:
    """Text -> where it stands (x, y) and by how many degrees it is turned."""
    found = {}
    for text in root.iter(f"{SVG}text"):
        turned = re.search(r"rotate\((-?[\d.]+)", text.get("transform", ""))
        moved = re.search(r"translate\((-?[\d.]+) (-?[\d.]+)\)", text.get("transform", ""))
        x, y = moved.groups() if moved else (text.get("x", "0"), text.get("y", "0"))
        found[text.text or ""] = (float(x), float(y), float(turned.group(1)) if turned else 0.0)
    return found


def shares(line: list[tuple[float, float]], frame: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of a line as shares of the way from the first to the last point of another."""
    (x0, y0), (x1, y1) = frame[0], frame[-1]
    return [((x - x0) / (x1 - x0), (y - y0) / (y1 - y0)) for x, y in line]


def panel(*series: Series, **more: object) -> Panel:
    return Panel(title="A title", x_label="to the right", y_label="upwards", series=series, **more)  # type: ignore[arg-type]


def test_curves_go_to_the_right_and_up() -> None:
    """One curve above the diagonal and one below, each in its own colour, named in the legend."""
    root = svg_of(
        panel(
            Series(label="above", x=(0.0, 0.25, 1.0), y=(0.0, 0.75, 1.0)),
            Series(label="below", x=(0.0, 0.6, 1.0), y=(0.0, 0.2, 1.0), colour=3),
            diagonal=True,
        )
    )
    (diagonal,) = [line for line in paths(root, "#777777", dashed=True) if len(line) == 2]
    assert diagonal[1][0] > diagonal[0][0] and diagonal[1][1] < diagonal[0][1], "pixels are counted from the top"
    above, key = paths(root, COLOURS[0])
    below, other_key = paths(root, COLOURS[3])
    assert shares(above, diagonal)[1] == pytest.approx((0.25, 0.75), abs=1e-4)
    assert shares(below, diagonal)[1] == pytest.approx((0.6, 0.2), abs=1e-4)
    where = texts(root)
    assert where["to the right"][2] == 0 and where["upwards"][2] == -90
    assert where["to the right"][1] > diagonal[0][1] and where["upwards"][0] < diagonal[0][0]
    assert where["A title"][1] < diagonal[1][1]
    # Each name stands beside the key of its own colour.
    for name, line in (("above", key), ("below", other_key)):
        assert len(line) in (2, 3) and abs(where[name][1] - line[0][1]) < 6 and where[name][0] > line[-1][0]


def test_points_have_a_bar_at_their_mean_and_stand_at_their_names() -> None:
    root = svg_of(
        panel(
            Series(label="one", x=(0.0, 0.0, 0.0), y=(10.0, 20.0, 60.0), style="points"),
            Series(label="two", x=(1.0,), y=(100.0,), style="points"),
            x_names=("first", "second"),
        )
    )
    uses = [
        (float(use.get("x", "0")), float(use.get("y", "0")))
        for use in root.iter(f"{SVG}use")
        if "fill" in use.get("style", "")
    ]
    drawn = {
        colour: [
            (float(u.get("x", "0")), float(u.get("y", "0")))
            for u in root.iter(f"{SVG}use")
            if f"fill: {colour.lower()}" in u.get("style", "")
        ]
        for colour in COLOURS[:2]
    }
    assert uses and len(drawn[COLOURS[0]]) == 3 and len(drawn[COLOURS[1]]) == 1
    low, middle, high = (y for _, y in drawn[COLOURS[0]])
    top = drawn[COLOURS[1]][0][1]
    unit = (low - high) / 50
    assert low - middle == pytest.approx(10 * unit, abs=1e-3) and low - top == pytest.approx(90 * unit, abs=1e-3)
    (bar,) = paths(root, COLOURS[0])
    assert bar[0][1] == bar[1][1] == pytest.approx(low - 20 * unit, abs=1e-3)
    column = drawn[COLOURS[1]][0][0] - drawn[COLOURS[0]][0][0]
    assert (bar[0][0], bar[1][0]) == pytest.approx(
        (drawn[COLOURS[0]][0][0] - 0.3 * column, drawn[COLOURS[0]][0][0] + 0.3 * column), abs=1e-3
    )
    assert texts(root)["first"][0] < texts(root)["second"][0]


def test_bars_stand_side_by_side_from_their_base_with_their_ends() -> None:
    root = svg_of(
        panel(
            Series(label="one", x=(0.0, 1.0), y=(60.0, 40.0), low=(55.0, 40.0), high=(70.0, 40.0), style="bars"),
            Series(label="two", x=(0.0, 1.0), y=(70.0, 80.0), style="bars"),
            x_names=("a", "b"),
            base=50.0,
        )
    )
    one, two = (rectangles(root, colour)[:2] for colour in COLOURS[:2])
    widths = {round(box[2], 3) for box in (*one, *two)}
    assert len(widths) == 1
    width = one[0][2]
    assert two[0][0] - one[0][0] == pytest.approx(width, abs=1e-3) and one[1][0] - one[0][0] == pytest.approx(
        width / 0.4, abs=1e-3
    )
    ten = one[0][3]
    # From 50 up to 60 and 70, and down to 40.
    assert two[0][3] == pytest.approx(2 * ten, abs=1e-3) and two[1][3] == pytest.approx(3 * ten, abs=1e-3)
    assert one[1][3] == pytest.approx(ten, abs=1e-3) and one[1][1] == pytest.approx(one[0][1] + ten, abs=1e-3)
    upright = [
        line
        for line in paths(root, "#000000")
        if len(line) == 2 and line[0][0] == line[1][0] and line[0][0] == pytest.approx(one[0][0] + width / 2, abs=1e-3)
    ]
    (ends,) = upright
    assert sorted(y for _, y in ends) == pytest.approx([one[0][1] - ten, one[0][1] + ten / 2], abs=1e-3)


def test_intervals_lie_along_x_with_names_from_the_top_down_and_a_guide() -> None:
    root = svg_of(
        panel(
            Series(label="d", x=(1.0, -1.0), y=(0.0, 1.0), low=(0.0, -1.5), high=(3.0, 0.0), style="intervals"),
            y_names=("upper", "lower"),
            guide=0.0,
        )
    )
    lines = [line for line in paths(root, COLOURS[0]) if len(line) == 2]
    upper, lower = sorted(lines, key=lambda line: line[0][1])
    assert upper[0][1] == upper[1][1] and texts(root)["upper"][1] < texts(root)["lower"][1]
    (guide,) = [line for line in paths(root, "#777777", dashed=True) if line[0][0] == line[1][0]]
    zero, unit = guide[0][0], (upper[1][0] - upper[0][0]) / 3
    assert [x for x, _ in upper] == pytest.approx([zero, zero + 3 * unit], abs=1e-3)
    assert [x for x, _ in lower] == pytest.approx([zero - 1.5 * unit, zero], abs=1e-3)
    marks = sorted(
        (float(use.get("y", "0")), float(use.get("x", "0")))
        for use in root.iter(f"{SVG}use")
        if COLOURS[0].lower() in use.get("style", "")
    )
    assert [x for _, x in marks] == pytest.approx([zero + unit, zero - unit], abs=1e-3)
    assert abs(texts(root)["upper"][1] - marks[0][0]) < 5


def test_panels_fill_one_row_after_the_other() -> None:
    """Five panels in rows of three: the fourth stands below the first."""
    shown = [
        replace(panel(Series(label="s", x=(0.0, 1.0), y=(0.0, 1.0))), title=f"Panel{number}") for number in range(5)
    ]
    where = {name: place for name, place in texts(svg_of(*shown, columns=3)).items() if name.startswith("Panel")}
    assert len(where) == 5 and len({round(where[f"Panel{number}"][1], 1) for number in (0, 1, 2)}) == 1
    assert where["Panel0"][0] < where["Panel1"][0] < where["Panel2"][0]
    assert where["Panel3"][1] == where["Panel4"][1] > where["Panel0"][1]
    assert abs(where["Panel3"][0] - where["Panel0"][0]) < 5


def test_a_value_that_a_logarithmic_axis_cannot_show_has_no_tick() -> None:
    where = texts(svg_of(panel(Series(label="s", x=(0.0, 3.0, 30.0), y=(1.0, 5.0, 9.0)), x_log=True)))
    assert "3" in where and "30" in where and where["3"][0] < where["30"][0]
    assert [name for name in where if name == "0" and abs(where[name][1] - where["3"][1]) < 1e-6] == []


def test_a_logarithmic_axis_has_a_tick_at_every_value_and_bars_of_its_ends() -> None:
    series = Series(
        label="s", x=(1.0, 10.0, 100.0), y=(50.0, 60.0, 90.0), low=(45.0, 60.0, 80.0), high=(55.0, 70.0, 90.0)
    )
    root = svg_of(panel(series, x_log=True))
    curve = max(paths(root, COLOURS[0]), key=len)
    (x0, y0), (x1, y1), (x2, y2) = curve
    assert x1 - x0 == pytest.approx(x2 - x1, abs=1e-3) and (y0 - y2) == pytest.approx(4 * (y0 - y1), abs=1e-3)
    where = texts(root)
    assert [name for name in ("1", "10", "100") if name in where] == ["1", "10", "100"]
    assert [where[name][0] for name in ("1", "10", "100")] == sorted(where[name][0] for name in ("1", "10", "100"))
    ten = y0 - y1
    ends = {
        round(line[0][0], 2): sorted(y for _, y in line)
        for line in paths(root, COLOURS[0])
        if len(line) == 2 and line[0][0] == line[1][0]
    }
    assert ends[round(x0, 2)] == pytest.approx([y0 - ten / 2, y0 + ten / 2], abs=1e-3)
    assert ends[round(x1, 2)] == pytest.approx([y1 - ten, y1], abs=1e-3)
    assert ends[round(x2, 2)] == pytest.approx([y2, y2 + ten], abs=1e-3)


def test_colours_and_styles_begin_again_after_eight() -> None:
    series = [Series(label=f"s{n}", x=(0.0, 1.0), y=(float(n), float(n))) for n in range(10)]
    root = svg_of(panel(*series))
    for n in range(10):
        assert paths(root, COLOURS[n % 8], dashed=n >= 8), f"no line of series {n}"
    assert {f"s{n}" for n in range(10)} <= set(texts(root))


def test_panels_share_one_legend_where_their_colours_agree() -> None:
    one, other = Series(label="one", x=(0.0, 1.0), y=(0.0, 1.0)), Series(label="other", x=(0.0, 1.0), y=(1.0, 0.0))
    count = lambda root, name: sum(text.text == name for text in root.iter(f"{SVG}text"))
    shared = svg_of(panel(one, other), panel(one))
    assert (count(shared, "one"), count(shared, "other")) == (1, 1)
    # The second series has the first colour in the second panel: a legend each.
    apart = svg_of(panel(one, other), panel(other))
    assert (count(apart, "one"), count(apart, "other")) == (1, 2)


@pytest.mark.parametrize(
    ("count", "columns", "width", "height"),
    [(1, 3, 3.4, 2.6), (2, 3, 6.8, 2.6), (4, 3, 10.2, 5.2), (4, 2, 6.8, 5.2), (3, 1, 3.4, 7.8)],
)
def test_a_figure_is_as_large_as_its_rows_and_columns_of_panels(
    count: int, columns: int, width: float, height: float
) -> None:
    series = Series(label="p", x=(0.0,), y=(1.0,), style="points")
    root = svg_of(*[panel(series)] * count, columns=columns)
    assert root.get("width") == f"{width * 72:g}pt" and root.get("height") == f"{height * 72:g}pt"


def test_series_and_figures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown style 'dots'; known: line, points, bars, intervals"):
        Series(label="s", x=(), y=(), style="dots")
    for wrong in ({"y": (1.0,)}, {"low": (1.0,)}, {"high": (1.0, 2.0, 3.0)}):
        with pytest.raises(ValueError, match="series 's': x, y, low and high differ in length"):
            Series(**{"label": "s", "x": (0.0, 1.0), "y": (0.0, 1.0), **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="figure 'f' has no panel"):
        Figure(id="f", caption="c", alt="a", panels=())


def test_long_names_are_cut_and_spread_over_lines() -> None:
    root = svg_of(panel(Series(label="x" * 60, x=(0.0, 1.0), y=(0.0, 1.0)), x_names=("y" * 50, "short")))
    where = texts(root)
    assert "x" * 37 + "..." in where and "y" * 25 + "..." in where and "short" in where


def test_names_of_one_colour_and_style_have_legends_of_their_own() -> None:
    """There are 32 ways to draw a line: the 33rd row would be mistaken for the first in a legend of all panels."""
    first = Series(label="first", x=(0.0, 1.0), y=(0.0, 1.0), colour=0)
    for place, times in ((31, 1), (32, 2)):
        other = Series(label="other", x=(0.0, 1.0), y=(1.0, 0.0), colour=place)
        root = svg_of(panel(first, other), panel(first, other))
        assert sum(text.text == "first" for text in root.iter(f"{SVG}text")) == times


def test_names_beside_the_axes_leave_the_title_less_room() -> None:
    """44 signs a line, or 30; a number and its unit stay together."""
    title = "a " * 20 + "10 % of labels"
    series = Series(label="s", x=(0.0,), y=(0.0,), style="intervals")
    lines = {
        wide: [text.text for text in svg_of(replace(panel(series, y_names=names), title=title)).iter(f"{SVG}text")]
        for wide, names in ((True, ()), (False, ("n",)))
    }
    assert " ".join(["a"] * 20) + " 10\u00a0%" in lines[True] and "of labels" in lines[True]
    assert " ".join(["a"] * 15) in lines[False] and "a a a a a 10\u00a0% of labels" in lines[False]
