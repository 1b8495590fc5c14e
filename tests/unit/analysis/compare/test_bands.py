"""Bands of class AUCs: stored where chance moves a class further than the tolerance, and tested over the seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.compare.bands import band_tests, standard_error, stored_band
from refers_bench.analysis.statistics.equivalence import Equivalence
from refers_bench.analysis.statistics.significance import Refusal


def test_the_error_is_that_of_exponential_scores_by_counting_pairs() -> None:
    """Positive scores of rate 1, negative ones of rate r: the AUC is r / (1 + r); its spread is simulated."""
    rng = np.random.default_rng(0)
    positive, negative = rng.exponential(1.0, (4000, 12)), rng.exponential(1 / 3, (4000, 30))
    aucs = (positive[:, :, None] > negative[:, None, :]).mean(axis=(1, 2))
    assert aucs.mean() == pytest.approx(0.75, abs=0.005)
    assert standard_error(0.75, n_pos=12, n_neg=30) == pytest.approx(aucs.std(), rel=0.04)
    # One image of each class: the AUC is 0 or 1.
    assert standard_error(0.75, n_pos=1, n_neg=1) == pytest.approx(math.sqrt(0.75 * 0.25))
    assert standard_error(1.0, n_pos=5, n_neg=5) == 0


def test_a_band_is_stored_where_it_is_wider_than_the_tolerance() -> None:
    stored = {"auc": 0.75, "n_pos": 12, "n_neg": 30}
    width = 1.959963985 * standard_error(0.75, n_pos=12, n_neg=30)
    found = stored_band(stored, 0.02, "test-images")
    assert found == {
        "tolerance": pytest.approx(width, abs=5.1e-7),
        "tolerance_source": "1.96 standard errors (Hanley and McNeil) with 12 positive, 30 negative images",
    }
    assert round(found["tolerance"], 6) == found["tolerance"]
    assert stored_band(stored, width * 1.01, "test-images") == {}
    assert stored_band(stored, 0.02, "fixed") == {}
    assert stored_band({"auc": None, "n_pos": 0, "n_neg": 30}, 0.02, "test-images") == {}


def stored(auc: float | None, **more: Any) -> dict[str, Any]:
    return {"auc": auc, **more}


def test_classes_are_tested_over_their_seeds_within_their_own_widest_band() -> None:
    pairs = [
        (
            {"a": stored(0.71), "b": stored(0.5), "own": stored(0.61), "new": stored(0.5)},
            {
                "a": stored(0.70), "b": stored(0.5), "own": stored(0.60, tolerance=0.04, tolerance_source="images"),
                "gone": stored(0.5),
            },
        ),
        (
            {"a": stored(0.73), "b": stored(None), "own": stored(0.63)},
            {"a": stored(0.70), "b": stored(0.5), "own": stored(0.60, tolerance=0.05, tolerance_source="others")},
        ),
    ]  # fmt: skip
    a, b, own, gone = band_tests("row", pairs, seeds=2, tolerance=0.03, source="the baseline's")
    assert {(one.row, one.name, one.band, one.source) for one in (a, b, own, gone)} == {
        ("row", "a", 0.03, "the baseline's"), ("row", "b", 0.03, "the baseline's"), ("row", "own", 0.05, "images"),
        ("row", "gone", 0.03, "the baseline's"),
    }  # fmt: skip
    assert b.found == Refusal(reason="an AUC on both sides in 1 of 2 seeds")
    assert gone.found == Refusal(reason="an AUC on both sides in 0 of 2 seeds")
    for one, band in ((a, 0.03), (own, 0.05)):
        assert isinstance(one.found, Equivalence)
        assert (one.found.n, one.found.margin) == (2, band)
        assert one.found.difference == pytest.approx(0.02)
        reach = stats.t.ppf(0.95, 1) * np.std([0.01, 0.03], ddof=1) / math.sqrt(2)
        assert (one.found.low, one.found.high) == pytest.approx((0.02 - reach, 0.02 + reach))
    (flat, *_) = band_tests("row", pairs, seeds=2, tolerance=0.0, source="")
    assert flat.found == Refusal(reason="a band without width")
    (short, *_) = band_tests("row", pairs, seeds=3, tolerance=0.03, source="")
    assert short.found == Refusal(reason="an AUC on both sides in 2 of 3 seeds")
