"""Limits of expressions of figures: those of sums by hand, and of the best of several at the levels of each."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from refers_bench.analysis.paper.expression import Leaf, parse
from refers_bench.analysis.paper.figures import Evidence, Figure
from refers_bench.analysis.paper.propagation import ALPHA, limits, reduced, shared

FIGURES = {
    "A": Figure(value=80.0, se=2.0, df=4), "B": Figure(value=75.0, se=1.5, df=math.inf),
    "C": Figure(value=74.0, se=3.0, df=6), "E": Figure(value=60.0),
}  # fmt: skip


class Known(Evidence):
    def figure(self, leaf: Leaf) -> Figure:
        return FIGURES[leaf[1]]


def found(text: str, tails: tuple[float, float] = (0.025, 0.05)) -> tuple[float, float]:
    names = {"target": "t", "ratio": 1.0}
    for name in FIGURES:
        text = text.replace(name, f'auc("{name}", target, ratio)')
    expression = parse(text, names)
    known = {leaf: FIGURES[leaf[1]] for leaf in expression.leaves()}
    return limits(expression, known, Known(), tails=tails)


def ends(value: float, se: float, df: float, low: float, high: float, near: float = 1e-6) -> tuple[float, float]:
    quantile = stats.norm.ppf if math.isinf(df) else lambda share: stats.t.ppf(share, df)
    return pytest.approx((value - quantile(1 - low) * se, value + quantile(1 - high) * se), abs=near)  # type: ignore[no-any-return]


def test_sums_and_products_have_the_limits_of_their_slopes() -> None:
    assert ALPHA == 0.025
    assert found("A") == ends(80, 2, 4, 0.025, 0.05)
    assert found("B - E") == ends(15, 1.5, math.inf, 0.025, 0.05)
    both = math.hypot(2, 1.5)
    assert found("A - B") == ends(5, both, both**4 / (16 / 4), 0.025, 0.05)
    assert found("-3 * B + 1") == ends(-224, 4.5, math.inf, 0.025, 0.05)
    assert found("A / 2 - A / 2 + E") == (60, 60), "a figure that cancels has no part in it"
    assert found("E + 1") == (61, 61)
    assert found("A * B") == ends(6000, math.hypot(150, 120), (150**2 + 120**2) ** 2 / (150**4 / 4), 0.025, 0.05, 0.5)


def test_the_best_of_several_is_asked_at_a_share_of_the_level() -> None:
    # The largest lies below a limit when all do, above it when any does.
    (b_low, _), (c_low, _) = found("B", (0.0125, 0.05)), found("C", (0.0125, 0.05))
    (_, b_high), (_, c_high) = found("B"), found("C")
    assert found("max(B, C)") == pytest.approx((max(b_low, c_low), max(b_high, c_high)))
    (b_low, _), (c_low, _) = found("B"), found("C")
    (_, b_high), (_, c_high) = found("B", (0.025, 0.025)), found("C", (0.025, 0.025))
    assert found("min(B, C)") == pytest.approx((min(b_low, c_low), min(b_high, c_high)))
    # What is subtracted falls as it rises: less the largest is the smallest of the differences.
    (b_low, b_high), (c_low, c_high) = found("A - B", (0.025, 0.025)), found("A - C", (0.025, 0.025))
    assert found("A - max(B, C)") == pytest.approx((min(b_low, c_low), min(b_high, c_high)))
    (b_low, b_high), (c_low, c_high) = found("A - B", (0.0125, 0.05)), found("A - C", (0.0125, 0.05))
    assert found("A - min(B, C)") == pytest.approx((max(b_low, c_low), max(b_high, c_high)))
    # A largest of 0 is moved as well, to see which way the expression goes.
    assert found("A - max(B - 75, C - 75)") == pytest.approx(tuple(75 + end for end in found("A - max(B, C)")))


def test_levels_and_limits_of_three() -> None:
    assert shared((0.03, 0.06), over="min", count=3) == pytest.approx((0.03, 0.02))
    assert shared((0.03, 0.06), over="max", count=3) == pytest.approx((0.01, 0.06))
    three = [(1.0, 9.0), (2.0, 4.0), (0.0, 5.0)]
    assert reduced(three, over="min") == (0.0, 4.0) and reduced(three, over="max") == (2.0, 9.0)
