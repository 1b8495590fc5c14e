"""The best row is found among rows that compare; others give nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.best_row import best_row
from refers_bench.analysis.predictions import Predictions

LABELS = (np.random.default_rng(6).random((150, 2)) < 0.4).astype(np.int8)


def predictions(seed: int, strength: float) -> Predictions:
    scores = LABELS * strength + np.random.default_rng([seed, int(10 * strength)]).normal(size=LABELS.shape)
    return Predictions(
        classes=("a", "b"),
        image_ids=tuple(f"i{n:03}" for n in range(150)),
        patient_ids=tuple(f"p{n}" for n in range(150)),
        labels_NK=LABELS,
        scores_NK=scores.astype(np.float32),
    )


ROWS = {name: [predictions(seed, strength) for seed in (0, 1)] for name, strength in (("a", 0.5), ("b", 1.5))}


def test_the_row_with_the_highest_mean_auc_is_compared_with_the_others() -> None:
    found = best_row(ROWS)
    means = {
        name: np.mean([roc_auc_score(LABELS[:, k], one.scores_NK[:, k]) for one in runs for k in (0, 1)])
        for name, runs in ROWS.items()
    }
    assert found is not None and found.found.row == max(means, key=lambda name: float(means[name])) == "b"
    assert set(found.over) == {"a"} and found.over["a"].pairs == 2 and found.n_units == 150
    assert found.over["a"].p > 0.9 and found.found.p == pytest.approx(found.found.best["a"])


def test_other_numbers_of_seeds_are_not_paired() -> None:
    found = best_row({**ROWS, "a": [*ROWS["a"], predictions(2, 0.5)]})
    assert found is not None and found.over == {} and "paired by seed" in found.refusals["a"]


def test_rows_that_do_not_compare_give_nothing() -> None:
    other = replace(ROWS["a"][0], labels_NK=1 - LABELS)
    broken = replace(ROWS["a"][0], scores_NK=np.full(LABELS.shape, np.nan, np.float32))
    empty = {name: [replace(one, labels_NK=LABELS * 0) for one in runs] for name, runs in ROWS.items()}
    assert best_row({"b": ROWS["b"]}) is None and best_row({}) is None and best_row(empty) is None
    assert best_row({**ROWS, "a": [other, other]}) is None and best_row({**ROWS, "a": [broken, broken]}) is None
    assert best_row({**ROWS, "a": ROWS["a"][:1]}) is None
