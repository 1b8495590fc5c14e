"""The table of operating points shows the figures of the stored predictions, or why there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.operating_points import AUPRC, ECE, operating_points
from refers_bench.render.table import NO_VALUE
from refers_bench.reporting import provenance
from refers_bench.reports import operating

LABELS = (np.random.default_rng(5).random((80, 2)) < 0.4).astype(int)


def predict(
    folder: Any, method: str, *, kind: str = "finetune", seed: int = 0, strength: float = 1.0, **spec: Any
) -> None:
    """A finished run with predictions of 40 patients."""
    scores = LABELS * strength + np.random.default_rng([seed, len(method)]).normal(size=LABELS.shape)
    key = folder.cell(method, seed=seed, label=method.upper())
    folder.lock["jobs"][-1]["spec"] |= {"kind": kind, **spec}
    folder.predict(key, LABELS, scores)


def test_rows_show_figures_with_intervals_or_why_there_are_none(folder: Any) -> None:
    predict(folder, "refers")
    predict(folder, "votes", kind="frozen", evaluation="knn")
    folder.cell("gone", state="missing")
    results = folder.load()
    (table,) = operating.build(results)
    where = "covid19_idc: viral_vs_bacterial, 100 % of labels"
    assert [row.title for row in table.rows] == [f"{where}: REFERS", f"{where}: VOTES"]
    first, second = (dict(zip([one.title for one in table.columns], row.cells, strict=True)) for row in table.rows)
    found = operating_points(results, results.targets[0]).rows["refers"].figures
    assert first["AUPRC"].value == pytest.approx(100 * found[AUPRC].estimate)
    assert first["prevalence"].value == pytest.approx(100 * LABELS.mean())
    (_, interval), (_, error) = [
        (cell, table.rows[0].cells[place + 1])
        for place, cell in enumerate(table.rows[0].cells)
        if cell is first["AUPRC"] or cell is first["calibration error"]
    ]
    assert interval.figure == f"{100 * found[AUPRC].low:.2f} to {100 * found[AUPRC].high:.2f}" and interval.n == (40,)
    assert error.notes[0].text == "no interval: a calibration error needs 200 units, there are 40."
    assert first["calibration error"].value == pytest.approx(100 * found[ECE].estimate)
    for name in ("calibration error", "Brier score"):
        assert second[name].figure == NO_VALUE and "shares of votes" in second[name].notes[0].text
    assert any("draws of patients with all their images" in note for note in table.notes)


def test_the_best_row_stands_first_with_how_sure_it_is(folder: Any) -> None:
    for seed in range(3):
        predict(folder, "weak", seed=seed, strength=0.2)
        predict(folder, "strong", seed=seed, strength=2.0)
    results = folder.load()
    _, table = operating.build(results)
    best = operating_points(results, results.targets[0]).best
    assert best is not None and best.found.row == "strong" and best.n_units == 40
    assert [row.title.rpartition(": ")[2] for row in table.rows] == ["STRONG", "WEAK"]
    first, second = (row.cells for row in table.rows)
    assert first[0].value == pytest.approx(100 * (1 - best.found.p)) and first[0].value > 95
    assert (first[1].figure, first[3].figure) == (NO_VALUE, "best row")
    over = best.over["weak"]
    assert second[1].value == pytest.approx(100 * over.p) and second[3].figure == "beaten, meaningfully"
    assert (second[2].low, second[2].high, second[2].n) == (100 * over.low, 100 * over.high, (3, 40))


def test_behind_the_bold_figure_stands_how_likely_it_is_false(folder: Any) -> None:
    for seed in range(3):
        predict(folder, "refers", seed=seed, strength=1.5)
        predict(folder, "c2l", seed=seed, strength=1.2)
    results = folder.load()
    (target,) = results.targets
    best = operating_points(results, target).best
    assert best is not None and best.found.row == "refers"
    refers, other = (dict(detail.facts) for detail in provenance.details(results))
    wrong = 100 * (1 - best.found.best["refers"])
    assert refers["probability that another row is truly the best"] == f"{wrong:.1f} %"
    assert other["probability to be the best row"] == f"{wrong:.1f} %"
    assert refers["P(a run beats one of C2L)"].startswith(f"{100 * best.over['c2l'].p:.1f} % (")
    assert "P(a run beats one of REFERS)" not in other


def test_without_predictions_there_is_no_table(folder: Any) -> None:
    folder.cell("refers")
    assert operating.build(folder.load()) == []
