"""Curves of the mean AUC against the share of labels: a point a ratio, ends of one SD, or of the images' interval."""

from __future__ import annotations

import math
from typing import Any

import pytest

from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.reports import figure_ratio


def test_points_and_ends_of_one_sd_in_the_order_of_the_ratios(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.84], ratio=1.0, label="REFERS")
    folder.seeds("refers", [0.60, 0.62], ratio=0.01, label="REFERS")
    folder.cell("refers", ratio=0.1, aucs={"normal": 0.7, "opacity": 0.7}, label="REFERS")
    folder.cell("gone", ratio=1.0, state="failed")
    folder.seeds("c2l", [0.50, 0.54, 0.58], ratio=1.0, label="C2L")
    folder.seeds("other", [0.9, 0.91], dataset="shenzhen_tb", task="tuberculosis")
    figure = figure_ratio.build(folder.load())
    assert figure is not None
    (panel,) = figure.panels
    assert (panel.title, panel.x_log) == ("covid19_idc: viral_vs_bacterial", True)
    assert (panel.x_label, panel.y_label) == ("labels used for fine-tuning, %", "mean class AUC, %")
    ours, other = panel.series
    assert (ours.label, ours.colour, other.label, other.colour) == ("REFERS", 0, "C2L", 2)
    assert ours.x == (1, 10, 100) and ours.y == pytest.approx((61, 70, 82))
    # SD of two values: their difference over the root of two; one seed without predictions has a bar without length.
    assert ours.low == pytest.approx((61 - math.sqrt(2), 70, 82 - 4 / math.sqrt(2)))
    assert ours.high == pytest.approx((61 + math.sqrt(2), 70, 82 + 4 / math.sqrt(2)))
    assert (other.x, other.y, other.low, other.high) == (
        (100,),
        pytest.approx((54,)),
        pytest.approx((50,)),
        pytest.approx((58,)),
    )
    assert figure.caption == ("Mean class AUC against the share of labels; bars: one SD over seeds, within 0 to 100 %.")
    assert figure.note == "Of a single seed, bars are the 95 % interval over test images." and figure.shared == "y"


def test_a_single_seed_has_the_interval_over_test_images(folder: Any) -> None:
    for ratio in (0.1, 1.0):
        key = folder.cell("refers", ratio=ratio, aucs={"normal": 0.75}, synthetic=ratio == 1.0)
        labels, scores = ([[n % 2] for n in range(40)], [[n % 7 + n % 2] for n in range(40)])
        folder.predict(key, labels, scores, classes=["normal"], of_a_patient=0)
        folder.cell("c2l", ratio=ratio, aucs={"normal": 0.625}, synthetic=ratio == 1.0)
    results = folder.load()
    figure = figure_ratio.build(results)
    assert figure is not None and figure.caption.startswith("Partly synthetic data. ")
    (panel,) = figure.panels
    series, unknown = panel.series
    # A row whose predictions are not there has a bar without length beside one that has them.
    assert (unknown.label, unknown.y, unknown.low, unknown.high) == ("c2l", *((62.5, 62.5),) * 3)
    assert panel.title.endswith(" (synthetic)") and series.y == (75, 75)
    for place, target in enumerate(results.targets):
        found = image_statistics(results, target)
        assert found is not None
        interval = found.means["refers"]
        assert (series.low[place], series.high[place]) == (100 * interval.low, 100 * interval.high)
        assert series.low[place] < 100 * interval.estimate < series.high[place]


def test_one_ratio_alone_is_no_curve(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.9])
    assert figure_ratio.build(folder.load()) is None
    folder.cell("refers", ratio=0.1, state="missing")
    figure = figure_ratio.build(folder.load())
    assert figure is not None and figure.panels[0].series[0].x == (100,)
