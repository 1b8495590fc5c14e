"""Checks by simulation that P(A > B) and the probability of false outperformance are what they say.

Runs are binormal: a seed's scores of positives lie d higher, d differs from seed to seed, and the noise of an image is
shared in part by all runs. The truth comes from runs on test sets that were drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import ndtri

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.analysis.statistics.outperformance import (
    FalseOutperformance,
    Outperformance,
    false_outperformance,
    mean_auc_draws,
    outperformance,
)
from refers_bench.analysis.statistics.placements import Units

IMAGES, SHARED = 200, 0.6


def drawn(aucs: Sequence[float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, 1) and scores (R, N, 1) of runs with these true AUCs."""
    labels = (rng.permutation(IMAGES) < 0.3 * IMAGES).astype(np.int8)
    noise = np.sqrt(SHARED) * rng.normal(size=IMAGES) + np.sqrt(1 - SHARED) * rng.normal(size=(len(aucs), IMAGES))
    distance = np.sqrt(2) * ndtri(np.array(aucs))
    return labels[:, None], (labels * distance[:, None] + noise)[:, :, None].astype(np.float32)


def seeds_of(mean: float, count: int, rng: np.random.Generator, sd: float = 0.01) -> list[float]:
    return np.clip(rng.normal(mean, sd, count), 0.5, 0.99).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "least"), [(10, 0.90), (3, 0.85)])
def test_p_that_one_run_beats_another_is_covered(seeds: int, least: float) -> None:
    """Nominal 95 %."""
    rng = np.random.default_rng(seeds)
    wins = [
        one[0] > one[1]
        for _ in range(4000)
        for labels, scores in [drawn((*seeds_of(0.83, 1, rng), *seeds_of(0.81, 1, rng)), rng)]
        for one in [[float(class_aucs(labels, run).auc_K[0]) for run in scores]]
    ]
    truth, hits, sets = float(np.mean(wins)), 0, 200
    for _ in range(sets):
        labels, scores = drawn((*seeds_of(0.83, seeds, rng), *seeds_of(0.81, seeds, rng)), rng)
        draws = mean_auc_draws(labels, scores, Units.of(IMAGES))
        found = outperformance(draws[:seeds], draws[seeds:])
        assert isinstance(found, Outperformance)
        hits += found.low <= truth <= found.high
    print(f"{seeds} seeds: truth {truth:.3f}, coverage {hits / sets:.3f}")
    assert least <= hits / sets <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.03, 0.06])
def test_the_probability_of_false_outperformance_is_calibrated(apart: float) -> None:
    """Of columns in which it says p, the bold row is not the best in a share of p, however far the rows lie apart."""
    rng = np.random.default_rng(7)
    said, false = [], []
    for _ in range(600):
        means = np.clip(rng.normal(0.8, apart, 4), 0.55, 0.97)
        labels, scores = drawn([auc for mean in means for auc in seeds_of(mean, 3, rng)], rng)
        draws = mean_auc_draws(labels, scores, Units.of(IMAGES))
        found = false_outperformance({str(row): draws[3 * row : 3 * row + 3] for row in range(4)})
        assert isinstance(found, FalseOutperformance)
        said.append(found.p)
        false.append(int(found.row) != int(np.argmax(means)))
    said_A, false_A = np.array(said), np.array(false)
    order = np.argsort(said_A)
    thirds = [(float(said_A[third].mean()), float(false_A[third].mean())) for third in np.array_split(order, 3)]
    print("apart", apart, "said and false:", said_A.mean(), false_A.mean(), thirds)
    assert false_A.mean() == pytest.approx(said_A.mean(), abs=0.05)
    assert all(abs(p - share) < 0.1 for p, share in thirds), thirds
