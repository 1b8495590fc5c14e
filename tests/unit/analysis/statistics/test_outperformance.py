"""P(A > B) and the probability of false outperformance: draws, edges and refusals; see the oracle for the truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.statistics.outperformance import (
    FalseOutperformance,
    Outperformance,
    false_outperformance,
    mean_auc_draws,
    outperformance,
)
from refers_bench.analysis.statistics.placements import Units
from refers_bench.analysis.statistics.resampling import DRAWS, image_weights
from refers_bench.analysis.statistics.significance import Refusal

RNG = np.random.default_rng(2)
LABELS = (RNG.random((300, 2)) < 0.3).astype(np.int8)
SCORES = (LABELS + RNG.normal(size=(3, 300, 2))).astype(np.float32)


def test_draws_are_scikit_learns_to_first_order() -> None:
    units = Units.of(300, [f"{n // 2}" for n in range(300)])
    draws, weights = mean_auc_draws(LABELS, SCORES, units), image_weights(units)
    assert draws.shape == (3, 1 + DRAWS)

    def auc(run: int, draw: int) -> float:
        weight = weights[draw]
        return float(np.mean([roc_auc_score(LABELS[:, k], SCORES[run, :, k], sample_weight=weight) for k in (0, 1)]))

    assert draws[:, 0] == pytest.approx([auc(run, 0) for run in range(3)])
    expected = np.array([auc(1, draw) for draw in range(1, 101)])
    error = draws[1, 1:101] - expected
    assert np.sqrt((error**2).mean()) < 0.2 * expected.std() and abs(error.mean()) < 0.05 * expected.std()


def test_what_always_and_what_never_wins() -> None:
    spread = np.array([[0.0, -0.01, 0.01, 0.0], [0.001, 0.011, -0.009, 0.001]])
    assert outperformance(spread + 0.9, spread * 0 + 0.5) == Outperformance(p=1.0, low=1.0, high=1.0, pairs=2)
    assert outperformance(spread + 0.4, spread * 0 + 0.5) == Outperformance(p=0.0, low=0.0, high=0.0, pairs=2)
    same = outperformance(spread, spread)
    assert isinstance(same, Outperformance) and same.p == 0.5 and not same.significant


def test_a_win_is_significant_above_one_half_and_meaningful_from_three_quarters() -> None:
    assert not Outperformance(p=0.6, low=0.45, high=0.9, pairs=5).significant
    slight = Outperformance(p=0.6, low=0.55, high=0.7, pairs=5)
    assert slight.significant and not slight.meaningful
    assert Outperformance(p=0.8, low=0.6, high=0.9, pairs=5).meaningful


def test_the_clear_winner_is_not_false_and_equal_rows_share() -> None:
    # Enough draws that a share is known to one per cent.
    noise = np.array([[-0.01], [0.0], [0.01]]) + np.random.default_rng(0).normal(0, 0.01, 20_001) * (
        np.arange(20_001) > 0
    )
    clear = false_outperformance({"a": 0.6 + noise, "b": 0.9 + noise})
    assert isinstance(clear, FalseOutperformance) and (clear.row, clear.p, clear.df) == ("b", pytest.approx(0), 4)
    even = false_outperformance({"a": noise, "b": noise, "c": noise})
    assert isinstance(even, FalseOutperformance) and even.p == pytest.approx(2 / 3, abs=0.02)
    same = np.full((2, 3), 0.7)
    alike = false_outperformance({"a": same, "b": same})
    assert isinstance(alike, FalseOutperformance) and alike.p == 0.5
    assert sum(even.best.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (outperformance(np.zeros((2, 3)), np.zeros((3, 3))), "paired by seed, there are 2 and 3"),
        (outperformance(np.zeros((1, 3)), np.zeros((1, 3))), "at least two pairs of seeds, has 1"),
        (false_outperformance({"a": np.zeros((2, 3))}), "no other row"),
        (false_outperformance({"a": np.zeros((2, 3)), "b": np.zeros((1, 3))}), "one seed"),
    ],
)
def test_refusals(found: object, reason: str) -> None:
    assert isinstance(found, Refusal) and reason in found.reason


def test_without_a_class_or_with_other_draws_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="no class"):
        mean_auc_draws(np.zeros((4, 1)), np.zeros((2, 4, 1)), Units.of(4))
    with pytest.raises(ValueError, match="do not fit"):
        outperformance(np.zeros((2, 3)), np.zeros((2, 4)))
