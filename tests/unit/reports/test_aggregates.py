"""The table over all columns: figures are SciPy's, rows that lack a column say so, floors do not compete."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import trim_mean

from refers_bench.analysis.aggregated import aggregated
from refers_bench.analysis.statistics.aggregates import IQM, MEAN, aggregates
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.render.table import NO_VALUE
from refers_bench.reports import aggregates as report
from refers_bench.reports import figure_profiles

RATIOS = (0.01, 0.1, 1.0)
AUCS = {
    "refers": [[0.7, 0.71, 0.69], [0.8, 0.82, 0.81], [0.9, 0.9, 0.93]],
    "c2l": [[0.6, 0.62, 0.64], [0.79, 0.8, 0.8], [0.91, 0.9, 0.92]],
}


def fill(folder: Any, name: str, runs: list[list[float]], ratios: tuple[float, ...] = RATIOS, **more: Any) -> None:
    for ratio, aucs in zip(ratios, runs, strict=True):
        for seed, auc in enumerate(aucs):
            folder.cell(name, seed=seed, ratio=ratio, label=name.upper(), aucs={"a": auc, "b": auc}, **more)


def test_figures_of_complete_rows_and_reasons_of_the_others(folder: Any) -> None:
    for name, runs in AUCS.items():
        fill(folder, name, runs)
    fill(folder, "pixels", [[0.95, 0.96, 0.97]] * 3, floor=True)
    # Two of three columns, and a column of its own that few rows have.
    fill(folder, "transvw", AUCS["c2l"][:2], RATIOS[:2])
    fill(folder, "refers", [[0.5, 0.5, 0.5]], (0.5,))
    results = folder.load()
    (table,) = report.build(results)
    assert table.id == "aggregates" and "aggregated over 3 columns; best in bold." in table.caption
    assert [row.title for row in table.rows] == ["REFERS", "C2L", "PIXELS", "TRANSVW"]
    for row, name in zip(table.rows[:2], AUCS, strict=True):
        runs = np.array(AUCS[name])
        figures = runs.mean(), np.median(runs.mean(axis=1)), trim_mean(runs.ravel(), 0.25)
        assert [row.cells[place].value for place in (0, 2, 4)] == pytest.approx([100 * one for one in figures])
        found = aggregates(AUCS[name])
        assert not isinstance(found, Refusal)
        assert [row.cells[1].low, row.cells[5].high] == [100 * found[MEAN].low, 100 * found[IQM].high]
        assert row.cells[6].value == 9 and row.cells[0].best == (name == "refers")
    # The floor has the highest figures, and is no competitor.
    assert not any(cell.best for cell in table.rows[2].cells)
    assert "Floors are shown, and are no competitors." in table.notes
    lacking = table.rows[3].cells
    assert {cell.figure for cell in lacking} == {NO_VALUE}
    assert lacking[0].notes[0].text.startswith("not aggregated: not complete in 1 of 3 columns: covid19_idc: ")
    assert "100 % of labels" in lacking[0].notes[0].text
    assert any(note.startswith("Columns that few rows have") and "50 % of labels" in note for note in table.notes)

    figure = figure_profiles.build(results)
    assert figure is not None and figure.caption.endswith("Not complete in these columns, and not drawn: TRANSVW.")
    (panel,) = figure.panels
    assert [series.label for series in panel.series] == ["REFERS", "C2L", "PIXELS"]
    curve = dict(zip(panel.series[0].x, panel.series[0].y, strict=True))
    # Of nine runs of REFERS seven lie above 70 %, and none reaches 94 %.
    assert (curve[59], curve[70.0], curve[94]) == (1, pytest.approx(7 / 9), 0)


def test_evaluations_are_not_mixed_and_one_column_is_not_aggregated(folder: Any) -> None:
    fill(folder, "refers", AUCS["refers"])
    fill(folder, "refers", AUCS["c2l"][:2], RATIOS[:2], evaluation="linear_probe")
    fill(folder, "refers", AUCS["c2l"][:1], RATIOS[:1], evaluation="knn")
    results = folder.load()
    tables = report.build(results)
    assert [table.id for table in tables] == ["aggregates", "aggregates--linear-probe"]
    assert [len(one.targets) for one in aggregated(results)] == [3, 2]


def test_rows_on_other_classes_are_not_aggregated(folder: Any) -> None:
    fill(folder, "refers", AUCS["refers"])
    for ratio in RATIOS:
        folder.cell("c2l", ratio=ratio, aucs={"a": 0.7, "b": None})
    results = folder.load()
    assert report.build(results) == [] and figure_profiles.build(results) is None


def test_one_seed_has_figures_and_no_interval(folder: Any) -> None:
    fill(folder, "refers", [one[:1] for one in AUCS["refers"]])
    (table,) = report.build(folder.load())
    (row,) = table.rows
    assert row.cells[0].value == pytest.approx(80) and row.cells[1].notes[0].text == "no interval: one seed."
    assert not any(cell.best for cell in row.cells)
