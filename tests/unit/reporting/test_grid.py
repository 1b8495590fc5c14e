"""Does the table of all cells mark what a reader must not overlook?"""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.render.table import DAGGER, Cell, Row, Table
from refers_bench.reporting import comparisons, grid, paper
from refers_bench.reports import cells


def _table(results: Results) -> Table:
    table = cells.build(results)
    assert table is not None
    return table


def _row(table: Table, title: str) -> Row:
    return next(row for row in table.rows if row.title == title)


def _notes(place: Cell | Row) -> str:
    return " ".join(note.full for note in place.notes)


def test_best_is_bold_and_p_says_test_n_and_df(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82, 0.81], label="REFERS")
    folder.seeds("scratch", [0.60, 0.63, 0.64], label="Random")
    folder.seeds("c2l", [0.70, 0.72, 0.71], label="C2L")
    table = _table(folder.load())
    assert [row.cells[0].best for row in table.rows] == [True, False, False, False]
    assert (table.rows[0].cells[0].figure, table.rows[0].cells[0].spread) == ("81.0", "1.0")
    p = _row(table, "P, REFERS against the best other row")
    assert p.block == "test" and p.cells[0].text == "2.55e-4"
    assert _notes(p).startswith("Independent two-sample t-test, pooled variance, two-sided")
    assert "100 % of labels: against C2L, n = 3 and 3 seeds, df = 4." in _notes(p)
    assert DAGGER in {note.mark for note in p.cells[0].notes}


def test_incomplete_cells_are_marked_not_bold_and_not_tested(folder: Any) -> None:
    folder.seeds("refers", [0.9, 0.92], label="REFERS")
    folder.cell("refers", seed=2, state="failed", label="REFERS")
    folder.seeds("scratch", [0.60, 0.63, 0.64])
    table = _table(folder.load())
    assert table.rows[0].cells[0].figure == "91.0" and not any(row.cells[0].best for row in table.rows)
    assert "n=2/3: incomplete (failed: nan)" in _notes(table.rows[0].cells[0])
    assert table.rows[-1].cells[0].value is None and "only 2 of 3 seeds" in _notes(table.rows[-1])


@pytest.mark.parametrize(
    ("state", "text", "kind"),
    [("failed", "failed", "failed"), ("missing", "\N{EN DASH}", "missing"), ("unavailable", "n/a", "unavailable")],
)
def test_empty_cells_say_why(folder: Any, state: str, text: str, kind: str) -> None:
    folder.cell(state=state)
    cell = _table(folder.load()).rows[0].cells[0]
    assert (cell.text, cell.kind, cell.value) == (text, kind, None) and cell.notes


def test_unavailable_methods_are_named_with_the_reason(folder: Any) -> None:
    folder.cell()
    folder.cell("c2l", state="unavailable", label="C2L", reason="not built yet")
    table = _table(folder.load())
    assert _notes(_row(table, "C2L").cells[0]) == "not built yet."
    assert table.notes == ("Not available here, reasons in the footnotes: C2L.",)


def test_one_seed_has_no_sd_and_no_p(folder: Any) -> None:
    folder.cell()
    folder.cell("scratch")
    table = _table(folder.load())
    assert table.rows[0].cells[0].spread == "" and "n=1" in _notes(table.rows[0].cells[0])
    assert "needs at least two seeds" in _notes(table.rows[-1])


def test_zero_variance_has_no_p(folder: Any) -> None:
    folder.seeds("refers", [0.9, 0.9, 0.9])
    folder.seeds("scratch", [0.6, 0.61, 0.62])
    row = _table(folder.load()).rows[-1]
    assert row.cells[0].text == "\N{EN DASH}" and "zero variance" in _notes(row)


def test_undefined_classes_are_counted(folder: Any) -> None:
    folder.cell(aucs={"normal": 0.8, "opacity": None})
    cell = _table(folder.load()).rows[0].cells[0]
    assert cell.figure == "80.0" and "1/2 classes" in _notes(cell)


def test_methods_over_different_classes_are_neither_ranked_nor_tested(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82])
    for seed in (0, 1):
        folder.cell("scratch", seed=seed, aucs={"normal": 0.7 + seed / 100, "opacity": None})
    table = _table(folder.load())
    assert not any(row.cells[0].best for row in table.rows)
    assert "different classes" in _notes(table.rows[-1])


def test_synthetic_columns_are_named_in_caption_and_title(folder: Any) -> None:
    folder.cell(synthetic=True)
    assert _table(folder.load()).caption.startswith("Synthetic data. ")
    folder.cell(ratio=0.1)
    table = _table(folder.load())
    assert table.caption.startswith("Partly synthetic data. ")
    assert ["(synthetic)" in column.group for column in table.columns] == [True, False]


def test_equal_labels_are_told_apart_and_ties_share_the_bold(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.9], label="REFERS")
    folder.seeds("refers_b", [0.9, 0.8], label="REFERS")
    rows = _table(folder.load()).rows
    assert [row.title for row in rows[:2]] == ["REFERS (refers)", "REFERS (refers_b)"]
    assert [row.cells[0].best for row in rows[:2]] == [True, True]


def test_incomplete_baselines_are_named_at_the_p_value(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82])
    folder.seeds("scratch", [0.60, 0.63])
    folder.cell("c2l", state="missing", label="C2L")
    assert "Best of the complete rows; without C2L." in _notes(_table(folder.load()).rows[-1])


def test_links_of_different_cells_differ(folder: Any) -> None:
    folder.cell("a-b", dataset="c")
    folder.cell("a", dataset="b-c")
    results = folder.load()
    assert len({grid.anchor(results, method, target) for method, target in results.cells}) == 2


@pytest.mark.parametrize(("p", "text"), [(8.35e-4, "8.35e-4"), (0.0123, "0.012"), (0.5, "0.500"), (1e-12, "1.00e-12")])
def test_p_text(p: float, text: str) -> None:
    assert comparisons.p_text(p) == text


def test_an_empty_manifest_has_no_table(folder: Any) -> None:
    assert cells.build(folder.load()) is None


def test_columns_say_how_they_were_evaluated_and_never_stand_for_the_papers(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.82], evaluation="linear_probe")
    folder.seeds("refers", [0.7, 0.72], folds=5)
    results = folder.load()
    titles = [grid.target_title(target) for target in results.targets]
    assert titles == ["covid19_idc: viral_vs_bacterial, linear probe", "covid19_idc: viral_vs_bacterial, 5 folds"]
    assert len({grid.anchor(results, "refers", target) for target in results.targets}) == 2
    assert len({grid.item_id("roc", target) for target in results.targets}) == 2
    column = paper.PaperColumn(group="COVID-19", title="", subtitle="", published="covid-t2")
    assert paper.find_target(results, column) is None
    folder.seeds("refers", [0.6, 0.62])
    assert paper.find_target(folder.load(), column) == Target(
        dataset="covid19_idc", task="viral_vs_bacterial", label_ratio=1.0
    )


def test_files_of_columns_that_read_alike_have_names_of_their_own() -> None:
    """Also on file systems that take capitals and small letters for the same."""
    names = [("a-b", "c"), ("a", "b-c"), ("a b", "c"), ("a.b", "c"), ("A", "b"), ("a", "b"), ("a", "B"), ("ä", "b")]
    ids = [grid.item_id("classes", Target(dataset=dataset, task=task, label_ratio=0.1)) for dataset, task in names]
    assert len({one.casefold() for one in ids}) == len(names)
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for one in ids)
    plain = Target(dataset="covid19_idc", task="viral_vs_bacterial", label_ratio=0.1)
    assert grid.item_id("classes", plain) == "classes-covid19_idc-viral_vs_bacterial-0_1", "as in earlier reports"
