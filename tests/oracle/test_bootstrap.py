"""Do bootstrap intervals cover the truth as often as they say, and is every draw's AUC the exact one?"""

from __future__ import annotations

import numpy as np
import pytest

from refers_bench.analysis import bootstrap as room
from refers_bench.analysis.auc import class_aucs
from refers_bench.analysis.bootstrap import bootstrap, strata
from refers_bench.analysis.delong import Delong, delong


@pytest.mark.parametrize("distinct", [5, 0], ids=["ties", "no ties"])
def test_every_draw_is_the_auc_of_its_images(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    labels = (rng.random((60, 3)) < (0.5, 0.3, 0.2)).astype(np.int8)
    scores = (rng.normal(size=(2, 60, 3)) + labels).astype(np.float32)
    if distinct:
        scores = np.round(scores * distinct / 6).astype(np.float32)
    found = bootstrap(labels, scores, seed=3, draws=150)
    units = np.arange(60)
    weights = np.concatenate(list(room._draws(strata(labels, units), 150, 3)), axis=1).astype(int)
    assert (weights.sum(axis=0) == 60).all()
    for draw in (0, 1, 77, 149):
        rows = np.repeat(units, weights[:, draw])
        for method in (0, 1):
            expected = class_aucs(labels[rows], scores[method][rows]).mean
            assert found.mean_BM[draw, method] == pytest.approx(expected, abs=1e-12)
    for method in (0, 1):
        assert found.estimate_M[method] == pytest.approx(class_aucs(labels, scores[method]).mean, abs=1e-12)


def test_spread_of_a_single_class_is_delongs() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([1, 0], [300, 700])[:, None]
    shared = rng.normal(size=(1000, 1))
    scores = np.stack([labels * 1.5 + shared + rng.normal(size=(1000, 1)) for _ in range(2)])
    draws = bootstrap(labels, scores, seed=0, draws=2000)
    exact = delong(labels[:, 0], scores[:, :, 0])
    assert isinstance(exact, Delong)
    cov = exact.covariance_MM
    assert draws.mean(0).se == pytest.approx(np.sqrt(cov[0, 0]), rel=0.06)
    assert draws.difference(0, 1).se == pytest.approx(np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]), rel=0.06)


def test_intervals_over_images_cover() -> None:
    """1,500 test sets of 400 images, three classes that occur together; truth from 200,000 images."""
    rng = np.random.default_rng(5)

    def draw(images: int) -> tuple[np.ndarray, np.ndarray]:
        ill = rng.normal(size=(images, 1))
        labels = (ill + rng.normal(size=(images, 3)) > (0.9, 1.2, 1.5)).astype(np.int8)
        # The same image is hard for both methods.
        hard = rng.normal(size=(images, 3))
        scores = np.stack([labels * strength + hard + rng.normal(size=(images, 3)) for strength in (1.6, 1.2)])
        return labels, scores

    labels, scores = draw(200_000)
    truth = [class_aucs(labels, one).mean for one in scores]
    sets = 1500
    means = differences = 0
    for number in range(sets):
        found = bootstrap(*draw(400), seed=number, draws=500)
        mean, difference = found.mean(0), found.difference(0, 1)
        means += mean.low <= truth[0] <= mean.high
        differences += difference.low <= truth[0] - truth[1] <= difference.high
    assert 0.93 <= means / sets <= 0.97
    assert 0.93 <= differences / sets <= 0.97


def test_intervals_over_patients_cover_where_those_over_images_do_not() -> None:
    """400 test sets of 120 patients with four images each that share label and score."""
    rng = np.random.default_rng(6)

    def draw(patients: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        label = (rng.random(patients) < 0.4).astype(np.int8)
        own = label * 1.3 + rng.normal(size=patients)
        names = np.repeat(np.arange(patients), 4)
        scores = own[names] + 0.3 * rng.normal(size=4 * patients)
        return label[names][:, None], scores[None, :, None], [f"p{name}" for name in names]

    labels, scores, _ = draw(100_000)
    truth = class_aucs(labels, scores[0]).mean
    sets = 400
    by_patient = by_image = 0
    for number in range(sets):
        labels, scores, names = draw(120)
        found = bootstrap(labels, scores, seed=number, draws=400, patients=names)
        assert found.unit == "patient" and found.n_units == 120
        interval = found.mean(0)
        by_patient += interval.low <= truth <= interval.high
        interval = bootstrap(labels, scores, seed=number, draws=400).mean(0)
        by_image += interval.low <= truth <= interval.high
    assert 0.93 <= by_patient / sets <= 0.97
    assert by_image / sets < 0.85


def test_interval_of_a_mean_stays_within_0_and_1() -> None:
    labels = np.repeat([1, 0], [6, 30])[:, None]
    scores = np.linspace(1, 0, 36)[None, :, None].copy()
    perfect = bootstrap(labels, scores, seed=0, draws=200).mean(0)
    assert (perfect.low, perfect.estimate, perfect.high, perfect.se) == (1, 1, 1, 0)
    scores[0, 6, 0] = 2  # one negative above all positives
    near = bootstrap(labels, scores, seed=0, draws=200).mean(0)
    assert 0 < near.low < near.estimate < near.high < 1


@pytest.mark.parametrize(("positives", "negatives", "name"), [(1, 30, "positive"), (30, 1, "negative")])
def test_a_class_with_one_positive_or_negative_has_no_interval(positives: int, negatives: int, name: str) -> None:
    """Every draw would repeat it: the interval would say that its score is known without error."""
    labels = np.repeat([1, 0], [positives, negatives])[:, None]
    scores = np.random.default_rng(0).normal(size=(1, len(labels), 1))
    with pytest.raises(ValueError, match=f"{name} images in one image alone"):
        bootstrap(labels, scores, seed=0, draws=50)
    with pytest.raises(ValueError, match="in one patient alone"):
        bootstrap(np.tile(labels, (2, 1)), np.tile(scores, (1, 2, 1)), seed=0, draws=50,
                  patients=[f"p{n}" for n in range(len(labels))] * 2)  # fmt: skip
