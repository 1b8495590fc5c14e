"""ROC curves: false positive rates to the right, sensitivities upwards, equal to scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from refers_bench.analysis import roc_curves
from refers_bench.render.figure import Series
from refers_bench.reports import figure_roc


def predict(folder: Any, key: str, scores: dict[str, list[float]], labels: dict[str, list[int | None]]) -> None:
    by_image = (list(zip(*(values[name] for name in scores), strict=True)) for values in (labels, scores))
    folder.predict(key, *by_image, classes=tuple(scores), of_a_patient=0)


def by_sklearn(labels: list[int], scores: list[float]) -> np.ndarray:
    """Sensitivity at 0 %, 1 %, ... 100 % false positives, by straight lines; the highest where the rate is 0."""
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    rate = np.linspace(0, 1, 101)
    found = np.interp(rate, false, true)
    found[0] = true[false == 0].max()
    return found


def test_a_case_by_hand_lies_above_the_diagonal(folder: Any) -> None:
    """Two positive and four negative images; the scores rank them + - + - - -."""
    for made in (False, True):
        key = folder.cell("refers", aucs={"normal": 7 / 8}, ratio=0.1 if made else 1.0, synthetic=made)
        predict(folder, key, {"normal": [9, 8, 7, 6, 5, 4]}, {"normal": [1, 0, 1, 0, 0, 0]})
    figure = figure_roc.build(folder.load())
    assert figure is not None and figure.caption.startswith("Partly synthetic data. ROC curves")
    panel, synthetic = sorted(figure.panels, key=lambda panel: len(panel.title))
    assert synthetic.title == "covid19_idc: viral_vs_bacterial, 10 % of labels (synthetic)"
    (series,) = panel.series
    assert (panel.x_label, panel.y_label, panel.diagonal) == ("false positive rate", "sensitivity", True)
    assert panel.title == "covid19_idc: viral_vs_bacterial, 100 % of labels" and series.label == "refers"
    at = dict(zip((round(x, 2) for x in series.x), series.y, strict=True))
    assert len(at) == 101 and (series.x[0], series.x[-1]) == (0, 1)
    # Half of the positive images before the first false positive, all of them after it.
    assert (at[0.0], at[0.1], at[0.24]) == (0.5, 0.5, 0.5) and (at[0.26], at[0.5], at[1.0]) == (1, 1, 1)
    assert np.trapezoid(series.y, series.x) == pytest.approx(7 / 8, abs=0.01)


@pytest.mark.parametrize("ties", [False, True])
def test_sensitivities_are_those_of_sklearn(ties: bool) -> None:
    rng = np.random.default_rng(int(ties))
    rate = np.linspace(0, 1, 101)
    for _ in range(20):
        labels = rng.integers(0, 2, 60)
        labels[:2] = 0, 1
        scores = (labels + rng.normal(0, 1, 60)).round(0 if ties else 6).astype(np.float32)
        found = roc_curves.sensitivity(labels.astype(np.int8), scores, rate)
        assert found is not None
        np.testing.assert_allclose(found, by_sklearn(labels.tolist(), scores.tolist()), atol=1e-9)
        # Images whose label is not known do not count.
        more = roc_curves.sensitivity(
            np.append(labels, [-1, -1]).astype(np.int8), np.append(scores, [99, -99]).astype(np.float32), rate
        )
        assert more is not None and np.array_equal(more, found)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [1, -1, -1], [-1, -1, -1]])
def test_a_class_of_one_kind_has_no_curve(labels: list[int]) -> None:
    scores = np.array([0.1, 0.2, 0.3], np.float32)
    assert roc_curves.sensitivity(np.array(labels, np.int8), scores, np.linspace(0, 1, 5)) is None


def test_a_score_that_is_no_number_has_no_curve_unless_its_label_is_unknown() -> None:
    scores, rate = np.array([0.1, np.nan, 0.3], np.float32), np.linspace(0, 1, 5)
    assert roc_curves.sensitivity(np.array([0, 1, 1], np.int8), scores, rate) is None
    found = roc_curves.sensitivity(np.array([0, -1, 1], np.int8), scores, rate)
    assert found is not None and found.tolist() == [1] * 5


def test_curves_are_means_over_classes_and_seeds_in_the_colours_of_the_rows(folder: Any) -> None:
    rng = np.random.default_rng(3)
    labels = {"normal": rng.integers(0, 2, 50).tolist(), "opacity": rng.integers(0, 2, 50).tolist(), "none": [0] * 50}
    expected: dict[str, list[np.ndarray]] = {"refers": [], "c2l": []}
    # The row in the middle has no predictions: it has no curve, and the others keep their colours.
    for method, seeds in (("refers", 2), ("imagenet", 1), ("c2l", 1)):
        for seed in range(seeds):
            scores = {
                name: (np.array(known) + rng.normal(0, 1, 50)).round(3).tolist() for name, known in labels.items()
            }
            aucs = {name: float(roc_auc_score(labels[name], scores[name])) for name in ("normal", "opacity")}
            key = folder.cell(method, seed=seed, aucs={**aucs, "none": None}, label=method.upper())
            if method in expected:
                predict(folder, key, scores, labels)
                expected[method] += [by_sklearn(labels[name], scores[name]) for name in ("normal", "opacity")]
    figure = figure_roc.build(folder.load())
    assert figure is not None
    drawn: tuple[Series, ...] = figure.panels[0].series
    assert [(series.label, series.colour) for series in drawn] == [("REFERS", 0), ("C2L", 2)]
    for series, curves in zip(drawn, expected.values(), strict=True):
        np.testing.assert_allclose(series.y, np.mean(curves, axis=0), atol=1e-6)
    assert figure.caption == ("ROC curves, mean over classes and seeds of the sensitivity at 101 false positive rates.")
    assert figure.note == (
        "Not from all seeds or classes: REFERS, covid19_idc: viral_vs_bacterial, 100 % of labels (2/3 classes); IMAGENET, covid19_idc: "
        "viral_vs_bacterial, 100 % of labels (2/3 classes); C2L, covid19_idc: viral_vs_bacterial, 100 % of labels (2/3 "
        "classes)."
    )


def test_without_predictions_there_is_no_figure(folder: Any) -> None:
    folder.cell("refers")
    assert figure_roc.build(folder.load()) is None
