"""The points that a page describes lie where matplotlib drew them, with the values that were drawn."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from refers_bench.render import points
from refers_bench.render.figure import Figure, Panel, Series, draw

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


def figure(*panels: Panel) -> Figure:
    return Figure(id="f", caption="c", alt="a", panels=panels)


def described(one: Figure) -> Any:
    (found,) = [part for part in ET.fromstring(draw(one)).iter(f"{SVG}metadata") if part.get("id") == "points"]
    return json.loads(found.text or "")


def marks(one: Figure) -> list[tuple[float, float]]:
    """Where matplotlib put its marks, of a legend too; ticks are marks of another kind."""
    tree = ET.fromstring(draw(one))
    axes = [part for part in tree.iter(f"{SVG}g") if re.fullmatch(r"line2d_\d+", part.get("id") or "")]
    return [
        (float(use.get("x", "nan")), float(use.get("y", "nan")))
        for part in axes
        for use in part.iter(f"{SVG}use")
        if len(list(part.iter(f"{SVG}use"))) > 1 and use.get(LINK)
    ]


@pytest.mark.parametrize("log", [False, True])
def test_points_lie_where_they_are_drawn(log: bool) -> None:
    rng = np.random.default_rng(3)
    panels = [
        Panel(
            title=f"{number}",
            x_label="labels",
            y_label="AUC",
            x_log=log,
            series=tuple(
                Series(label=name, x=(1.0, 10.0, 100.0), y=tuple(rng.random(3).tolist())) for name in ("a", "b")
            ),
        )
        for number in range(4)
    ]
    one = figure(*panels)
    drawn = np.array(marks(one))
    found = described(one)
    assert [panel["title"] for panel in found] == list("0123") and found[0]["x"] == "labels"
    for panel, source in zip(found, panels, strict=True):
        for series, own in zip(panel["series"], source.series, strict=True):
            assert series["values"] == [[x, float(f"{y:.4g}")] for x, y in zip(own.x, own.y, strict=True)]
            for place in series["at"]:
                assert np.hypot(*(drawn - place).T).min() < 0.2
    assert len({tuple(at) for panel in found for series in panel["series"] for at in series["at"]}) == 24


def test_ends_lie_on_the_side_they_are_of() -> None:
    """Of intervals to the left and right, of a line above and below; categories run from the top down."""
    bars = [Series.with_ends([(1.0, float(y), 0.5, 2.0)], label=name, style="intervals") for y, name in enumerate("ab")]
    line = Series.with_ends([(1.0, 5.0, 4.0, 7.0), (2.0, 6.0, 5.0, 8.0)], label="line")
    first, second = described(figure(Panel(series=tuple(bars), y_names=("a", "b")), Panel(series=(line,))))
    (upper, lower) = first["series"]
    assert first["names"] == ["a", "b"] and upper["at"][0][1] < lower["at"][0][1] and upper["ends"] == [[0.5, 2.0]]
    (low, y), (high, same), (x, _) = upper["from"][0], upper["to"][0], upper["at"][0]
    assert low < x < high and y == same == upper["at"][0][1]
    assert (x - low) / (high - x) == pytest.approx(0.5, abs=0.02)
    curve = second["series"][0]
    assert curve["line"] and not upper["line"]
    assert curve["from"][1][0] == curve["at"][1][0] == curve["to"][1][0]
    assert curve["from"][1][1] > curve["at"][1][1] > curve["to"][1][1]


def test_a_long_curve_is_described_by_some_of_its_points_and_no_number_is_left_out() -> None:
    steps = tuple(map(float, range(1000)))
    losses = (math.nan, *(1 / (step + 1) for step in steps[1:-1]), math.inf)
    (panel,) = described(figure(Panel(series=(Series(label="loss", x=steps, y=losses),))))
    (series,) = panel["series"]
    assert 100 <= len(series["at"]) <= points.MOST and series["values"][0] == [9.0, 0.1]
    assert len(series["at"]) == len(series["values"])


def test_hostile_names_stay_text() -> None:
    name = "</metadata><script>alert(1)</script>&amp;]]>"
    (panel,) = described(figure(Panel(title=name, series=(Series(label=name, x=(1.0,), y=(2.0,)),))))
    assert panel["title"] == name and panel["series"][0]["name"] == name


def test_a_pdf_and_a_panel_without_points_have_no_description() -> None:
    assert b"metadata id" not in draw(figure(Panel(series=(Series(label="s", x=(1.0,), y=(1.0,)),))), format="pdf")
    assert described(figure(Panel(series=(Series(label="s", x=(), y=()),)))) == []
