"""Points of every seed by method: a panel a target, one place a method that was planned there, at most twelve panels."""

from __future__ import annotations

from typing import Any

from refers_bench.reporting import grid
from refers_bench.reports import figure_auc


def test_points_stand_at_the_places_of_the_methods_that_were_planned_there(folder: Any) -> None:
    folder.seeds("refers", [0.75, 0.875], label="REFERS")
    folder.cell("c2l", label="C2L", state="failed")
    folder.cell("imagenet", label="ImageNet", aucs={"normal": 0.5, "opacity": 0.75}, ratio=0.1, synthetic=True)
    folder.cell("scratch", label="Scratch", aucs={"normal": 0.25, "opacity": None}, ratio=0.1, synthetic=True)
    folder.cell("imagenet", label="ImageNet", aucs={"normal": 0.5, "opacity": 0.75})
    folder.cell("refers", label="REFERS", dataset="shenzhen_tb", task="tuberculosis", state="missing")
    figure = figure_auc.build(folder.load())
    assert figure is not None
    tenth, whole = sorted(figure.panels, key=lambda panel: panel.title)
    assert (whole.title, whole.x_label, whole.y_label) == (
        "covid19_idc: viral_vs_bacterial, 100 % of labels", "", "mean class AUC, %",
    )  # fmt: skip
    assert whole.x_names == ("REFERS", "C2L", "ImageNet")
    assert [(one.label, one.x, one.y, one.style) for one in whole.series] == [
        ("REFERS", (0.0, 0.0), (75, 87.5), "points"),
        ("C2L", (), (), "points"),
        ("ImageNet", (2.0,), (62.5,), "points"),
    ]
    assert tenth.title == "covid19_idc: viral_vs_bacterial, 10 % of labels (synthetic)"
    assert tenth.x_names == ("ImageNet", "Scratch")
    assert [(one.label, one.x, one.y) for one in tenth.series] == [
        ("ImageNet", (0.0,), (62.5,)),
        ("Scratch", (1.0,), (25,)),
    ]
    assert figure.caption == (
        "Partly synthetic data. Mean class AUC of every seed (points) and their mean (bar). Not from all seeds or "
        "classes: Scratch, covid19_idc: viral_vs_bacterial, 10 % of labels (1/2 classes)."
    )
    assert figure.alt == "Scatter of mean class AUC by method in 2 panels; the same figures stand in the tables."


def test_targets_beyond_the_most_panels_are_counted(folder: Any) -> None:
    for place in range(grid.MOST_PANELS + 1):
        folder.cell("refers", task=f"task{place:02}", aucs={"normal": 0.75})
    figure = figure_auc.build(folder.load())
    assert figure is not None and len(figure.panels) == grid.MOST_PANELS
    assert grid.not_drawn(grid.MOST_PANELS, grid.MOST_PANELS + 1) in figure.caption


def test_where_nothing_is_done_there_is_no_figure(folder: Any) -> None:
    folder.cell("refers", state="missing")
    assert figure_auc.build(folder.load()) is None
