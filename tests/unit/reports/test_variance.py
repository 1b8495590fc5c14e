"""The table of variance by source shows the parts of crossed seeds with their intervals, or why there are none."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import DEPENDENT
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.analysis.variance_sources import design, variance_sources
from refers_bench.render.table import NO_VALUE, Cell, Table
from refers_bench.reporting import comparisons, provenance
from refers_bench.reports import class_tests, significance, variance

LABELS = (np.random.default_rng(5).random((80, 2)) < 0.4).astype(int)
SHARED = np.random.default_rng(6).normal(size=LABELS.shape)


def runs(folder: Any, method: str, levels: tuple[int, int, int], *, predicted: bool = True, **more: Any) -> list[str]:
    """Finished runs of crossed seeds, whose label subset moves the AUC most; of 40 patients."""
    keys = []
    for seed, crossed in enumerate(product(*map(range, levels))):
        rng = np.random.default_rng([seed, len(method)])
        auc = 0.8 + 0.02 * crossed[0] + 0.002 * crossed[1] + 0.001 * rng.normal()
        keys.append(folder.cell(method, seed=seed, crossed=crossed, aucs={"normal": auc, "opacity": auc}, **more))
        if predicted:
            scores = LABELS + SHARED + 0.1 * rng.normal(size=LABELS.shape)
            folder.predict(keys[-1], LABELS, scores)
    return keys


def table(results: Results) -> Table:
    found = variance.build(results)
    assert found is not None
    return found


def shown(found: Table, row: int) -> dict[tuple[str, str], Cell]:
    return {(one.group, one.title): cell for one, cell in zip(found.columns, found.rows[row].cells, strict=True)}


def test_a_row_has_the_parts_with_their_intervals(folder: Any) -> None:
    runs(folder, "refers", (4, 3, 1), label="<b>RE&FERS</b>")
    results = folder.load()
    (parts,) = variance_sources(results, results.targets[0]).rows.values()
    found = table(results)
    cells = shown(found, 0)
    sd, share = cells["label subset", "SD"], cells["label subset", "share"]
    own = parts.parts["subset"]
    assert (sd.value, sd.low, sd.high, sd.df) == pytest.approx(
        (100 * own.variance**0.5, 100 * own.low**0.5, 100 * own.high**0.5, 3)
    )
    assert sd.value == pytest.approx(100 * np.std([0.8, 0.82, 0.84, 0.86], ddof=1), rel=0.1)
    assert sd.figure == f"{sd.value:.2f} ({sd.low:.2f} to {sd.high:.2f})"
    assert share.figure == f"{100 * own.share:.0f} ({100 * own.share_low:.0f} to {100 * own.share_high:.0f})"
    assert cells["data order", "SD"].figure == NO_VALUE
    assert cells["data order", "SD"].notes[0].text == "no part: not varied."
    assert cells["", "mean"].value == pytest.approx(100 * np.mean([one.run.mean_auc for one in results.planned]))
    assert cells["", "mean"].n == (12,)
    test = cells["test sample", "SD"]
    assert test.value is not None and 2 < test.value < 10
    assert cells["", "largest source"].figure == "test sample"
    assert found.caption.endswith("Of 1 rows, the largest source is the test sample in 1.")
    assert any("drawing test patients anew" in note for note in found.notes)
    assert "<b>RE&FERS</b>" in found.rows[0].title, "names are escaped where they are written"


def test_the_parts_are_read_back_where_they_were_computed(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(folder, "refers", (2, 2, 2))
    first = table(folder.load())
    monkeypatch.setattr("refers_bench.analysis.variance_sources.variance_components", None)
    assert table(folder.load()) == first


def test_runs_without_predictions_have_no_part_of_the_test_sample(folder: Any) -> None:
    runs(folder, "refers", (3, 2, 2), predicted=False)
    cells = shown(table(folder.load()), 0)
    assert cells["test sample", "SD"].notes[0].text == "no part: 0 of 12 runs have stored predictions."
    assert cells["", "largest source"].figure == "label subset"
    assert cells["data order", "SD"].value is not None and cells["interactions", "share"].value is not None


def test_why_there_is_no_row(folder: Any) -> None:
    runs(folder, "refers", (2, 2, 1), predicted=False)
    folder.cell("part", seed=0, crossed=(0, 0, 0))
    folder.cell("part", seed=1, crossed=(0, 1, 0), state="missing")
    folder.cell("one", seed=0, crossed=(0, 0, 0))
    for seed in range(2):
        folder.cell("equal", seed=seed, crossed=(seed, 0, 0))
    for seed, crossed in enumerate([(0, 0, 0), (0, 1, 0), (1, 0, 0)]):
        folder.cell("hole", seed=seed, crossed=crossed)
    found = table(folder.load())
    reasons = [row.cells[0].notes[0].text for row in found.rows if row.cells[0].notes]
    assert reasons == [
        "no figure: only 1 of 2 runs are there.",
        "no figure: a single run.",
        "no figure: zero variance over seeds.",
        "no figure: not every combination of seeds is there once.",
    ]


def test_without_crossed_seeds_there_is_no_table(folder: Any) -> None:
    folder.seeds("refers", [0.7, 0.8])
    assert variance.build(folder.load()) is None


def test_runs_that_share_one_result_are_one_run(folder: Any) -> None:
    """A linear probe draws the label subset alone."""
    for subset in range(3):
        folder.cell(seed=2 * subset, crossed=(subset, 0, 0), aucs={"normal": 0.7 + 0.1 * subset, "opacity": 0.7})
        folder.lock["cells"].append({**folder.lock["cells"][-1], "seed": 2 * subset + 1, "crossed": [subset, 1, 0]})
    results = folder.load()
    assert design(results.runs("refers", results.targets[0])).shape == (3, 1, 1)
    (row,) = variance_sources(results, results.targets[0]).rows.values()
    assert row.parts["subset"].variance == pytest.approx(0.05**2)
    assert row.refusals["init"] == "not varied"


def test_crossed_runs_are_not_tested_as_if_they_were_independent(folder: Any) -> None:
    for method in ("refers", "other"):
        runs(folder, method, (2, 2, 1), predicted=False)
    results = folder.load()
    (test,) = comparisons.against_best(results)
    assert test.outcome == Refusal(reason=DEPENDENT)
    assert significance.build(results) is None and class_tests.build(results) == []
    facts = dict(provenance.details(results)[0].facts)
    assert "95 % interval over seeds" not in facts
    assert "seed 3 (label subset 1, initialisation 1, data order 0)" in facts


def test_tidy_rows_say_which_combination_a_seed_is(folder: Any) -> None:
    runs(folder, "refers", (2, 1, 2), predicted=False)
    folder.cell("imported", seed=0)
    results = folder.load()
    rows = list(results.cell_rows())
    assert [(row["seed"], row["subset_seed"], row["init_seed"], row["order_seed"]) for row in rows] == [
        (0, 0, 0, 0), (1, 0, 0, 1), (2, 1, 0, 0), (3, 1, 0, 1), (0, None, None, None),
    ]  # fmt: skip
    assert list(results.metrics_frame()["order_seed"].dropna()) == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
