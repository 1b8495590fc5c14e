"""Bars of the AUC of each class: means and one SD over seeds, five classes a panel, colours by row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from refers_bench.reports import figure_classes


def test_bars_of_every_class_and_row(folder: Any) -> None:
    names = [f"c{n}" for n in range(7)]
    for seed in (0, 1):
        folder.cell(
            "refers", seed=seed, aucs={name: 0.6 + n / 50 + seed / 25 for n, name in enumerate(names)}, label="R"
        )
    folder.cell("gone", aucs=dict.fromkeys(names), label="G")
    folder.cell("c2l", aucs={**dict.fromkeys(names, 0.55), "c6": None}, label="C")
    (figure,) = figure_classes.build(folder.load())
    assert figure.id == "figure-classes-covid19_idc-viral_vs_bacterial-1" and figure.view == "class"
    first, second = figure.panels
    assert (first.x_names, second.x_names) == (tuple(names[:5]), tuple(names[5:]))
    assert (first.y_label, first.base, second.base) == ("AUC, %", 50, 50)
    assert [(s.label, s.colour, s.style) for s in first.series] == [("R", 0, "bars"), ("C", 2, "bars")]
    ours, other = first.series
    means = [62 + 2 * n for n in range(5)]
    sd = 4 / math.sqrt(2)
    assert ours.x == other.x == (0, 1, 2, 3, 4) and ours.y == pytest.approx(means)
    assert ours.low == pytest.approx([mean - sd for mean in means])
    assert ours.high == pytest.approx([mean + sd for mean in means])
    # A single seed has no spread to draw, a class without AUC no bar.
    assert other.y == other.low == other.high == pytest.approx([55] * 5)
    assert second.series[0].y == pytest.approx([72, 74]) and (second.series[1].x, second.series[1].y) == (
        (0,),
        pytest.approx((55,)),
    )


def test_one_class_and_too_many_rows_have_no_bars(folder: Any, new_folder: Any) -> None:
    folder.cell("refers", aucs={"normal": 0.8})
    assert figure_classes.build(folder.load()) == []
    many = new_folder("many")
    for row in range(16):
        many.cell(f"m{row}", dataset="d")
    assert len(figure_classes.build(many.load())) == 1
    many.cell("m16", dataset="d")
    assert figure_classes.build(many.load()) == []
