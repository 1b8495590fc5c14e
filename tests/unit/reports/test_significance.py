"""The table of tests over seeds, column by column: SciPy's and statsmodels' figures, Holm's correction, directions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from refers_bench.render.table import DAGGER, Cell, Table
from refers_bench.reports import significance

#: Column -> seeds of REFERS and of C2L: P of about 0.02, 0.03 and 0.2; the last column has no test.
SEEDS = {
    0.01: ([0.71, 0.73, 0.75], [0.66, 0.67, 0.69]),
    0.1: ([0.78, 0.79, 0.81], [0.75, 0.76, 0.77]),
    0.5: ([0.80, 0.82, 0.87], [0.82, 0.84, 0.90]),
    1.0: ([0.85, 0.85, 0.85], [0.80, 0.81, 0.82]),
}
TESTED = list(SEEDS)[:3]


def fill(folder: Any) -> None:
    for ratio, (ours, theirs) in SEEDS.items():
        folder.seeds("refers", ours, ratio=ratio, label="REFERS")
        folder.seeds("c2l", theirs, ratio=ratio, label="C2L")


def rows_of(table: Table | None) -> dict[float, dict[str, Cell]]:
    assert isinstance(table, Table)
    titles = [column.title for column in table.columns]
    return {
        float(row.title.split(", ")[1].split(" ")[0]) / 100: dict(zip(titles, row.cells, strict=True))
        for row in table.rows
    }


def test_figures_are_scipys_and_holms_those_of_statsmodels(folder: Any) -> None:
    fill(folder)
    table = significance.build(folder.load())
    rows = rows_of(table)
    assert table is not None and list(rows) == list(SEEDS)
    assert table.caption == "REFERS against the best other row of each column."
    p = [stats.ttest_ind(*SEEDS[ratio]).pvalue for ratio in TESTED]
    adjusted = multipletests(p, method="holm")[1]
    assert adjusted[0] == pytest.approx(3 * min(p)) and max(p) < 1 and (np.array(adjusted) > p)[:2].all()
    for ratio, unadjusted, holm in zip(TESTED, p, adjusted, strict=True):
        ours, theirs = SEEDS[ratio]
        cells = rows[ratio]
        found = stats.ttest_ind(ours, theirs)
        ends = found.confidence_interval(0.95)
        assert cells["best other"].figure == "C2L"
        assert cells["difference"].value == pytest.approx(100 * (np.mean(ours) - np.mean(theirs)))
        assert (cells["95 % interval"].low, cells["95 % interval"].high) == pytest.approx(
            (100 * ends.low, 100 * ends.high)
        )
        assert cells["95 % interval"].figure == f"{100 * ends.low:.1f} to {100 * ends.high:.1f}"
        assert (cells["n"].figure, cells["n"].n, cells["df"].figure) == ("3 and 3", (3, 3), "4")
        assert cells["t"].value == pytest.approx(found.statistic) and cells["t"].figure == f"{found.statistic:.2f}"
        assert (cells["P"].value, cells["P"].df, cells["P"].n) == (pytest.approx(unadjusted), 4, (3, 3))
        assert (cells["P, Holm"].value, cells["P, Holm"].unadjusted) == pytest.approx((holm, unadjusted))
        assert cells["P, Holm"].test.endswith("; adjusted after Holm") and "Holm" not in cells["P"].test
        assert [note.mark for note in cells["P"].notes] == ([DAGGER] if unadjusted < 0.05 else [])
        welch = stats.ttest_ind(ours, theirs, equal_var=False)
        assert (cells["Welch df"].value, cells["Welch P"].value) == pytest.approx((welch.df, welch.pvalue))
        pooled = math.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2)
        # Hedges: J = 1 - 3 / (4 df - 1).
        assert cells["Hedges g"].value == pytest.approx((np.mean(ours) - np.mean(theirs)) / pooled * (1 - 3 / 15))
        power = TTestIndPower()
        assert cells["power at 1 point"].value == pytest.approx(power.power(0.01 / pooled, 3, 0.05), abs=1e-6)
        assert cells["detectable"].value == pytest.approx(
            100 * pooled * power.solve_power(None, 3, 0.05, 0.8), rel=1e-4
        )
    assert "tests of this table that were made: 3." in " ".join(table.notes)
    last = rows[1.0]
    assert last["P"].figure == "\N{EN DASH}" and last["P"].notes[0].text == "no P-value: zero variance over seeds."
    assert [title for title, cell in last.items() if cell.numbers] == [] and last["best other"].figure == "C2L"


def test_of_one_other_row_the_directions_are_one_sided_t_tests(folder: Any) -> None:
    fill(folder)
    for ratio, cells in rows_of(significance.build(folder.load())).items():
        if ratio not in TESTED:
            continue
        for title, alternative in (("P, higher", "greater"), ("P, lower", "less")):
            cell = cells[title]
            assert cell.value == pytest.approx(stats.ttest_ind(*SEEDS[ratio], alternative=alternative).pvalue)
            assert (cell.n, cell.df) == ((3, 3), 4) and "permutation" not in cell.test + cell.title


def test_the_best_other_row_is_the_highest_complete_one(folder: Any) -> None:
    """Higher: the largest one-sided P of all other rows; lower: by permutations, which agree with SciPy's of one row."""
    ours, second, third = [0.80, 0.82, 0.85], [0.70, 0.74, 0.75], [0.76, 0.77, 0.79]
    folder.seeds("refers", ours)
    folder.seeds("c2l", second)
    folder.seeds("transvw", third)
    folder.seeds("imagenet", [0.9, 0.91])
    folder.cell("imagenet", seed=2, state="failed")
    ((_, cells),) = rows_of(significance.build(folder.load())).items()
    assert cells["best other"].figure == "transvw"
    assert cells["difference"].value == pytest.approx(100 * (sum(ours) - sum(third)) / 3)
    higher = [stats.ttest_ind(ours, other, alternative="greater").pvalue for other in (second, third)]
    assert cells["P, higher"].value == pytest.approx(max(higher))
    assert cells["P, higher"].n == (3, 3, 3) and cells["P, lower"].n == (3, 3, 3)
    lower = cells["P, lower"].value
    assert lower is not None and lower > 0.95 and cells["P, lower"].title == "9999 permutations"


def test_without_anything_to_compare_there_is_no_table(folder: Any, new_folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.81])
    assert significance.build(folder.load()) is None
    one = new_folder("one")
    for method in ("refers", "c2l"):
        one.cell(method, ratio=0.3)
    assert significance.build(one.load()) is None


def test_without_refers_the_first_row_is_compared(folder: Any) -> None:
    folder.seeds("c2l", [0.7, 0.72])
    folder.seeds("transvw", [0.6, 0.63])
    table = significance.build(folder.load())
    assert table is not None and table.caption.startswith("c2l against")
    assert rows_of(table)[1.0]["difference"].value == pytest.approx(9.5)
