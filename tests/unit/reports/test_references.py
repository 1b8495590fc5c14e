"""Figures beside the published ones, cell by cell: differences, prediction intervals, P-values and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.results import load
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish
from refers_bench.render.table import NO_VALUE
from refers_bench.reporting import summary
from refers_bench.reports import references

COLUMNS = [
    "published",
    "released files",
    "measured here",
    "n",
    "released minus published",
    "ours minus published",
    "95 % prediction",
    "P",
    "verdict",
    "power at 1 point",
    "detectable",
]


def test_every_cell_of_rows_with_two_seeds_one_and_none(folder: Any) -> None:
    """Published for viral against bacterial: REFERS 80.4, C2L 73.0, ImageNet 71.9."""
    folder.seeds("refers", [0.80, 0.82])
    folder.cell("c2l", seed=0, aucs={"normal": 0.78, "opacity": 0.7})
    folder.cell("c2l", seed=1, state="failed")
    folder.cell("imagenet", state="missing")
    folder.seeds("mine", [0.9, 0.91])
    table = references.build(folder.load())
    assert table is not None and [column.title for column in table.columns] == COLUMNS
    where = "covid19_idc: viral_vs_bacterial, 100 % of labels"
    rows = {row.title: row for row in table.rows}
    assert list(rows) == [
        f"REFERS, {where} (Table 1)",
        f"C2L, {where} (Table 1)",
        f"ImageNet pre-training, {where} (Table 1)",
    ]
    ours, some, none = rows.values()
    # The difference of 0.6 points over s = 1.414 times the root of 1/2 + 1/3, one degree of freedom.
    error = math.sqrt(2) * math.sqrt(1 / 2 + 1 / 3)
    half, p = stats.t.ppf(0.975, 1) * error, 2 * stats.t.sf(0.6 / error, 1)
    shift = 1 / error
    power = stats.nct.sf(stats.t.ppf(0.975, 1), 1, shift) + stats.nct.cdf(-stats.t.ppf(0.975, 1), 1, shift)
    assert [cell.figure for cell in ours.cells][:10] == [
        "80.4",
        NO_VALUE,
        "81.00",
        "2",
        NO_VALUE,
        "+0.60",
        f"\N{PLUS-MINUS SIGN} {half:.2f}",
        f"{p:.3f}",
        "consistent",
        f"{power:.2f}",
    ]
    assert ours.cells[2].spread == "1.41" and ours.cells[2].n == (2,)
    assert (ours.cells[7].value, ours.cells[7].n, ours.cells[7].df) == (pytest.approx(p), (2, 3), 1)
    assert "n = 2 seeds and 3 published ones, df = 1." in ours.cells[7].notes[0].text
    assert [cell.figure for cell in some.cells] == [
        "73.0",
        NO_VALUE,
        "74.00",
        "1 of 2",
        NO_VALUE,
        "+1.00",
        *[NO_VALUE] * 5,
    ]
    assert some.cells[2].spread == "" and (some.cells[3].value, some.cells[3].n) == (1, (2,))
    assert some.cells[7].notes[0].text == "no P-value: only 1 of 2 seeds are there."
    assert [cell.figure for cell in none.cells][1:] == [NO_VALUE] * 10
    assert none.cells[7].notes[0].text == "no P-value: not run yet."


def test_figures_of_every_table_stand_in_the_order_of_the_paper(folder: Any) -> None:
    """Table 2 comes after the P-values of Table 1, and prints REFERS' figure again."""
    nih = {"dataset": "nih_chestxray14", "task": "findings", "ratio": 0.01}
    for method in ("refers", "lsp_transformer"):
        folder.seeds(method, [0.75, 0.76], **nih)
    folder.seeds("lsp_transformer", [0.75, 0.76])
    table = references.build(folder.load())
    assert table is not None
    found = [(row.title.partition(",")[0], row.title[-9:]) for row in table.rows]
    assert found[:3] == [
        ("REFERS", "(Table 1)"),
        ("LSP (Transformer)", "(Table 2)"),
        ("LSP (Transformer)", "(Table 2)"),
    ]


def test_what_cannot_be_the_papers_figure_is_not_tested(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82], synthetic=True)
    for seed in (0, 1):
        folder.cell("c2l", seed=seed, aucs={"normal": 0.7 + seed / 10, "opacity": None}, synthetic=True)
        folder.cell(
            "refers", seed=seed, aucs={"a": 0.7 + seed / 10, "b": None}, dataset="shenzhen_tb", task="tuberculosis"
        )
    table = references.build(folder.load())
    assert table is not None and table.caption.startswith("Three columns for each figure")
    reasons = {row.title.split(" (")[0].split(", 1")[0]: row.cells[7].notes[0].text for row in table.rows}
    assert reasons == {
        "REFERS, shenzhen_tb: tuberculosis": "no P-value: mean over 1 of 2 classes."
    }  # and no row beside synthetic data
    assert not any(row.notes for row in table.rows)


def test_a_figure_outside_the_prediction_differs(folder: Any) -> None:
    folder.seeds("refers", [0.810, 0.811, 0.812])
    table = references.build(folder.load())
    assert table is not None
    (row,) = table.rows
    # 0.7 points are more than 4.303 * 0.1 * sqrt(2 / 3) = 0.35.
    assert [cell.figure for cell in row.cells][5:9] == ["+0.70", "\N{PLUS-MINUS SIGN} 0.35", "0.013", "differs"]
    # The difference that is found four times of five.
    error, bound, detected = 0.1 * math.sqrt(2 / 3), stats.t.ppf(0.975, 2), row.cells[10].value or math.nan
    powers = [
        stats.nct.sf(bound, 2, part * detected / error) + stats.nct.cdf(-bound, 2, part * detected / error)
        for part in (0.995, 1.005)
    ]
    assert powers[0] < 0.8 < powers[1]


def test_without_a_figure_of_the_paper_there_is_no_table(folder: Any) -> None:
    folder.cell("mine")
    folder.cell("refers", dataset="phantom")
    assert references.build(folder.load()) is None


def test_a_figure_that_two_tables_print_stands_once_beside_the_released_files(folder: Any) -> None:
    """Tables 1 and 2 print REFERS' figure; the manifest has no such row, the release has."""
    labels = np.arange(40)[:, None] % 2
    scores = (labels + np.arange(40)[:, None] / 39).astype(np.float32)
    run = ImportedRun(
        method="refers",
        label="REFERS",
        dataset="covid19_idc",
        task="viral_vs_bacterial",
        label_ratio=1.0,
        seed=0,
        classes=("Viral",),
        image_ids=tuple(f"i{n}" for n in range(40)),
        patient_ids=("",) * 40,
        labels_NK=labels.astype(np.int8),
        scores_NK=scores,
    )
    publish([run], results=folder.results, name="refers-release", title="", origin="released", command="c")
    folder.seeds("c2l", [0.73, 0.75])
    table = references.build(folder.load())
    assert table is not None
    where = "covid19_idc: viral_vs_bacterial, 100 % of labels (Table 1)"
    assert [row.title for row in table.rows] == [f"REFERS, {where}", f"C2L, {where}"]
    # All positive images are above all negative ones: 100.
    assert [cell.figure for cell in table.rows[0].cells][:6] == [
        "80.4",
        "100.00",
        NO_VALUE,
        NO_VALUE,
        "+19.60",
        NO_VALUE,
    ]
    assert table.rows[0].cells[7].notes[0].text == "no P-value: not run here."
    assert [cell.figure for cell in table.rows[1].cells][:4] == ["73.0", NO_VALUE, "74.00", "2"]


def test_how_far_a_release_is_from_the_published_figures_counts_both_ways(folder: Any) -> None:
    """Published 80.4 and 73.0; all pairs right are 100, all wrong are 0: both are more than a point away."""
    labels = np.arange(40)[:, None] % 2
    runs = [
        ImportedRun(
            method=method, label=method, dataset="covid19_idc", task="viral_vs_bacterial", label_ratio=1.0, seed=0,
            classes=("Viral",), image_ids=tuple(f"i{n}" for n in range(40)), patient_ids=("",) * 40,
            labels_NK=labels.astype(np.int8), scores_NK=(sign * labels + np.arange(40)[:, None] / 99).astype(np.float32),
        )
        for method, sign in (("refers", 1), ("c2l", -1))
    ]  # fmt: skip
    publish(runs, results=folder.results, name="refers-release", title="", origin="released", command="c")
    assert list(summary._released(load(folder.results, "refers-release"))) == [
        "Of the 2 mean AUCs of the released files, 2 differ from the published ones by more than 0.1 point, "
        "2 by more than 1 point."
    ]
