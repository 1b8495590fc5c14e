"""Tables of tests follow what the manifest says: rows, columns, test, correction and level; SciPy and statsmodels agree."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from refers_bench.analysis.results import Results
from refers_bench.render.table import DAGGER, Cell, Table
from refers_bench.reporting import page, seed_tests, summary
from refers_bench.reports import cells, class_tests, exploratory, significance, table1

#: Share -> row -> AUC of each seed.
AUCS: dict[float, dict[str, list[float]]] = {
    0.01: {"refers": [0.71, 0.73, 0.75], "c2l": [0.66, 0.67, 0.69], "transvw": [0.60, 0.66, 0.70]},
    0.1: {"refers": [0.78, 0.79, 0.81], "c2l": [0.75, 0.76, 0.77], "transvw": [0.74, 0.75, 0.79]},
    1.0: {"refers": [0.80, 0.82, 0.87], "c2l": [0.82, 0.84, 0.90], "transvw": [0.70, 0.71, 0.73]},
}
LABELS = {"refers": "REFERS", "c2l": "C2L", "transvw": "TransVW"}
WHERE = "covid19_idc: viral_vs_bacterial, {:g} % of labels"


def results_of(folder: Any, **analysis: Any) -> Results:
    for ratio, rows in AUCS.items():
        for row, values in rows.items():
            folder.seeds(row, values, ratio=ratio, label=LABELS[row])
    folder.lock["manifest"] = {"analysis": analysis}
    results: Results = folder.load()
    return results


def p_of(ratio: float, other: str, *, reference: str = "refers", equal_var: bool = True) -> float:
    return float(stats.ttest_ind(AUCS[ratio][reference], AUCS[ratio][other], equal_var=equal_var).pvalue)


def rows_of(table: Table | None) -> dict[str, dict[str, Cell]]:
    assert table is not None
    titles = [column.title for column in table.columns]
    return {row.title: dict(zip(titles, row.cells, strict=True)) for row in table.rows}


def marked(rows: dict[str, dict[str, Cell]], title: str) -> list[bool]:
    return [DAGGER in {note.mark for note in row[title].notes} for row in rows.values()]


def test_each_named_row_is_tested_in_each_column_and_all_are_one_family(folder: Any) -> None:
    results = results_of(folder, reference="refers", against=["c2l", "transvw"])
    table = significance.build(results)
    rows = rows_of(table)
    places = [(ratio, other) for ratio in AUCS for other in ("c2l", "transvw")]
    assert list(rows) == [f"{WHERE.format(ratio * 100)}, against {LABELS[other]}" for ratio, other in places]
    p = [p_of(*place) for place in places]
    holm = list(multipletests(p, method="holm")[1])
    assert [row["P"].value for row in rows.values()] == pytest.approx(p)
    assert [row["P, Holm"].value for row in rows.values()] == pytest.approx(holm)
    assert marked(rows, "P, Holm") == [value < 0.05 for value in holm] and any(marked(rows, "P, Holm"))
    assert not any(marked(rows, "P")) and any(value < 0.05 <= other for value, other in zip(p, holm, strict=True))
    assert [row["other row"].figure for row in rows.values()] == ["C2L", "TransVW"] * 3
    # Nothing is chosen: the directions are one-sided t-tests.
    one_sided = [stats.ttest_ind(AUCS[r]["refers"], AUCS[r][o], alternative="greater").pvalue for r, o in places]
    assert [row["P, higher"].value for row in rows.values()] == pytest.approx(one_sided)
    assert table is not None and table.caption == "REFERS against C2L and TransVW in each column."
    assert "The paper's test is two-sided and made against the best" not in " ".join(table.notes)
    assert exploratory.build(results) is None


def test_a_named_row_that_is_incomplete_has_a_line_without_a_test(folder: Any) -> None:
    folder.cell("c2l", seed=3, ratio=0.1, state="failed")
    rows = rows_of(significance.build(results_of(folder, reference="refers", against=["c2l"])))
    lacking = rows[f"{WHERE.format(10)}, against C2L"]
    assert lacking["other row"].figure == "C2L"
    assert lacking["P"].notes[0].text == "no P-value: no baseline is complete."
    assert sum(row["P"].value is not None for row in rows.values()) == 2


def test_primary_columns_are_one_family_and_the_others_are_exploratory(folder: Any) -> None:
    columns = [{"dataset": "covid19_idc", "label_ratios": [0.01, 0.1]}]
    results = results_of(folder, columns=columns)
    primary, other = (rows_of(build(results)) for build in (significance.build, exploratory.build))
    assert list(primary) == [WHERE.format(1), WHERE.format(10)] and list(other) == [WHERE.format(100)]
    p = [p_of(ratio, "c2l") for ratio in (0.01, 0.1)]
    assert [row["P, Holm"].value for row in primary.values()] == pytest.approx(list(multipletests(p, method="holm")[1]))
    (exploring,) = other.values()
    assert exploring["P, Holm"].value == pytest.approx(p_of(1.0, "c2l")), "a family of its own"
    captions = [table.caption for table in page.items(results, ("significance", "exploratory"))]
    assert captions == [
        "REFERS against the best other row of each primary column.",
        "Exploratory: REFERS against the best other row of each other column.",
    ]
    table = cells.build(results)
    assert table is not None
    shown = table.rows[-1]
    assert shown.title == "P (Holm), REFERS against the best other row"
    assert [one.value for one in shown.cells[:2]] == pytest.approx(list(multipletests(p, method="holm")[1]))
    assert [one.unadjusted for one in shown.cells[:2]] == pytest.approx(p)
    assert (shown.cells[2].value, shown.cells[2].title) == (None, "no P-value: not a primary column")


def test_without_a_correction_the_p_value_itself_is_marked(folder: Any) -> None:
    results = results_of(folder, correction="none")
    rows = rows_of(significance.build(results))
    assert marked(rows, "P") == [p_of(ratio, "c2l") < 0.05 for ratio in AUCS] and any(marked(rows, "P"))
    assert not any(marked(rows, "P, Holm"))
    table = cells.build(results)
    assert table is not None and table.rows[-1].title == "P, REFERS against the best other row"
    assert [one.value for one in table.rows[-1].cells] == pytest.approx([p_of(ratio, "c2l") for ratio in AUCS])


def test_welchs_test_takes_the_place_of_students(folder: Any) -> None:
    results = results_of(folder, reference="refers", against=["transvw"], test="welch")
    table = significance.build(results)
    rows = rows_of(table)
    welch = [p_of(ratio, "transvw", equal_var=False) for ratio in AUCS]
    student = [p_of(ratio, "transvw") for ratio in AUCS]
    assert welch != pytest.approx(student)
    assert [row["P"].value for row in rows.values()] == pytest.approx(welch)
    assert [row["P, Holm"].value for row in rows.values()] == pytest.approx(
        list(multipletests(welch, method="holm")[1])
    )
    assert [row["Student P"].value for row in rows.values()] == pytest.approx(student)
    higher = [
        stats.ttest_ind(AUCS[r]["refers"], AUCS[r]["transvw"], equal_var=False, alternative="greater").pvalue
        for r in AUCS
    ]
    assert [row["P, higher"].value for row in rows.values()] == pytest.approx(higher)
    assert all(row["P"].test == "Welch's t-test, unequal variances" for row in rows.values())
    assert table is not None and "(the paper's test)" not in table.notes[0]
    (first, *_) = class_tests.build(results)
    assert first.notes[0].startswith("P: Welch's t-test, unequal variances, two-sided, on the class AUC")
    shown = [one.value for one in rows_of(first)["normal"].values() if one.kind == "p"]
    assert shown == pytest.approx([welch[0], 2 * welch[0]]), "two equal classes: Holm doubles the P-value"


def test_the_level_is_that_of_marks_counts_and_power(folder: Any) -> None:
    results = results_of(folder, correction="none", alpha=0.025)
    rows = rows_of(significance.build(results))
    p = [p_of(ratio, "c2l") for ratio in AUCS]
    assert marked(rows, "P") == [value < 0.025 for value in p] == [True, False, False] and p[1] < 0.05
    (note,) = rows[WHERE.format(1)]["P"].notes
    assert note.text == "P < 0.025 in the test named at the P-value; not corrected for several columns."
    for ratio, row in zip(AUCS, rows.values(), strict=True):
        ours, theirs = AUCS[ratio]["refers"], AUCS[ratio]["c2l"]
        pooled = ((stats.tvar(ours) + stats.tvar(theirs)) / 2) ** 0.5
        power = TTestIndPower()
        assert row["power at 1 point"].value == pytest.approx(power.power(0.01 / pooled, 3, 0.025), abs=1e-6)
        expected = 100 * pooled * power.solve_power(None, 3, 0.025, 0.8)
        assert row["detectable"].value == pytest.approx(expected, rel=1e-4)
    said = summary.sentences(results, [])[0][0]
    assert (
        f"P < 0.025 over seeds, whichever is higher, in {sum(value < 0.025 for value in p)} of 3 tested columns" in said
    )
    assert "(one-sided, P < 0.0125)" in said


def test_another_reference_is_the_one_that_is_compared(folder: Any) -> None:
    results = results_of(folder, reference="c2l", against=["transvw"])
    rows = rows_of(significance.build(results))
    assert [row["P"].value for row in rows.values()] == pytest.approx(
        [p_of(ratio, "transvw", reference="c2l") for ratio in AUCS]
    )
    assert results.reference == "c2l"
    said = summary.sentences(results, [])[0][0]
    assert said.startswith("C2L is above TransVW in 2 of 3 columns; P < 0.05 over seeds")


def test_several_named_rows_have_a_line_each_below_the_main_table(folder: Any) -> None:
    results = results_of(folder, reference="refers", against=["c2l", "transvw"])
    table = cells.build(results)
    assert table is not None
    titles = [row.title for row in table.rows if row.block == "test"]
    assert titles == ["P (Holm), REFERS against C2L", "P (Holm), REFERS against TransVW"]
    said = summary.sentences(results, [])[0][0]
    assert said.startswith("REFERS is above C2L and TransVW in 5 of 6 comparisons; P < 0.05 over seeds")
    ids = [one.id for one in class_tests.build(results)]
    assert len(ids) == len(set(ids)) == 6 and sum(one.endswith("-contrast-2") for one in ids) == 3


def test_the_papers_tables_keep_the_papers_tests(folder: Any) -> None:
    """They repeat what the paper tests; the level of the marks alone is the manifest's."""
    folder.lock["tables"] = ["table1"]
    columns = [{"dataset": "covid19_idc", "label_ratios": [0.01]}]
    results = results_of(folder, reference="c2l", against=["refers"], columns=columns, alpha=0.001)
    table = table1.build(results)
    assert table is not None
    (row,) = [one for one in table.rows if one.block == "test"]
    (p,) = [one for one in row.cells if one.value is not None]
    assert p.value == pytest.approx(p_of(1.0, "c2l")) and p.unadjusted is None and not p.notes


def test_one_row_alone_is_compared_with_nothing(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.81])
    folder.lock["manifest"] = {"analysis": {}}
    results = folder.load()
    assert seed_tests.build(results, primary=True) is None
    table = cells.build(results)
    assert table is not None and not [row for row in table.rows if row.block == "test"]
