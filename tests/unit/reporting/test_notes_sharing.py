"""Every table that compares rows whose scores follow from one another says so at these rows, and at no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.results import Results, load
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish
from refers_bench.render.table import Table
from refers_bench.reporting import notes
from refers_bench.reports import (
    cells,
    claims,
    class_tests,
    classes,
    figure_auc,
    figure_forest,
    figure_roc,
    references,
    significance,
    table1,
    test_images,
)

LABELS = (np.arange(120)[:, None] % np.array([3, 4]) == 0).astype(np.int8)
SHARED = (
    "Model Genesis and TransVW share scores in this column (positive images: identical): see the table of integrity."
)


def run(method: str, label: str, seed: int, scores: Any) -> ImportedRun:
    return ImportedRun(
        method=method, label=label, dataset="vinbigdata_cxr", task="findings", label_ratio=1.0, seed=seed,
        classes=("a", "b"), image_ids=tuple(f"i{n:03d}" for n in range(120)), patient_ids=("",) * 120,
        labels_NK=LABELS, scores_NK=scores.astype(np.float32),
    )  # fmt: skip


@pytest.fixture
def runs() -> list[ImportedRun]:
    """Three rows of three seeds; two of them have the same scores of the positive images."""
    rng, found = np.random.default_rng(0), []
    for seed in range(3):
        one, other, refers = rng.normal(size=(3, 120, 2)) + LABELS * np.array([1.0, 1.0, 2.0])[:, None, None]
        shared = np.where(LABELS == 1, one, other)
        for (method, label), scores in zip(
            (("refers", "REFERS"), ("model_genesis", "Model Genesis"), ("transvw", "TransVW")),
            (refers, one, shared),
            strict=True,
        ):
            found.append(run(method, label, seed, scores))
    return found


@pytest.fixture
def results(runs: list[ImportedRun], tmp_path: Path) -> Results:
    publish(runs, results=tmp_path, name="x", title="", origin="imported", command="c", tables=("table1",))
    return load(tmp_path, "x")


def notes_of(table: Table | list[Table] | None) -> set[str]:
    tables: Iterable[Table | None] = table if isinstance(table, list) else [table]
    return {note.text for one in tables if one is not None for note in one.footnotes()}


@pytest.mark.parametrize("report", [classes, references, significance, class_tests, test_images])
def test_every_table_with_the_rows_has_the_footnote(results: Results, report: Any) -> None:
    assert SHARED in notes_of(report.build(results))


@pytest.mark.parametrize("report", [table1, cells])
def test_tables_of_many_columns_have_one_footnote_for_all(results: Results, report: Any) -> None:
    found = [text for text in notes_of(report.build(results)) if "share" in text]
    assert found == [notes.SHARED.text]


@pytest.mark.parametrize("report", [figure_auc, figure_forest, figure_roc])
def test_every_figure_that_compares_the_rows_says_it_in_its_note(results: Results, report: Any) -> None:
    built = report.build(results)
    noted = [item.note for item in (built if isinstance(built, list) else [built])]
    where = "Model Genesis and TransVW on vinbigdata_cxr: findings, 100 % of labels"
    assert noted and all(f"Rows that share scores (see the table of integrity): {where}." in note for note in noted)


def test_claims_say_which_rows_share_scores(results: Results) -> None:
    table = claims.build(results)
    assert table is not None and any("Model Genesis and TransVW on vinbigdata_cxr" in note for note in table.notes)


def test_only_the_rows_that_share_are_marked(results: Results) -> None:
    table = cells.build(results)
    marked = {row.title for row in table.rows for cell in row.cells if notes.SHARED in cell.notes}
    assert marked == {"Model Genesis", "TransVW"}


def test_released_rows_beside_ours_are_marked(runs: list[ImportedRun], tmp_path: Path) -> None:
    """The release shares scores, our own rows do not."""
    publish(runs[:3], results=tmp_path, name="refers-release", title="", origin="released", command="c")
    rng = np.random.default_rng(1)
    own = [run(one.method, one.label, one.seed, rng.normal(size=LABELS.shape) + LABELS) for one in runs]
    publish(own, results=tmp_path, name="x", title="", origin="imported", command="c", tables=("table1",))
    table = table1.build(load(tmp_path, "x"))
    assert table is not None
    marked = {row.title for row in table.rows for cell in row.cells if notes.SHARED in cell.notes}
    assert marked == {"Model Genesis (released files)", "TransVW (released files)"}
    beside = references.build(load(tmp_path, "x"))
    assert beside is not None
    marked = {row.title for row in beside.rows for cell in row.cells if any(note.text == SHARED for note in cell.notes)}
    assert {title.partition(",")[0] for title in marked} == {"Model Genesis", "TransVW"}


def test_seeds_of_one_row_that_share_scores_are_no_comparison_of_rows(runs: list[ImportedRun], tmp_path: Path) -> None:
    same = [run(one.method, one.label, one.seed, runs[0].scores_NK) for one in runs if one.method == "refers"]
    publish(same, results=tmp_path, name="x", title="", origin="imported", command="c")
    assert not any("share scores" in text for text in notes_of(cells.build(load(tmp_path, "x"))))
