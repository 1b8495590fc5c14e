"""Checks DeLong's test against the papers' definitions in double loops, and its coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from delong_pairs import pair
from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.analysis.statistics.delong import DELONG, Delong, DelongTest, delong
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units
from refers_bench.analysis.statistics.significance import Refusal


def _by_double_loop(labels: list[int], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance from the definition: every pair of images, every pair of methods."""
    positive = [i for i, label in enumerate(labels) if label == 1]
    negative = [j for j, label in enumerate(labels) if label == 0]
    methods = len(scores)

    def kernel(r: int, i: int, j: int) -> float:
        return 1.0 if scores[r, i] > scores[r, j] else 0.5 if scores[r, i] == scores[r, j] else 0.0

    m, n = len(positive), len(negative)
    v10 = [[sum(kernel(r, i, j) for j in negative) / n for i in positive] for r in range(methods)]
    v01 = [[sum(kernel(r, i, j) for i in positive) / m for j in negative] for r in range(methods)]
    auc = [sum(values) / m for values in v10]
    covariance = np.zeros((methods, methods))
    for r in range(methods):
        for s in range(methods):
            s10 = sum((v10[r][i] - auc[r]) * (v10[s][i] - auc[s]) for i in range(m)) / (m - 1)
            s01 = sum((v01[r][j] - auc[r]) * (v01[s][j] - auc[s]) for j in range(n)) / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return np.array(auc), covariance


@pytest.mark.parametrize("distinct", [3, 20, 0], ids=["many ties", "some ties", "no ties"])
def test_agrees_with_the_double_loop(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    for _ in range(40):
        images = int(rng.integers(8, 60))
        labels = [1, 1, 0, 0, *(int(value) for value in rng.integers(0, 2, images - 4))]
        scores = (rng.normal(size=(4, images)) + np.array(labels)).astype(np.float32)
        if distinct:
            scores = np.round(scores * distinct / 6).astype(np.float32)
        found = delong(labels, scores)
        auc, covariance = _by_double_loop(labels, scores)
        assert isinstance(found, Delong)
        assert found.auc_M == pytest.approx(auc, abs=1e-12)
        assert found.covariance_MM == pytest.approx(covariance, abs=1e-12)
        difference = auc[0] - auc[1]
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        test = pair(found, 0, 1)
        if min(found.units) < 10:
            assert isinstance(test, Refusal) and test.reason.startswith("needs 10 images with positive")
        elif variance > 1e-9:
            assert isinstance(test, DelongTest) and test.test == DELONG[IMAGE]
            assert test.difference == pytest.approx(difference, abs=1e-12)
            assert test.p == pytest.approx(math.erfc(abs(difference / math.sqrt(variance)) / math.sqrt(2)), rel=1e-9)


def _obuchowski(labels: list[int], scores: np.ndarray, patients: list[str]) -> np.ndarray:
    """Covariance of clustered AUCs from the paper's formulas: S10 / m + S01 / n + (S11 + S11') / (m n)."""
    positive = [i for i, label in enumerate(labels) if label == 1]
    negative = [j for j, label in enumerate(labels) if label == 0]
    methods, m, n = range(len(scores)), len(positive), len(negative)

    def kernel(r: int, i: int, j: int) -> float:
        return 1.0 if scores[r, i] > scores[r, j] else 0.5 if scores[r, i] == scores[r, j] else 0.0

    auc = [sum(kernel(r, i, j) for i in positive for j in negative) / m / n for r in methods]
    ill = {p: [i for i in positive if patients[i] == p] for p in set(patients)}
    well = {p: [j for j in negative if patients[j] == p] for p in set(patients)}
    over = {p: [sum(sum(kernel(r, i, j) for j in negative) / n for i in ill[p]) for r in methods] for p in ill}
    under = {p: [sum(sum(kernel(r, i, j) for i in positive) / m for j in well[p]) for r in methods] for p in well}
    with_ill, with_well = sum(map(bool, ill.values())), sum(map(bool, well.values()))
    everyone = len(set(patients))
    covariance = np.zeros((len(scores), len(scores)))
    for r in methods:
        for s in methods:
            a = {p: [over[p][k] - len(ill[p]) * auc[k] for k in (r, s)] for p in ill}
            b = {p: [under[p][k] - len(well[p]) * auc[k] for k in (r, s)] for p in well}
            s10 = with_ill / ((with_ill - 1) * m) * sum(x * y for x, y in a.values())
            s01 = with_well / ((with_well - 1) * n) * sum(x * y for x, y in b.values())
            s11 = everyone / (everyone - 1) * sum(a[p][0] * b[p][1] for p in a)
            s11_other = everyone / (everyone - 1) * sum(a[p][1] * b[p][0] for p in a)
            covariance[r, s] = s10 / m + s01 / n + (s11 + s11_other) / (m * n)
    return covariance


def test_with_patients_it_is_obuchowskis_and_with_one_image_each_delongs() -> None:
    rng = np.random.default_rng(7)
    for distinct in (0, 6):
        patients = [f"p{number}" for number in rng.integers(0, 25, 60)]
        labels = [1, 0, *(int(value) for value in rng.integers(0, 2, 58))]
        scores = rng.normal(size=(3, 60)) + np.array(labels)
        scores = np.round(scores * distinct) / distinct if distinct else scores
        found = delong(labels, scores, Units.of(60, patients))
        assert isinstance(found, Delong) and found.unit == PATIENT and found.units[0] < found.n_pos
        assert found.covariance_MM == pytest.approx(_obuchowski(labels, scores, patients), abs=1e-12)
        alone = delong(labels, scores, Units.of(60, [f"p{n}" for n in range(60)]))
        plain = delong(labels, scores)
        assert isinstance(alone, Delong) and isinstance(plain, Delong)
        assert alone.covariance_MM == pytest.approx(plain.covariance_MM, abs=1e-12)
        outcome = pair(found, 0, 1)
        assert isinstance(outcome, DelongTest) and outcome.test == DELONG[PATIENT] != DELONG[IMAGE]


def test_over_patients_variance_and_level_are_right_where_over_images_they_are_not() -> None:
    """600 test sets of 60 patients with four images each, some of both labels; equal true AUCs."""
    rng = np.random.default_rng(8)
    patients = np.repeat(np.arange(60), 4)
    units = Units.of(240, [f"p{p}" for p in patients])
    rejected = {"patient": 0, "image": 0}
    differences, variances = [], []
    for _ in range(600):
        labels = (rng.normal(size=60)[patients] + 0.5 * rng.normal(size=240) > 0.3).astype(int)
        own = rng.normal(size=(2, 60))[:, patients]
        scores = 1.2 * labels + 0.8 * own + 0.6 * rng.normal(size=(2, 240))
        for what in rejected:
            found = delong(labels, scores, units if what == "patient" else None)
            test = pair(found, 0, 1)
            assert isinstance(test, DelongTest)
            rejected[what] += test.p < 0.05
            if what == "patient":
                differences.append(test.difference)
                variances.append(test.se**2)
    assert np.mean(variances) == pytest.approx(np.var(differences), rel=0.15)
    assert 0.03 <= rejected["patient"] / 600 <= 0.08
    assert rejected["image"] / 600 > 0.12


def test_its_aucs_are_those_of_the_tables() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, -1], 500)
    scores = rng.normal(size=(2, 500)).astype(np.float32)
    found = delong(labels, scores)
    assert isinstance(found, Delong)
    for method in (0, 1):
        assert found.auc_M[method] == pytest.approx(
            class_aucs(labels[:, None], scores[method][:, None]).mean, abs=1e-12
        )


def test_interval_covers_and_test_keeps_its_level() -> None:
    """1,500 test sets of 60 positives and 90 negatives; two methods with correlated scores and equal true AUCs."""
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], [60, 90])
    covered = rejected = 0
    repetitions = 1500
    for _ in range(repetitions):
        shared = rng.normal(size=150)
        scores = np.stack([labels * 1.2 + shared + rng.normal(size=150) for _ in range(2)])
        test = pair(delong(labels, scores), 0, 1)
        assert isinstance(test, DelongTest)
        covered += test.low <= 0 <= test.high
        rejected += test.p < 0.05
    assert 0.93 <= covered / repetitions <= 0.97
    assert 0.03 <= rejected / repetitions <= 0.07


def test_no_p_value_without_variance_or_images() -> None:
    labels = [1, 1, 0, 0]
    perfect = [[0.9, 0.8, 0.1, 0.2], [0.7, 0.9, 0.2, 0.1]]
    outcome = pair(delong(labels * 10, np.tile(perfect, 10)), 0, 1)
    assert isinstance(outcome, Refusal) and "zero variance" in outcome.reason
    rng = np.random.default_rng(0)
    once = rng.normal(size=30)
    outcome = pair(delong([1, 0] * 15, np.stack([once, 3 * once + 1])), 0, 1)
    assert isinstance(outcome, Refusal) and "alike" in outcome.reason
    outcome = pair(delong([1, 0, 0], [[0.1, 0.2, 0.3]] * 2), 0, 1)
    assert isinstance(outcome, Refusal) and "has 1 and 2" in outcome.reason
    outcome = pair(delong(labels, perfect), 0, 1)
    assert isinstance(outcome, Refusal) and outcome.reason.endswith("has 2 and 2")
    with pytest.raises(ValueError, match="NaN"):
        delong([1, 1, 0, 0], [[0.1, float("nan"), 0.3, 0.4]])
