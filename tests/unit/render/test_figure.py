"""What is drawn in a figure lies where its numbers say, in the colours of its legend, between axes that name it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from refers_bench.render.figure import Figure, Panel, Series, draw
from refers_bench.render.palette import COLOURS, MARKERS

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(*panels: Panel, **more: object) -> ElementTree.Element:
    figure = Figure(id="f", caption="c", alt="a", panels=panels, **more)  # type: ignore[arg-type]
    return ElementTree.fromstring(draw(figure))


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


def marks(root: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    """Places of the marks of a colour."""
    uses = (use for use in root.iter(f"{SVG}use") if f"fill: {colour.lower()}" in use.get("style", ""))
    return [(float(use.get("x", "0")), float(use.get("y", "0"))) for use in uses]


def frames(root: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of each panel."""
    return rectangles(root, "#ffffff")[1:]  # the first is the whole figure


def test_points_have_a_bar_at_their_mean_and_stand_at_their_names() -> None:
    root = svg_of(
        panel(
            Series(label="first", x=(10.0, 20.0, 60.0), y=(0.0, 0.0, 0.0), style="points"),
            Series(label="second", x=(100.0,), y=(1.0,), style="points"),
            y_names=("first", "second"),
        )
    )
    one, two = (marks(root, colour) for colour in COLOURS[:2])
    assert len(one) == 3 and len(two) == 1 and len({y for _, y in one}) == 1
    low, middle, high = (x for x, _ in one)
    unit = (high - low) / 50
    assert middle - low == pytest.approx(10 * unit, abs=1e-3) and two[0][0] - low == pytest.approx(90 * unit, abs=1e-3)
    (bar,) = paths(root, COLOURS[0])
    assert bar[0][0] == bar[1][0] == pytest.approx(low + 20 * unit, abs=1e-3)
    # A single point is its own mean.
    assert paths(root, COLOURS[1]) == []
    where = texts(root)
    assert abs(where["first"][1] - one[0][1]) < 5 and abs(where["second"][1] - two[0][1]) < 5
    assert where["first"][1] < where["second"][1]


def test_intervals_lie_along_x_with_names_from_the_top_down_and_a_guide() -> None:
    root = svg_of(
        panel(
            Series(label="upper", x=(1.0,), y=(0.0,), low=(0.0,), high=(3.0,), style="intervals"),
            Series(label="lower", x=(-1.0,), y=(1.0,), low=(-2.0,), high=(0.0,), style="intervals"),
            y_names=("upper", "lower"),
            guide=0.0,
            sides=("less is better", "more is better"),
        )
    )
    (upper,), (lower,) = (paths(root, colour) for colour in COLOURS[:2])
    assert upper[0][1] == upper[1][1] and texts(root)["upper"][1] < texts(root)["lower"][1]
    (guide,) = [line for line in paths(root, "#777777", dashed=True) if line[0][0] == line[1][0]]
    zero, unit = guide[0][0], (upper[1][0] - upper[0][0]) / 3
    assert [x for x, _ in upper] == pytest.approx([zero, zero + 3 * unit], abs=1e-3)
    assert [x for x, _ in lower] == pytest.approx([zero - 2 * unit, zero], abs=1e-3)
    places = [marks(root, colour)[0] for colour in COLOURS[:2]]
    assert [x for x, _ in places] == pytest.approx([zero + unit, zero - unit], abs=1e-3)
    assert abs(texts(root)["upper"][1] - places[0][1]) < 5
    # What both sides mean stands below the numbers, above the name of the axis, on its own side.
    where, (frame,) = texts(root), frames(root)
    left, right = where["less is better"], where["more is better"]
    assert frame[1] + frame[3] < where["0"][1] < left[1] == right[1] < where["to the right"][1]
    assert left[0] < zero < right[0]


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


def test_no_two_of_many_curves_look_the_same() -> None:
    """Colours begin again after eight, with another line and another mark; a number gives the same look anywhere."""
    series = [Series(label=f"s{n}", x=(0.0, 1.0), y=(float(n), float(n))) for n in range(10)]
    root = svg_of(panel(*series))
    for n in range(10):
        assert paths(root, COLOURS[n % 8], dashed=n >= 8), f"no line of series {n}"
    assert {f"s{n}" for n in range(10)} <= set(texts(root)) and len({*MARKERS}) == 9
    alone, together = svg_of(panel(replace(series[3], colour=3))), svg_of(panel(*series[:4]))
    assert marks(alone, COLOURS[3]) and marks(together, COLOURS[3]) and not marks(alone, COLOURS[0])
    assert not any(marks(svg_of(panel(replace(series[0], grey=True))), colour) for colour in COLOURS)


def test_a_long_curve_has_a_few_marks() -> None:
    curve = Series(label="s", x=tuple(map(float, range(100))), y=tuple(map(float, range(100))))
    root = svg_of(panel(curve))
    assert 4 <= len(marks(root, COLOURS[0])) - 1 <= 6  # one more in the legend


def test_panels_share_one_legend_where_their_colours_agree() -> None:
    one, other = Series(label="one", x=(0.0, 1.0), y=(0.0, 1.0)), Series(label="other", x=(0.0, 1.0), y=(1.0, 0.0))
    count = lambda root, name: sum(text.text == name for text in root.iter(f"{SVG}text"))
    shared = svg_of(panel(one, other), panel(one))
    assert (count(shared, "one"), count(shared, "other")) == (1, 1)
    # The second series has the first colour in the second panel: a legend each, beside the axes.
    apart = svg_of(panel(one, other), panel(other))
    assert (count(apart, "one"), count(apart, "other")) == (1, 2)
    left, right = frames(apart)
    assert left[0] + left[2] < texts(apart)["one"][0] < right[0] and right[0] + right[2] < texts(apart)["other"][0]


LONG = [f"a method with the number {n}" for n in range(12)]


@pytest.mark.parametrize("columns", [1, 2, 3, 6])
def test_panels_are_of_one_size_and_the_legend_lies_below_them(columns: int) -> None:
    """Whatever the length of titles and names, and where the last row is not full."""
    shown = [
        replace(
            panel(*(Series(label=name, x=(0.0, 1.0), y=(0.0, n + 1.0 * k)) for n, name in enumerate(LONG))),
            title="long " * (3 * k),
        )
        for k in range(5)
    ]
    root = svg_of(*shown, columns=columns)
    found = frames(root)
    assert len(found) == 5 and max(frame[2] for frame in found) - min(frame[2] for frame in found) < 0.01
    assert max(frame[3] for frame in found) - min(frame[3] for frame in found) < 0.01
    # In whole rows, as nearly of one length as can be: five panels are 3 + 2 where two rows are needed.
    rows = {1: 5, 2: 3, 3: 2, 6: 1}[columns]
    assert len({round(frame[1], 1) for frame in found}) == rows
    bottom, (width, height) = (
        max(top + high for _, top, _, high in found),
        (float(root.get(n, "0")[:-2]) for n in ("width", "height")),
    )
    where = texts(root)
    assert all(bottom < where[name][1] < height and 0 < where[name][0] < width for name in LONG)
    assert width <= 10.2 * 72 + 0.01


def test_what_panels_have_in_common_is_written_once_a_row_or_column() -> None:
    names = ("first", "second")
    series = [Series(label=name, x=(float(n + 1),), y=(float(n),), style="points") for n, name in enumerate(names)]
    root = svg_of(*[panel(*series, y_names=names)] * 4, columns=2, shared="x")
    written = [text.text for text in root.iter(f"{SVG}text")]
    assert [written.count(name) for name in ("first", "second", "upwards", "to the right")] == [2] * 4
    other = svg_of(panel(*series, y_names=names), replace(panel(*series, y_names=names[::-1]), y_label="else"))
    written = [text.text for text in other.iter(f"{SVG}text")]
    assert [written.count(name) for name in ("first", "second", "upwards", "else")] == [2, 2, 1, 1]


@pytest.mark.parametrize("low", [-3.6, -18.0, 51.3, 0.0])
def test_a_shared_axis_is_the_same_in_all_panels_and_numbers_do_not_touch(low: float) -> None:
    """Six narrow panels: one value lies at one distance from the left edge of each."""
    shown = [
        panel(
            Series(label="a", x=(5.0 + k, 60.0), y=(0.0, 0.0), style="points"),
            Series(label="b", x=(low,) * 2, y=(1.0, 1.0), style="points"),
            y_names=("a", "b"),
        )
        for k in range(6)
    ]
    root = svg_of(*shown, columns=6, shared="x")
    for colour, place in ((COLOURS[0], 1), (COLOURS[1], 0)):
        found = marks(root, colour)[place::2]
        distances = [x - frame[0] for (x, _), frame in zip(found, frames(root), strict=True)]
        assert max(distances) - min(distances) < 0.01 and 0 < distances[0] < frames(root)[0][2]
    labels = [text for text in root.iter(f"{SVG}text") if re.fullmatch(r"[\u2212\d.]+", text.text or "")]
    spots = sorted((float(text.get("x", "0")), text.text or "") for text in labels)
    assert len(spots) >= 12
    for (x, text), (after, other) in pairwise(spots):
        assert after - x > 5 * (len(text) + len(other)) / 2, f"{text} and {other} touch"


def test_series_and_figures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown style 'dots'; known: line, points, intervals"):
        Series(label="s", x=(), y=(), style="dots")
    for wrong in ({"y": (1.0,)}, {"low": (1.0,)}, {"high": (1.0, 2.0, 3.0)}):
        with pytest.raises(ValueError, match="series 's': x, y, low and high differ in length"):
            Series(**{"label": "s", "x": (0.0, 1.0), "y": (0.0, 1.0), **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="figure 'f' has no panel"):
        Figure(id="f", caption="c", alt="a", panels=())


def test_long_names_are_cut() -> None:
    root = svg_of(
        panel(Series(label="x" * 60, x=(0.0, 1.0), y=(0.0, 1.0), style="points"), y_names=("y" * 50, "short"))
    )
    where = texts(root)
    assert "x" * 33 + "..." in where and "y" * 33 + "..." in where and "short" in where


def test_names_of_one_look_have_legends_of_their_own() -> None:
    """The look of a series comes again: it would be mistaken for the first in a legend of all panels."""
    first = Series(label="first", x=(0.0, 1.0), y=(0.0, 1.0), colour=0)
    for place, times in ((287, 1), (288, 2)):
        other = Series(label="other", x=(0.0, 1.0), y=(1.0, 0.0), colour=place)
        root = svg_of(panel(first, other), panel(first, other))
        assert sum(text.text == "first" for text in root.iter(f"{SVG}text")) == times
