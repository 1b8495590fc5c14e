"""The forest plot: rows sorted, columns in the main table's order, colours by method, the rest in the note."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from refers_bench.reports import figure_forest

LABELS = np.arange(60) % 2


def add(folder: Any, method: str, noise: float, **where: Any) -> float:
    """A cell with predictions; its AUC in per cent, by scikit-learn: more noise on the same images lowers it."""
    found = (LABELS + np.random.default_rng(1).normal(0, noise, len(LABELS))).astype(np.float32)
    auc = float(roc_auc_score(LABELS, found))
    key = folder.cell(method, label=method.upper(), aucs={"normal": auc}, **where)
    folder.predict(key, LABELS[:, None], found[:, None], classes=["normal"], of_a_patient=0)
    return 100 * auc


def test_rows_are_sorted_and_columns_those_of_the_main_table_first(folder: Any) -> None:
    aucs: dict[tuple[str, str], float] = {}
    columns = {"own": ("own", "t"), "shenzhen": ("shenzhen_tb", "tuberculosis"), "nih": ("nih_chestxray14", "findings")}
    for name, (dataset, task) in columns.items():
        for method, noise in (("far", 3.0), ("refers", 0.7), ("near", 1.0), ("middle", 1.6)):
            if (name, method) != ("own", "near"):
                aucs[name, method] = add(folder, method, noise, dataset=dataset, task=task)
    figure = figure_forest.build(folder.load())
    assert figure is not None and figure.caption == (
        "REFERS minus each other method: mean class AUC in points, 95 % intervals over test images."
    )
    assert [panel.title.partition(":")[0] for panel in figure.panels] == ["nih_chestxray14", "shenzhen_tb", "own"]
    assert (figure.shared, figure.columns) == ("x", 6)
    assert figure.note.startswith("Intervals: DeLong's placements added over classes, images as independent units")
    for name, panel in zip(("nih", "shenzhen", "own"), figure.panels, strict=True):
        assert panel.y_names == ("NEAR", "MIDDLE", "FAR") and panel.guide == 0
        assert panel.sides == ("favours other", "favours REFERS")
        shown = [method for method in ("near", "middle", "far") if (name, method) in aucs]
        assert [one.label for one in panel.series] == [method.upper() for method in shown]
        # A row without a figure leaves its line empty; colours are places in the manifest, not in the panel.
        assert [one.y for one in panel.series] == [(("near", "middle", "far").index(method),) for method in shown]
        assert [one.colour for one in panel.series] == [("far", "refers", "middle", "near").index(m) for m in shown]
        for one, method in zip(panel.series, shown, strict=True):
            assert one.x[0] == pytest.approx(aucs[name, "refers"] - aucs[name, method])
            assert one.low[0] < one.x[0] < one.high[0]


def test_what_the_first_screen_does_not_hold_is_said(folder: Any) -> None:
    first: dict[str, float] = {}
    for column in range(figure_forest.MOST_COLUMNS + 1):
        for place in range(figure_forest.MOST_ROWS + 3 if column == 0 else 2):
            method = f"m{place:02}" if place else "refers"
            auc = add(folder, method, 0.5 + place / 10, dataset="own", task=f"t{column}")
            first.setdefault(method.upper(), auc)
    figure = figure_forest.build(folder.load())
    assert figure is not None and len(figure.panels) == 6
    (shown,) = {panel.y_names for panel in figure.panels}
    assert len(shown) == 17 and {*first} - {*shown} - {"REFERS"} == {*sorted(first, key=lambda name: first[name])[:2]}
    assert figure.note.startswith(
        "17 of 19 methods, those closest to REFERS. 6 of 7 columns. The others stand in the table of test images. "
    )


def test_without_differences_there_is_no_figure(folder: Any) -> None:
    add(folder, "refers", 1.0)
    assert figure_forest.build(folder.load()) is None
