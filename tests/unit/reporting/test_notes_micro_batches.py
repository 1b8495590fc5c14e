"""Does every table that shows a cell say that its batches, or those of what it needs, were processed in parts?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from refers_bench.analysis.results import Results
from refers_bench.render.table import Table
from refers_bench.reporting import notes, provenance
from refers_bench.reports import cells, class_tests, classes, references, significance, table2

CELL = {"accumulation": {"parts": 2, "after": "cuda_oom", "batch_statistics": False}}
ASKED = {"accumulation": {"parts": 4, "after": "", "batch_statistics": True}}
OWN = "batch processed in 2 parts after running out of memory"
NEEDED = "pre-training: batch processed in 4 parts as asked for, whose batch statistics are those of a part"


@pytest.fixture
def results(folder: Any) -> Results:
    """LSP has no such cell; one of three REFERS seeds ran out of memory, and its pre-training was asked to save it."""
    folder.lock["tables"] = ["table2"]
    folder.job("pre", kind="pretrain")
    folder.done("pre", kind="pretrain", facts=ASKED)
    for seed, auc in enumerate((0.81, 0.83, 0.85)):
        state = "planned" if seed == 1 else "done"
        key = folder.cell("refers", seed=seed, aucs={"a": auc, "b": auc}, needs=["pre"], state=state)
        if seed == 1:
            folder.done(key, {"a": auc, "b": auc}, facts=CELL, attempts=2)
        folder.cell("lsp_transformer", seed=seed, aucs={"a": auc - 0.2, "b": auc - 0.21})
    found: Results = folder.load()
    return found


def notes_of(table: Table | list[Table] | None) -> set[str]:
    tables: Iterable[Table | None] = table if isinstance(table, list) else [table]
    return {note.text for one in tables if one is not None for note in one.footnotes()}


def test_notes_name_the_seeds_and_what_is_needed(results: Results) -> None:
    (target,) = results.targets
    first, second = notes.micro_batches(results, "refers", target=target)
    assert first.text == f"{OWN} (seed 1); {notes.SAME}."
    assert second.text == f"{NEEDED}; {notes.SAME}."
    assert notes.micro_batches(results, "lsp_transformer", target=target) == ()
    assert (
        notes.micro_batches(results, None, target=target) == notes.micro_batches(results, "refers", target=None) == ()
    )


@pytest.mark.parametrize("report", [table2, cells, classes, references, significance, class_tests])
def test_every_table_with_the_cell_has_the_footnotes(results: Results, report: Any) -> None:
    shown = notes_of(report.build(results))
    assert any(text.startswith(OWN) for text in shown), shown
    assert any(text.startswith(NEEDED) for text in shown), shown


def test_only_the_cell_is_marked(results: Results) -> None:
    table = cells.build(results)
    marked = {row.title for row in table.rows for cell in row.cells if any(OWN in note.text for note in cell.notes)}
    assert marked == {"refers"}


def test_without_parts_nothing_is_said(folder: Any) -> None:
    folder.lock["tables"] = ["table2"]
    folder.seeds("refers", [0.8, 0.81, 0.82])
    folder.seeds("lsp_transformer", [0.6, 0.61, 0.62])
    assert not any("parts" in text for text in notes_of(cells.build(folder.load())))


def test_run_details_say_it_of_the_seed_and_of_the_pretraining(results: Results) -> None:
    facts = [fact for detail in provenance.details(results) for fact in detail.facts]
    assert ("seed 1, memory", OWN) in facts
    endings = [text.rpartition(", ")[2] for name, text in facts if name == "seed 1"]
    assert endings.count("attempt 2") == 1  # the other one is of the other method
    assert not any(name == "seed 0, memory" for name, _ in facts)
