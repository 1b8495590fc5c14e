"""Axes end at round values that cut nothing off; titles keep what belongs together on one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.render.panel import Panel, Series, limits, title_lines


@pytest.mark.parametrize(
    ("values", "most", "ticks"),
    [
        ([67.7, 97.9], 5, [60, 70, 80, 90, 100]),
        ([50.0, 100.0], 5, [50, 60, 70, 80, 90, 100]),
        ([81.2, 84.9], 5, [81, 82, 83, 84, 85]),
        ([-3.6, 16.5], 3, [-10, 0, 10, 20]),
        ([0.3, 0.9], 3, [0.25, 0.5, 0.75, 1.0]),
        ([75.0], 5, [74, 74.5, 75, 75.5, 76]),
    ],
)
def test_axes_end_at_round_values(values: list[float], most: int, ticks: list[float]) -> None:
    low, high, found = limits(values, most=most)
    assert found == pytest.approx(ticks)
    # A mark at the end of the axis is seen whole.
    assert low < ticks[0] and high > ticks[-1] and high - low < 1.1 * (ticks[-1] - ticks[0])


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 6)), min_size=1, max_size=5), st.integers(3, 9))
def test_axes_never_cut_a_value_off(values: list[float], most: int) -> None:
    low, high, ticks = limits(values, most=most)
    assert low < min(values) and max(values) < high
    assert 2 <= len(ticks) <= most + 3 and ticks == sorted(ticks)


def test_ends_of_intervals_and_the_guide_count_for_the_axis_they_lie_along() -> None:
    across = Series(label="i", x=(1.0,), y=(0.0,), low=(-2.0,), high=(3.0,), style="intervals")
    upright = Series(label="l", x=(1.0,), y=(5.0,), low=(4.0,), high=(9.0,))
    assert sorted(Panel(series=(across,), guide=7.0).values("x")) == [-2, 1, 3, 7]
    assert Panel(series=(across,), guide=7.0).values("y") == [0]
    lost = Series(label="n", x=(0.0, 1.0, 2.0), y=(1.0, float("nan"), float("inf")))
    assert Panel(series=(lost,)).values("y") == [1] and Panel(series=(lost,)).values("x") == [0, 1, 2]
    assert Panel(series=(upright,)).values("x") == [1] and sorted(Panel(series=(upright,)).values("y")) == [4, 5, 9]


def test_a_share_of_labels_stays_on_one_line() -> None:
    title = "nih_chestxray14: findings, 10 % of labels (synthetic)"
    whole = "10\u00a0%\u00a0of\u00a0labels"
    for width in (1.2, 1.5, 2.5, 3.4):
        lines = title_lines(Panel(title=title), width)
        assert sum(whole in line for line in lines) == 1 and " ".join(lines).replace("\u00a0", " ") == title
    assert len(title_lines(Panel(title=title), 4.6)) == 1
