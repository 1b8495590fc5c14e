"""AUC of each class: means and one SD over seeds, at most five classes a panel, colours by row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from refers_bench.reports import figure_classes


def test_marks_of_every_class_and_row(folder: Any) -> None:
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
    # Seven classes in panels of nearly one size.
    assert (first.y_names, second.y_names) == (tuple(names[:4]), tuple(names[4:]))
    assert (first.x_label, figure.shared) == ("AUC, %", "x")
    assert [(s.label, s.colour, s.style) for s in first.series] == [("R", 0, "intervals"), ("C", 2, "intervals")]
    ours, other = first.series
    means = [62 + 2 * n for n in range(4)]
    sd = 4 / math.sqrt(2)
    # Two rows share the height of a class, the first above the second.
    assert ours.y == pytest.approx([n - 0.19 for n in range(4)]) and other.y == pytest.approx(
        [n + 0.19 for n in range(4)]
    )
    assert ours.x == pytest.approx(means)
    assert ours.low == pytest.approx([mean - sd for mean in means])
    assert ours.high == pytest.approx([mean + sd for mean in means])
    # A single seed has no spread to draw, a class without AUC no mark.
    assert other.x == other.low == other.high == pytest.approx([55] * 4)
    assert second.series[0].x == pytest.approx([70, 72, 74]) and second.series[1].x == pytest.approx([55, 55])


def test_no_bar_goes_beyond_what_an_auc_can_be(folder: Any) -> None:
    for seed, auc in enumerate((1.0, 0.6)):
        folder.cell("refers", seed=seed, aucs={"a": auc, "b": 1 - auc})
    (figure,) = figure_classes.build(folder.load())
    (series,) = figure.panels[0].series
    assert series.x == pytest.approx((80, 20))
    assert series.high[0] == 100 and series.low[1] == 0 and series.low[0] == pytest.approx(80 - 40 / math.sqrt(2))


def test_one_class_and_too_many_rows_have_no_figure(folder: Any, new_folder: Any) -> None:
    folder.cell("refers", aucs={"normal": 0.8})
    assert figure_classes.build(folder.load()) == []
    many = new_folder("many")
    for row in range(16):
        many.cell(f"m{row}", dataset="d")
    assert len(figure_classes.build(many.load())) == 1
    many.cell("m16", dataset="d")
    assert figure_classes.build(many.load()) == []
