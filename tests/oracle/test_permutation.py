"""Checks the exact permutation test against full enumeration, random exchanges, and its rate of false positives."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import rankdata

from delong_pairs import pair
from refers_bench.analysis.statistics.delong import Delong, delong
from refers_bench.analysis.statistics.permutation import PERMUTATION, PermutationTest, permutation_test
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units
from refers_bench.analysis.statistics.significance import Refusal

metrics = pytest.importorskip("sklearn.metrics")

_Floats = npt.NDArray[np.float64]


def _difference(labels: npt.NDArray[np.int_], first: _Floats, second: _Floats, turned: npt.NDArray[np.bool_]) -> float:
    """Difference of the mean AUCs over runs, pair by pair, with the ranks of the turned images exchanged."""
    sides = [(rankdata(one), rankdata(other)) for one, other in zip(first, second, strict=True)]
    return float(
        np.mean(
            [
                _auc(labels, np.where(turned, other, one)) - _auc(labels, np.where(turned, one, other))
                for one, other in sides
            ]
        )
    )


def _auc(labels: npt.NDArray[np.int_], scores: _Floats) -> float:
    """Share of the pairs of a positive and a negative image whose order is right; a tie is half a pair."""
    above = scores[labels == 1][:, None] - scores[labels == 0]
    return float(np.mean((above > 0) + (above == 0) / 2))


def test_the_auc_of_these_tests_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    labels, scores = np.array([1, 0, *rng.integers(0, 2, 30)]), np.round(rng.normal(size=32), 1)
    assert _auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("by_patient", [False, True])
def test_agrees_with_all_exchanges(runs: int, by_patient: bool) -> None:
    rng = np.random.default_rng([runs, by_patient])
    for case in range(6):
        n = int(rng.integers(5, 8))
        labels = np.array([1, 0, *rng.integers(0, 2, n - 2)])
        first = np.round(rng.normal(size=(runs, n)) + labels, case % 3)
        second = np.round(rng.normal(size=(runs, n)), case % 3)
        units = Units.of(n, [str(number) for number in rng.integers(0, n - 2, n)] if by_patient else None)
        observed = _difference(labels, first, second, np.zeros(n, bool))
        all_of_them = [
            _difference(labels, first, second, np.array(signs)[units.of_image_N])
            for signs in itertools.product([False, True], repeat=units.count)
        ]
        found = permutation_test(labels, first, second, units)
        if np.ptp(np.abs(all_of_them)) < 1e-12 and abs(observed) < 1e-12:
            assert isinstance(found, Refusal) and "zero variance" in found.reason
            continue
        assert isinstance(found, PermutationTest)
        assert found.test == PERMUTATION[PATIENT if by_patient else IMAGE]
        assert (found.n_pos, found.n_neg) == (labels.sum(), n - labels.sum())
        assert found.difference == pytest.approx(observed, abs=1e-12)
        assert found.p == pytest.approx(np.mean(np.abs(all_of_them) >= abs(observed) - 1e-9), abs=1e-9)


def _asymptotic(labels: npt.NDArray[np.int_], first: _Floats, second: _Floats) -> float:
    """DeLong's P, whatever the number of positives."""
    found = delong(labels, np.stack([first, second]))
    assert isinstance(found, Delong)
    cov = found.covariance_MM
    variance = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    return math.erfc(abs(found.auc_M[0] - found.auc_M[1]) / math.sqrt(2 * variance)) if variance > 1e-12 else 1.0


def test_three_positives_give_no_p_value_of_1e_10() -> None:
    """A reader is told 0.02 by exchanging, as with 20,000 random exchanges; DeLong's P would be below 1e-10."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [3, 200])
    one, two = rng.normal(size=(2, 203))
    one[:3], two[:3] = np.sort(one[3:])[[-2, -4, -3]], np.sort(two[3:])[[-41, -43, -44]]
    assert _asymptotic(labels, one, two) < 1e-10
    assert isinstance(pair(delong(labels, np.stack([one, two])), 0, 1), Refusal)
    found = permutation_test(labels, one, two)
    assert isinstance(found, PermutationTest) and 0.001 < found.p < 0.2
    ranks = np.stack([rankdata(one), rankdata(two)])
    turned = rng.random((20_000, 203)) < 0.5
    drawn = np.where(turned[:, None], ranks[::-1], ranks)
    wins = (drawn[:, :, :3, None] > drawn[:, :, None, 3:]).sum((2, 3)) * 2
    wins += (drawn[:, :, :3, None] == drawn[:, :, None, 3:]).sum((2, 3))
    share = np.mean(np.abs(wins[:, 0] - wins[:, 1]) >= abs(found.difference) * 2 * 600 - 1e-6)
    assert found.p == pytest.approx(share, abs=4 * math.sqrt(share / 20_000))


@pytest.mark.parametrize("positives", [3, 5, 9])
def test_keeps_its_level_where_the_approximation_does_not(positives: int) -> None:
    """600 test sets of two methods that recognise a class equally well; 5 % is measured with an error of 0.9."""
    rng = np.random.default_rng(positives)
    labels = np.repeat([1, 0], [positives, 80])
    exact = approximate = 0
    for _ in range(600):
        one, two = labels * 1.5 + 0.7 * rng.normal(size=labels.shape) + 0.7 * rng.normal(size=(2, len(labels)))
        found = permutation_test(labels, one, two)
        exact += isinstance(found, PermutationTest) and found.p <= 0.05
        approximate += _asymptotic(labels, one, two) <= 0.05
    print(f"\n{positives} positives: exact {exact / 600:.1%}, DeLong {approximate / 600:.1%}")
    assert exact / 600 <= 0.07 and exact <= approximate
    assert positives > 3 or approximate > 10 * exact


def test_by_patient_keeps_its_level_where_by_image_does_not() -> None:
    """200 test sets of five patients with four positive images each, and 20 with four negative ones."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(25), 4)
    labels = np.repeat([1, 0], [20, 80])
    units = Units.of(100, [f"p{p}" for p in patients])
    rejected = [0, 0]
    for _ in range(200):
        one, two = labels * 1.2 + rng.normal(size=(2, 25))[:, patients] + 0.3 * rng.normal(size=(2, 100))
        for place, drawn in enumerate((units, None)):
            found = permutation_test(labels, one, two, drawn)
            assert isinstance(found, PermutationTest)
            rejected[place] += found.p <= 0.05
    assert rejected[0] / 200 <= 0.1 and rejected[1] / 200 > 0.25


def test_what_cannot_be_exchanged_is_refused() -> None:
    labels = np.array([1, 1, 0, 0, -1])
    scores = np.arange(5.0)
    found = permutation_test(labels, scores, np.exp(scores))
    assert isinstance(found, Refusal) and "zero variance" in found.reason
    found = permutation_test(labels, np.stack([scores, scores]), scores)
    assert isinstance(found, Refusal) and "2 and 1" in found.reason
    found = permutation_test(np.ones(5), scores, -scores)
    assert isinstance(found, Refusal)
    with pytest.raises(ValueError, match="NaN"):
        permutation_test(labels, np.where(labels == 0, np.nan, scores), scores)
