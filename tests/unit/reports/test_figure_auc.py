"""Points of every seed by method: a panel a target, one line a method in all of them, at most twelve panels."""

from __future__ import annotations

from typing import Any

from refers_bench.reporting import grid
from refers_bench.reports import figure_auc


def test_points_stand_on_the_line_of_their_method_in_every_panel(folder: Any) -> None:
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
        "covid19_idc: viral_vs_bacterial, 100 % of labels", "mean class AUC, %", "",
    )  # fmt: skip
    assert whole.y_names == tenth.y_names == ("REFERS", "C2L", "ImageNet", "Scratch") and figure.shared == "x"
    # A colour is a method's, whether or not those before it are in the panel.
    assert [(one.label, one.x, one.y, one.style, one.colour) for one in whole.series] == [
        ("REFERS", (75, 87.5), (0.0, 0.0), "points", 0),
        ("ImageNet", (62.5,), (2.0,), "points", 2),
    ]
    assert tenth.title == "covid19_idc: viral_vs_bacterial, 10 % of labels (synthetic)"
    assert [(one.label, one.x, one.y, one.colour) for one in tenth.series] == [
        ("ImageNet", (62.5,), (2.0,), 2),
        ("Scratch", (25,), (3.0,), 3),
    ]
    assert figure.caption == ("Partly synthetic data. Mean class AUC of every seed (points) and their mean (bar).")
    assert figure.note == (
        "Not from all seeds or classes: Scratch, covid19_idc: viral_vs_bacterial, 10 % of labels (1/2 classes)."
    )
    assert figure.alt == "Scatter of mean class AUC by method in 2 panels; the same figures stand in the tables."


def test_targets_beyond_the_most_panels_are_counted(folder: Any) -> None:
    for place in range(grid.MOST_PANELS + 1):
        folder.cell("refers", task=f"task{place:02}", aucs={"normal": 0.75})
    figure = figure_auc.build(folder.load())
    assert figure is not None and len(figure.panels) == grid.MOST_PANELS
    assert figure.note == "The first 12 of 13 columns; the others stand in the tables."


def test_where_nothing_is_done_there_is_no_figure(folder: Any) -> None:
    folder.cell("refers", state="missing")
    assert figure_auc.build(folder.load()) is None
