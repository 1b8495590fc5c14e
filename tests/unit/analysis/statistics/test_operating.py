"""Average precision and sensitivity are scikit-learn's, also under weights and ties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from refers_bench.analysis.statistics.operating import ranked

ONE = np.ones((1, 4))


def sensitivity(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    return float(true[false <= 0.1 + 1e-9].max())


@pytest.mark.parametrize(("n", "values"), [(10, 3), (60, 8), (200, 1000), (31, 2)])
def test_figures_are_those_of_scikit_learn(n: int, values: int) -> None:
    rng = np.random.default_rng([n, values])
    labels = (np.arange(n) % 3 == 0).astype(np.int64)
    scores = (rng.integers(values, size=n) + labels * values // 3).astype(np.float32)
    weights = rng.integers(4, size=(20, n))
    weights[:, :2] = 1  # a positive and a negative image
    precision, found = ranked(labels, scores, weights)
    for one, area, share in zip(weights, precision, found, strict=True):
        assert area == pytest.approx(average_precision_score(labels, scores, sample_weight=one), abs=1e-6)
        assert share == pytest.approx(sensitivity(labels, scores, one), abs=1e-6)


def test_ten_per_cent_of_thirty_negatives_are_three() -> None:
    labels = np.array([0, 0, 0, 1, 0, 1, *[0] * 26])
    precision, found = ranked(labels, -np.arange(32.0), np.ones((1, 32)))
    assert found.tolist() == [0.5] and precision.tolist() == pytest.approx([(1 / 4 + 2 / 6) / 2])


def test_a_positive_that_equals_one_negative_too_many_is_not_found() -> None:
    _, found = ranked([1, 1, 0, 0], [3.0, 2.0, 2.0, 1.0], ONE)
    assert found.tolist() == [0.5]


def test_unknown_labels_are_left_out_and_the_order_of_images_is_none() -> None:
    labels, scores = np.array([1, 0, -1, 1, 0, -1]), np.array([2.0, 1.5, np.nan, 1.0, 0.5, 9.0])
    whole = ranked(labels, scores, np.ones((1, 6)))
    back = ranked(labels[::-1], scores[::-1], np.ones((1, 6)))
    assert [one.tolist() for one in whole] == [one.tolist() for one in back] == [[pytest.approx(5 / 6)], [0.5]]


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 0, 0, 0], [-1, -1, -1, -1]])
def test_without_positives_or_negatives_there_is_no_figure(labels: list[int]) -> None:
    assert np.isnan(ranked(labels, np.arange(4.0), ONE)).all()


def test_a_draw_without_positives_has_no_figure() -> None:
    area, found = ranked([1, 0, 0, 1], np.arange(4.0), [[0, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 1]])
    assert np.isnan(area).tolist() == np.isnan(found).tolist() == [True, False, True]


def test_nan_and_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranked([1, 0, 1, 0], [1.0, np.nan, 2.0, 3.0], ONE)
    with pytest.raises(ValueError, match="do not fit"):
        ranked([1, 0], [1.0, 2.0], ONE)
