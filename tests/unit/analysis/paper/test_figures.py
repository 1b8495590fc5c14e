"""The error of a sum of independent figures, and its degrees of freedom by Welch's formula."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from refers_bench.analysis.paper.expression import Leaf
from refers_bench.analysis.paper.figures import Error, Evidence, Figure, combined


def test_degrees_of_freedom_are_those_of_welch() -> None:
    one, other = [1.0, 4.0, 6.0, 9.0], [2.0, 2.5, 4.5]
    parts = [Error(se=float(stats.sem(values)), df=len(values) - 1) for values in (one, other)]
    found = combined(iter(parts))
    tested = stats.ttest_ind(one, other, equal_var=False)
    assert found.df == pytest.approx(tested.df)
    assert found.se == pytest.approx(abs(sum(one) / 4 - sum(other) / 3) / abs(tested.statistic))


def test_normal_errors_add_up_in_squares() -> None:
    assert combined([Error(se=3.0), Error(se=4.0)]) == Error(se=5.0, df=math.inf)
    # A normal part lends its variance and no degrees of freedom: (9 + 16)^2 / (81 / 2).
    assert combined([Error(se=3.0, df=2), Error(se=4.0)]) == Error(se=5.0, df=pytest.approx(625 / 40.5))
    assert combined([Error(se=2.0, df=7)]) == Error(se=2.0, df=7)


def test_a_weighted_sum_of_independent_figures() -> None:
    figures = {"a": Figure(value=1.0, se=3.0, df=5), "b": Figure(value=2.0, se=1.0)}

    class Known(Evidence):
        def figure(self, leaf: Leaf) -> Figure:
            return figures[leaf[1]]

    found = Known().error({("auc", "a", "t", 1.0): -1.0, ("auc", "b", "t", 1.0): 4.0})
    assert found == Error(se=5.0, df=pytest.approx(625 / (81 / 5)))
