from __future__ import annotations

from typing import Any

from refers_bench.analysis.paper.published import TARGETS
from refers_bench.render.table import Table
from refers_bench.reporting import paper
from refers_bench.reports import table1, table2, table3

METHODS = ("refers", "model_genesis", "c2l", "context_restoration", "transvw", "imagenet")


def _where(column: paper.PaperColumn) -> dict[str, Any]:
    dataset, task = TARGETS[column.published]
    return {"dataset": dataset, "task": task or "findings", "ratio": column.label_ratio}


def _plan(folder: Any, methods: tuple[str, ...], **more: Any) -> None:
    for method in methods:
        for column in paper.ALL:
            for seed in (0, 1, 2):
                folder.cell(method, seed=seed, **_where(column), **{"state": "missing", **more})


def _built(table: Table | None) -> Table:
    assert table is not None
    return table


def test_table_1_has_the_papers_rows_and_columns(folder: Any) -> None:
    _plan(folder, METHODS)
    table = _built(table1.build(folder.load()))
    ours = [row.title for row in table.rows if row.block == "ours"]
    assert ours == ["REFERS", "Model Genesis", "C2L", "Context Restoration", "TransVW", "ImageNet pre-training"]
    assert [column.subtitle for column in table.columns] == [
        *("800 images", "8,000 images", "80,000 images", "100 images", "1,000 images", "10,000 images"),
        *("all labels",) * 3,
    ]
    assert [group for group, _ in table.groups] == [
        *("NIH ChestX-ray14", "VinBigData", "Shenzhen", "COVID-19 Image Data Collection")
    ]


def test_published_figures_stand_in_a_block_of_their_own(folder: Any) -> None:
    _plan(folder, METHODS)
    table = _built(table1.build(folder.load()))
    published = [row for row in table.rows if row.block == "published"]
    assert [cell.figure for cell in published[0].cells] == [
        *("76.7", "80.9", "84.7", "83.0", "88.2", "90.1", "98.0", "82.1", "80.4")
    ]
    assert published[-1].cells[0].text == "8.35e-4" and all("(published)" in row.title for row in published)
    assert all(cell.kind == "published" for row in published for cell in row.cells)
    assert not any(cell.value for row in table.without("published").rows for cell in row.cells)


def test_no_published_figure_stands_beside_synthetic_data(folder: Any) -> None:
    for number, column in enumerate(paper.ALL):
        folder.seeds("refers", [0.8, 0.81], synthetic=number > 0, **_where(column))
        folder.seeds("c2l", [0.7, 0.71], synthetic=number > 0, **_where(column))
    table = _built(table1.build(folder.load()))
    published = [row for row in table.rows if row.block == "published"]
    assert published[0].cells[0].figure == "76.7"
    assert all(cell.figure == "\N{EN DASH}" for row in published for cell in row.cells[1:])


def test_every_published_cell_is_found(folder: Any) -> None:
    _plan(folder, (*METHODS, "lsp_transformer", "lsp_convnet", "row1", "row2"))
    results = folder.load()
    for build in (table1.build, table2.build, table3.build):
        for row in _built(build(results)).rows:
            assert row.block != "published" or all(cell.figure != "\N{EN DASH}" for cell in row.cells)


def test_rows_of_ones_own_follow_the_papers(folder: Any) -> None:
    _plan(folder, ("refers", "c2l", "mine"))
    titles = [row.title for row in _built(table1.build(folder.load())).rows if row.block == "ours"]
    assert titles[-2:] == ["ImageNet pre-training", "mine"]


def test_table_1_tests_against_the_best_baseline_of_each_column(folder: Any) -> None:
    _plan(folder, ("model_genesis",))
    column = paper.VIRAL_BACTERIAL
    for column in paper.ALL:
        where = _where(column)
        folder.seeds("refers", [0.9, 0.91, 0.92], **where)
        folder.seeds("c2l", [0.7, 0.71, 0.72], **where)
        folder.seeds("scratch", [0.95, 0.951, 0.952], **where)
    table = _built(table1.build(folder.load()))
    p = next(row for row in table.rows if row.block == "test")
    # The canary is a row of the manifest, not one of the paper's baselines.
    (note,) = p.notes
    assert len(note.more) == 1 and ": against c2l, n = 3 and 3 seeds" in note.full


def test_table_2_tests_against_lsp_transformer_even_where_convnet_is_better(folder: Any) -> None:
    for column in paper.ALL:
        where = _where(column)
        folder.seeds("refers", [0.9, 0.91], **where)
        folder.seeds("lsp_transformer", [0.7, 0.71], **where)
        folder.seeds("lsp_convnet", [0.8, 0.81], **where)
    table = _built(table2.build(folder.load()))
    p = next(row for row in table.rows if row.block == "test")
    (note,) = p.notes
    assert len(note.more) == 1 and ": against lsp_transformer, n = 2 and 2 seeds" in note.full


def test_table_3_has_seven_rows(folder: Any) -> None:
    for number in range(7):
        folder.cell(f"row{number}")
    table = _built(table3.build(folder.load()))
    assert [row.title[:5] for row in table.rows[:7]] == [f"row {number}" for number in range(7)]
    assert [row.cells[0].figure for row in table.rows[7:]] == ["80.4", "73.3", "77.1", "78.6", "76.6", "79.1", "79.3"]
    assert all(row.cells[0].value is not None for row in table.rows)


def test_tables_the_manifest_does_not_ask_for_are_not_built(folder: Any) -> None:
    folder.cell("refers")
    folder.cell("lsp_transformer")
    results = folder.load()
    assert table1.build(results) is None and table2.build(results) is None and table3.build(results) is None


def test_a_table_the_manifest_names_is_built_with_its_gaps(folder: Any) -> None:
    folder.cell("refers")
    folder.lock["tables"] = ["table1", "table3"]
    results = folder.load()
    table = _built(table1.build(results))
    assert [cell.kind for cell in table.rows[0].cells] == ["missing"] * 8 + ["value"]
    assert table2.build(results) is None and table3.build(results) is not None


def test_rows_of_the_shipped_manifest_are_found(folder: Any) -> None:
    names = ("refers", "row1_resnet101", "row2_plain_vit", "row3_no_fusion", "lsp_transformer", "row5_x", "row6_y")
    for name in names:
        folder.cell(name)
    table = _built(table3.build(folder.load()))
    assert all(row.cells[0].value is not None for row in table.rows) and len(table.rows) == 14


def test_synthetic_columns_are_marked(folder: Any) -> None:
    _plan(folder, ("refers", "c2l"), synthetic=True)
    table = _built(table1.build(folder.load()))
    assert table.caption.startswith("Synthetic data. ")
    assert all(column.notes[0].text.startswith("synthetic") for column in table.columns)
