"""The tables over test images: intervals, differences and corrected P-values are SciPy's where it has them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.statistics.seeds import DEPENDENT
from refers_bench.render import html
from refers_bench.render.page import Page, Section
from refers_bench.render.table import DAGGER, NO_VALUE
from refers_bench.reporting import provenance
from refers_bench.reports import classes, figure_forest, test_images

CLASSES = ("normal", "opacity")
LABELS = (np.random.default_rng(5).random((80, 2)) < 0.4).astype(int)


def predict(
    folder: Any, method: str, strength: float, *, seed: int = 0, patients: bool = False, **more: Any
) -> np.ndarray:
    """A finished run with predictions; its AUCs."""
    rng = np.random.default_rng([seed, *method.encode()])
    scores = (LABELS * strength + rng.normal(size=LABELS.shape)).astype(np.float32)
    aucs = [float(roc_auc_score(LABELS[:, k], scores[:, k])) for k in (0, 1)]
    key = folder.cell(method, seed=seed, aucs=dict(zip(CLASSES, aucs, strict=True)), label=method.upper(), **more)
    folder.predict(key, LABELS, scores, of_a_patient=2 if patients else 0)
    return np.array(aucs)


def test_rows_of_intervals_and_tests(folder: Any) -> None:
    ours = (predict(folder, "refers", 1.6) + predict(folder, "refers", 1.6, seed=1)) / 2
    first, second = predict(folder, "c2l", 1.5), predict(folder, "transvw", 0.6)
    folder.cell("gone", state="missing")
    results = folder.load()
    intervals, tests = test_images.build(results)
    found = image_statistics(results, results.targets[0])
    assert found is not None
    where = "covid19_idc: viral_vs_bacterial, 100 % of labels"
    assert [row.title for row in intervals.rows] == [f"{where}: {name}" for name in ("REFERS", "C2L", "TRANSVW")]
    for row, method, aucs in zip(intervals.rows, ("refers", "c2l", "transvw"), (ours, first, second), strict=True):
        mean, low, joint, difference, range_, units = row.cells
        assert mean.figure == f"{100 * aucs.mean():.2f}" and units.figure == "80 images"
        interval = found.means[method]
        assert low.figure == f"{100 * interval.low:.2f} to {100 * interval.high:.2f}" and low.n == (80,)
        assert interval.low < aucs.mean() < interval.high
        few = f"no interval: over seeds too it needs 3 of them, has {2 if method == 'refers' else 1}."
        assert (joint.figure, joint.notes[0].text) == (NO_VALUE, few)
        if method == "refers":
            assert difference.figure == range_.figure == NO_VALUE
            continue
        expected = 100 * (ours.mean() - aucs.mean())
        assert difference.figure == f"{expected:+.2f}"
        assert range_.low is not None and range_.high is not None and range_.low < expected < range_.high
        assert range_.figure == f"{range_.low:+.2f} to {range_.high:+.2f}"
    notes = " ".join(intervals.notes)
    assert (
        "The predictions do not say whose the images are: several images of one patient count as independent." in notes
    )

    assert tests.caption == f"REFERS minus each method, class by class, {where}: difference of AUC in points, and P."
    assert [(column.group, column.title) for column in tests.columns] == [
        ("test images", "positive"),
        ("test images", "negative"),
        ("C2L", "difference"),
        ("C2L", "P, Holm"),
        ("TRANSVW", "difference"),
        ("TRANSVW", "P, Holm"),
    ]
    p = []
    for k, row in enumerate(tests.rows):
        positive = int(LABELS[:, k].sum())
        assert (row.title, row.cells[0].figure, row.cells[1].figure) == (CLASSES[k], str(positive), str(80 - positive))
        for place, aucs in ((2, first), (4, second)):
            difference, cell = row.cells[place], row.cells[place + 1]
            assert difference.figure == f"{100 * (ours[k] - aucs[k]):+.1f}"
            assert difference.low is not None and difference.high is not None
            assert difference.low < 100 * (ours[k] - aucs[k]) < difference.high
            assert cell.n == (positive, 80 - positive)
            p.append((cell.unadjusted, cell.value, [note.mark for note in cell.notes], cell.title))
    adjusted = multipletests([one[0] for one in p], method="holm")[1]
    assert [one[1] for one in p] == pytest.approx(adjusted)
    assert [one[2] for one in p] == [[DAGGER] if value < 0.05 else [] for value in adjusted]
    assert any(unadjusted < 0.05 <= value for (unadjusted, *_), value in zip(p, adjusted, strict=True))
    assert all(re.match(r"unadjusted: [\d.e-]+, DeLong's test", one[3]) for one in p)
    assert "tests of this table that were made: 4." in " ".join(tests.notes)

    figure = figure_forest.build(results)
    assert figure is not None
    (panel,) = figure.panels
    assert panel.y_names == ("C2L", "TRANSVW") and panel.guide == 0 and panel.title == where
    assert [series.y for series in panel.series] == [(0,), (1,)] and panel.sides[1] == "favours REFERS"
    expected = [100 * (ours.mean() - aucs.mean()) for aucs in (first, second)]
    assert [series.x[0] for series in panel.series] == pytest.approx(expected)
    place = [column.title for column in intervals.columns].index("95 % interval of it")
    for series, row in zip(panel.series, intervals.rows[1:], strict=True):
        assert (*series.low, *series.high) == (row.cells[place].low, row.cells[place].high)


def test_three_seeds_have_an_interval_over_seeds_and_test_images(folder: Any) -> None:
    aucs = [predict(folder, "refers", 1.5, seed=seed, patients=True) for seed in range(3)]
    results = folder.load()
    (table,) = test_images.build(results)
    mean, images, both, *_ = table.rows[0].cells
    assert mean.value == pytest.approx(100 * np.mean(aucs)) and both.n == (3, 40) and both.df is not None
    assert images.low is not None and images.high is not None and both.low is not None and both.high is not None
    assert both.low < images.low < mean.value < images.high < both.high
    assert both.figure == f"{both.low:.2f} to {both.high:.2f}" and "variance over patients" in both.test
    facts = dict(provenance.details(results)[0].facts)
    assert facts["95 % interval over seeds and test patients"].startswith(f"{both.figure} (variance over patients")

    (shown,) = classes.build(results)
    found = image_statistics(results, results.targets[0])
    assert found is not None
    for row, name in zip(shown.rows, CLASSES, strict=True):
        cell, interval = row.cells[2], found.class_means["refers"][name]
        assert (cell.low, cell.high, cell.df) == (100 * interval.low, 100 * interval.high, interval.df)
        assert cell.value == 100 * interval.estimate and cell.n == (3,)
        assert cell.ends == f"{cell.low:.1f} to {cell.high:.1f}"
    page = Page(title="t", sections=(Section(id="s", title="s", items=(shown,)),))
    assert f"<br><small>{shown.rows[0].cells[2].ends}</small></td>" in html.page(page)


def test_a_class_interval_of_other_seeds_is_not_shown(folder: Any) -> None:
    """One of two seeds has no stored predictions: the mean of both has no interval over test images."""
    predict(folder, "refers", 1.5)
    folder.cell("refers", seed=1, aucs=dict.fromkeys(CLASSES, 0.7), label="REFERS")
    (shown,) = classes.build(folder.load())
    assert all(row.cells[2].value is not None and row.cells[2].low is None for row in shown.rows)


def test_patients_are_named_where_they_are_known_and_some_seeds_are_marked(folder: Any) -> None:
    predict(folder, "refers", 2.0, patients=True, synthetic=True)
    folder.cell("refers", seed=1, state="failed", label="REFERS", synthetic=True)
    predict(folder, "c2l", 1.0, patients=True, synthetic=True)
    (intervals,) = test_images.build(folder.load())
    assert intervals.caption.startswith("Synthetic data. Mean class AUC in per cent")
    first, second = intervals.rows
    assert [row.cells[5].figure for row in intervals.rows] == ["40 patients"] * 2
    assert first.cells[0].tag == "n=1/2" and first.cells[0].notes[0].text.startswith("n=1/2: incomplete (failed: nan)")
    # A row without all its seeds is no reference.
    assert second.cells[3].figure == second.cells[4].figure == NO_VALUE and second.cells[0].tag == ""
    assert "whose the images are" not in " ".join(intervals.notes)


def test_without_predictions_there_is_no_table(folder: Any) -> None:
    folder.cell("refers")
    assert test_images.build(folder.load()) == [] and figure_forest.build(folder.load()) is None


def test_crossed_seeds_have_no_interval_over_seeds_and_images(folder: Any) -> None:
    """Three runs are enough where they are independent; two label subsets x two initialisations share their draws."""
    for seed in range(4):
        predict(folder, "refers", 1.6, seed=seed)
        predict(folder, "c2l", 1.2, seed=seed, crossed=(seed // 2, seed % 2, 0))
    (alone, shared) = test_images.build(folder.load())[0].rows
    assert alone.cells[2].low is not None
    assert shared.cells[2].low is None and DEPENDENT in shared.cells[2].notes[0].text
