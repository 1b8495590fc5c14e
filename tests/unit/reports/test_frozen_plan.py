"""The table of a frozen plan: when, its digest and rules, each deviation; nothing where nothing was frozen."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.analysis.results import Results
from refers_bench.render.table import Table
from refers_bench.reporting import checklist_facts, page, summary
from refers_bench.reports import frozen_plan as report
from refers_bench.store import frozen_plan

AT = "1999-01-01T00:00:00+00:00"
COLUMN = "covid19_idc.viral_vs_bacterial.100%"


@pytest.fixture
def results(folder: Any) -> Results:
    """Two rows of two seeds, run in 2026; frozen before."""
    for method, seed in (("refers", 0), ("refers", 1), ("c2l", 0), ("c2l", 1)):
        key = folder.cell(method, seed=seed, state="missing", label=method.upper())
        folder.done(key, {"normal": 0.8 + seed / 50, "opacity": 0.7}, started="2026-01-01T00:00:00+00:00")
    folder.lock["manifest"] = {"analysis": {"alpha": 0.01}}
    loaded: Results = folder.load()
    frozen = frozen_plan.of(loaded.plan, at=AT, program="refers-bench 9")
    frozen_plan.write(frozen, frozen_plan.path_of(folder.results, folder.name))
    return loaded


def lines(table: Table | None) -> list[tuple[str, str, str]]:
    assert table is not None
    return [(row.title, row.cells[0].figure, row.cells[1].figure) for row in table.rows]


def test_without_a_frozen_plan_there_is_no_table(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.81])
    results = folder.load()
    assert report.build(results) is None
    assert "rozen" not in str(summary.sentences(results, page.items(results))) and not checklist_facts.facts(
        "frozen", results
    )


def test_it_says_when_with_which_digest_and_rules_and_that_nothing_deviates(results: Results) -> None:
    table = report.build(results)
    digest = frozen_plan.of(results.plan, at=AT, program="refers-bench 9").digest
    assert table is not None and table.caption == f"Frozen plan of {AT}, SHA-256 {digest[:12]}: nothing deviates."
    assert lines(table) == [
        ("frozen", "time", f"{AT} (UTC)"),
        ("frozen", "SHA-256", f"{digest}, by refers-bench 9"),
        ("frozen", "cells", "2 rows, 1 column, 4 cells; seeds: 0, 1"),
        ("rule", "reference", "refers"),
        ("rule", "against", "best other row"),
        ("rule", "columns", "all"),
        ("rule", "test", "student"),
        ("rule", "correction", "holm"),
        ("rule", "alpha", "0.01"),
        ("rule", "images of each split", "all"),
        *(("rule", f"stopping rule {n}", text) for n, text in enumerate(frozen_plan.STOPPING, 1)),
        ("deviation", "none", "nothing deviates"),
    ]
    assert table.rows[8].cells[1].value == 0.01
    assert table.caption in summary.sentences(results, [table])[1]
    (fact,) = checklist_facts.facts("frozen", results)
    assert fact.text == f"Rows, columns, seeds and tests were frozen on {AT}, SHA-256 {digest}."


def test_it_lists_what_deviates(folder: Any, results: Results) -> None:
    folder.cell("transvw", state="failed")
    folder.lock["cells"] = [one for one in folder.lock["cells"] if (one["method"], one["seed"]) != ("c2l", 1)]
    folder.lock["manifest"] = {"analysis": {"alpha": 0.05}}
    folder.failed("c2l-later")
    table = report.build(folder.load())
    assert table is not None and table.caption.endswith(": 3 deviations.")
    assert [line for line in lines(table) if line[0] == "deviation"] == [
        ("deviation", "row transvw", "added since"),
        ("deviation", f"cell c2l.{COLUMN}", "left out since (s1)"),
        ("deviation", "rule alpha", "0.01 -> 0.05"),
    ]


def test_a_cell_that_failed_and_a_result_that_is_older_deviate(folder: Any, results: Results) -> None:
    path = frozen_plan.path_of(folder.results, folder.name)
    frozen_plan.write(frozen_plan.of(results.plan, at="2026-06-01T00:00:00+00:00", program="p"), path)
    key = next(cell.key for cell in results.plan.cells if cell.method == "c2l" and cell.seed == 1)
    for file in (folder.results / "store" / key).iterdir():
        file.unlink()
    (folder.results / "store" / key).rmdir()
    folder.failed(key)
    begun = "begun 2026-01-01T00:00:00+00:00"
    assert [line[1:] for line in lines(report.build(folder.load())) if line[0] == "deviation"] == [
        (f"early result refers.{COLUMN}", f"{begun} (s0, s1)"),
        (f"early result c2l.{COLUMN}", f"{begun} (s0)"),
        (f"missing result c2l.{COLUMN}", "failed: nan (s1)"),
    ]


def test_a_file_that_was_edited_is_told_and_nothing_of_it_is_shown(folder: Any, results: Results) -> None:
    path = frozen_plan.path_of(folder.results, folder.name)
    path.write_text(path.read_text().replace('"alpha": 0.01', '"alpha": 0.05'))
    table = report.build(results)
    assert table is not None
    assert table.caption.startswith("Frozen plan that cannot be trusted: changed since it was frozen: SHA-256 ")
    ((title, about, said),) = lines(table)
    assert (title, about) == ("frozen", "plan.frozen.json") and said.startswith("changed since it was frozen")
    assert str(folder.results) not in f"{table.caption}{said}" and not checklist_facts.facts("frozen", results)
