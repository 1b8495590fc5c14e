"""Classes are tested over seeds as SciPy does, corrected within a table, and refused where there is nothing to test."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from refers_bench.reports import class_tests

REFERS = {"a": [0.80, 0.82, 0.81], "b": [0.70, 0.75, 0.72], "c": [0.90, 0.90, 0.90]}
OTHER = {"a": [0.70, 0.71, 0.73], "b": [0.69, 0.74, 0.73], "c": [0.60, 0.61, 0.62]}


def _fill(folder: Any, **changes: Any) -> None:
    for method, aucs in (("refers", REFERS), ("c2l", {**OTHER, **changes})):
        for seed in range(3):
            folder.cell(method, seed=seed, aucs={name: values[seed] for name, values in aucs.items()})


def test_every_class_is_tested_and_corrected_by_holm(folder: Any) -> None:
    _fill(folder)
    (table,) = class_tests.build(folder.load())
    rows = {
        row.title: dict(zip((column.title for column in table.columns), row.cells, strict=True)) for row in table.rows
    }
    expected = {name: stats.ttest_ind(REFERS[name], OTHER[name]).pvalue for name in ("a", "b")}
    adjusted = dict(zip(expected, multipletests(list(expected.values()), method="holm")[1], strict=True))
    for name, p in expected.items():
        assert float(rows[name]["P"].text) == pytest.approx(p, rel=0.01, abs=5e-4)
        assert float(rows[name]["P, Holm"].text) == pytest.approx(adjusted[name], rel=0.01, abs=5e-4)
        assert (rows[name]["P"].value, rows[name]["P, Holm"].value) == pytest.approx((p, adjusted[name]))
        assert rows[name]["P, Holm"].unadjusted == pytest.approx(p) and rows[name]["P"].unadjusted is None
        assert rows[name]["n"].text == "3 and 3" and rows[name]["df"].text == "4"
        found = stats.ttest_ind(REFERS[name], OTHER[name])
        low, high = (100 * end for end in found.confidence_interval(0.95))
        assert rows[name]["95 % interval"].figure == f"{low:+.1f} to {high:+.1f}"
        assert rows[name]["t"].figure == f"{found.statistic:.2f}"
        assert rows[name]["difference"].figure == f"{100 * (sum(REFERS[name]) - sum(OTHER[name])) / 3:+.1f}"
    assert adjusted["a"] == pytest.approx(2 * expected["a"]) and table.id.startswith("class-tests-covid19_idc")
    assert table.caption.startswith("refers minus c2l (best other mean), class by class over seeds, covid19_idc")
    assert rows["a"]["P, Holm"].notes and not rows["b"]["P, Holm"].notes
    assert rows["c"]["P"].text == "\N{EN DASH}" and "zero variance over seeds" in rows["c"]["P"].notes[0].text
    assert rows["c"]["difference"].value is None and table.view == "class"
    assert "tests of this table that were made: 2." in " ".join(table.notes), "class c was not tested"


def test_a_class_without_an_auc_in_a_seed_is_not_tested(folder: Any) -> None:
    for seed in range(3):
        folder.cell("refers", seed=seed, aucs={"a": 0.8 + seed / 100, "b": 0.7 + seed / 100, "c": None})
        folder.cell("c2l", seed=seed, aucs={"a": 0.6 + seed / 100, "b": 0.7 - seed / 100, "c": None})
    (table,) = class_tests.build(folder.load())
    cells = table.rows[2].cells
    assert "an AUC in 0 of 3 seeds" in " ".join(note.text for cell in cells for note in cell.notes)


def test_without_seeds_or_classes_there_is_no_table(folder: Any, new_folder: Any) -> None:
    folder.cell("refers")
    folder.cell("c2l")
    assert class_tests.build(folder.load()) == []
    one = new_folder("one")
    for method in ("refers", "c2l"):
        for seed in range(2):
            one.cell(method, seed=seed, aucs={"a": 0.5 + seed / 10}, ratio=0.3)
    assert class_tests.build(one.load()) == []
