"""The cells without a figure: grouped by row, target, state and reason, worst first, with what failed and how often."""

from __future__ import annotations

from typing import Any

from refers_bench.reports import failures


def test_cells_are_grouped_worst_first_with_the_messages_of_what_they_need(folder: Any) -> None:
    folder.job("pre", "pretrain")
    folder.failed("pre", category="oom", message="x" * 201, attempts=3)
    folder.job("half", "pretrain")
    folder.failed("half", category="crash", message="y" * 200)
    names = {"refers": "REFERS", "c2l": "C2L"}
    folder.cell("refers", label="REFERS", seed=0)
    for seed in (3, 5):
        folder.cell("refers", label="REFERS", seed=seed, state="unavailable", reason="its weights are not public")
    folder.cell("c2l", label="C2L", state="missing", ratio=0.1)
    folder.cell("c2l", label="C2L", aucs={"normal": None, "opacity": None})
    for seed in (1, 2):
        folder.cell("c2l", label="C2L", seed=seed, state="failed")
    folder.cell("refers", label="REFERS", seed=7, ratio=0.1, state="missing", needs=["pre", "half"])
    table = failures.build(folder.load())
    assert table is not None and set(names.values()) == {row.title for row in table.rows}
    assert [column.title for column in table.columns] == ["target", "seeds", "state", "reason", "message", "attempts"]
    whole, tenth = (f"covid19_idc: viral_vs_bacterial, {share} % of labels" for share in (100, 10))
    assert [(row.title, *(cell.figure for cell in row.cells)) for row in table.rows] == [
        ("C2L", whole, "seeds 1, 2", "failed", "failed: nan", "loss is NaN", "2"),
        ("REFERS", tenth, "seed 7", "failed", "pretrain failed: oom", f"{'x' * 197}...; {'y' * 200}", "3"),
        ("C2L", whole, "seed 0", "undefined", "no class has an AUC: no positives", "", ""),
        ("C2L", tenth, "seed 0", "missing", "not run yet", "", ""),
        ("REFERS", whole, "seeds 3, 5", "unavailable", "its weights are not public", "", ""),
    ]
    assert [row.cells[2].kind for row in table.rows] == ["failed", "failed", "text", "missing", "unavailable"]
    assert [row.cells[5].value for row in table.rows] == [2, 3, None, None, None]
    assert table.caption == "Cells without a figure: 7 of 8." and not table.numeric
    assert table.notes == ("'refers-bench run' does what is missing or failed, and nothing else.",)


def test_with_a_figure_in_every_cell_there_is_no_table(folder: Any) -> None:
    folder.cell("refers")
    assert failures.build(folder.load()) is None
