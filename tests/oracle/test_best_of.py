"""The test against the best of several rows: exact permutations, SciPy's t-tests, and false-positive rates."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from refers_bench.analysis.statistics.best_of import BestOf, best_of, max_t
from refers_bench.analysis.statistics.significance import Refusal, TTest, best, t_test


def groups(rng: np.random.Generator, shape: tuple[int, int], shift: float = 0.0) -> tuple[tuple[float, ...], ...]:
    values = 0.8 + 0.01 * rng.normal(size=shape)
    values[0] += shift
    return tuple(tuple(map(float, row)) for row in values)


def test_higher_is_the_largest_of_scipys_one_sided_p_values() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, *others = groups(rng, (4, 3), shift=0.01)
        found = best_of(first, tuple(others))
        expected = max(float(stats.ttest_ind(first, other, alternative="greater").pvalue) for other in others)
        assert isinstance(found, BestOf) and found.p_higher == pytest.approx(expected, rel=1e-9)


def test_lower_agrees_with_all_deals() -> None:
    """Two others, two seeds: all 720 orders of the six values, dealt by hand."""
    rng = np.random.default_rng(1)

    def statistic(values: tuple[float, ...]) -> float:
        a, b, c = (np.array(values[place : place + 2]) for place in (0, 2, 4))
        pooled = math.sqrt(sum(float(np.var(group, ddof=1)) for group in (a, b, c)) / 3)
        return float(max(b.mean() - a.mean(), c.mean() - a.mean())) / pooled

    for _ in range(3):
        first, *others = groups(rng, (3, 2), shift=-0.01)
        observed = statistic((*first, *others[0], *others[1]))
        orders = [statistic(order) for order in permutations((*first, *others[0], *others[1]))]
        exact = sum(one >= observed - 1e-9 for one in orders) / len(orders)
        assert max_t(first, tuple(others)) == pytest.approx(exact, abs=0.015)


def test_one_other_row_has_no_choice() -> None:
    found = best_of((0.80, 0.82, 0.81), ((0.80, 0.83, 0.84),))
    expected = stats.ttest_ind((0.80, 0.82, 0.81), (0.80, 0.83, 0.84), alternative="less").pvalue
    assert isinstance(found, BestOf) and found.permutations == 0
    assert found.p_lower == pytest.approx(expected) and found.p == pytest.approx(2 * expected)


def test_refused_where_a_t_test_is() -> None:
    found = best_of((0.8, 0.81), ((0.7, 0.71), (0.6, 0.6)))
    assert isinstance(found, Refusal) and "zero variance" in found.reason


def rates(others: int, repeats: int, *, below: float = 0.0, seed: int = 0) -> dict[str, float]:
    """Shares of repetitions with P < 0.05 where the tested row equals the best of the others.

    Args:
        others: rows, three seeds each.
        repeats: repetitions.
        below: how far all others but one truly lie below, in standard deviations.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("paper's", "paper's, higher", "paper's, lower", "higher", "lower", "two-sided"), 0)
    for _ in range(repeats):
        values = rng.normal(size=(others + 1, 3))
        values[2:] -= below
        first, *rest = (tuple(map(float, row)) for row in values)
        chosen = max(rest, key=lambda row: sum(row))
        paper, ours = t_test(first, chosen), best_of(first, tuple(rest))
        assert isinstance(paper, TTest) and isinstance(ours, BestOf)
        counts["paper's"] += paper.p < 0.05
        counts["paper's, higher"] += paper.p < 0.05 and paper.t > 0
        counts["paper's, lower"] += paper.p < 0.05 and paper.t < 0
        counts["higher"] += ours.p_higher < 0.05
        counts["lower"] += ours.p_lower < 0.05
        counts["two-sided"] += ours.p < 0.05
    return {name: count / repeats for name, count in counts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("others", [2, 5, 7])
def test_false_positive_rates_where_nothing_differs(others: int) -> None:
    """The paper's test against its rate in 200,000 repetitions of NumPy's and SciPy's arithmetic alone; ours at 5 %."""
    repeats = 2500
    rng = np.random.default_rng(99)
    values = rng.normal(size=(200_000, others + 1, 3))
    means, spreads = values.mean(axis=2), values.var(axis=2, ddof=1)
    chosen = np.arange(len(values)), 1 + means[:, 1:].argmax(axis=1)
    t = (means[:, 0] - means[chosen]) / np.sqrt((spreads[:, 0] + spreads[chosen]) / 3)
    found = rates(others, repeats)
    print(others, found)
    for name, expected in (
        ("paper's", np.mean(np.abs(t) > stats.t.ppf(0.975, 4))), ("paper's, lower", np.mean(t < stats.t.ppf(0.025, 4))),
        ("paper's, higher", np.mean(t > stats.t.ppf(0.975, 4))), ("lower", 0.05),
    ):  # fmt: skip
        assert abs(found[name] - expected) < 3 * math.sqrt(expected * (1 - expected) / repeats) + 1e-3, name
    assert found["higher"] < 0.05 and found["two-sided"] < 0.05
    if others == 5:
        assert 0.06 < found["paper's"] < 0.10 and found["paper's, higher"] < 0.01


@pytest.mark.slow
def test_false_positive_rates_where_one_other_row_is_as_good_and_the_rest_are_worse() -> None:
    """The hardest case for "higher" (there is one rival), an easy one for "lower"."""
    found = rates(5, 2500, below=20.0)
    print(found)
    assert abs(found["higher"] - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 2500)
    assert found["lower"] < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2500) and found["two-sided"] < 0.065


def test_the_best_of_the_simulation_is_the_reports_best() -> None:
    """`rates` chooses by the sum of three seeds; the tables choose by the mean of complete cells."""
    from refers_bench.analysis.statistics.seeds import SeedRun, summarise

    rng = np.random.default_rng(3)
    for _ in range(20):
        rows = {f"m{m}": tuple(map(float, row)) for m, row in enumerate(rng.random((5, 3)))}
        cells = {
            name: summarise(
                [SeedRun(seed=s, key="", state="done", mean_auc=v, defined=("a",)) for s, v in enumerate(r)]
            )
            for name, r in rows.items()
        }
        assert best(cells) == (max(rows, key=lambda name: sum(rows[name])),)
