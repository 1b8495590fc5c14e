from __future__ import annotations

import math

import pytest

from refers_bench.analysis.statistics.seeds import SeedRun, SeedSummary, summarise
from refers_bench.analysis.statistics.significance import STUDENT, WELCH, Refusal, TTest, best, compare, t_test


def _cell(*aucs: float, planned: int = 0, defined: tuple[str, ...] = ("a",)) -> SeedSummary:
    runs = [SeedRun(seed=s, key="", state="done", mean_auc=auc, defined=defined) for s, auc in enumerate(aucs)]
    absent = range(len(aucs), planned)
    return summarise([*runs, *(SeedRun(seed=s, key="", state="missing", reason="not run yet") for s in absent)])


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([0.8], [0.7, 0.71], "needs at least two seeds each, has 1 and 2"),
        ([], [], "has 0 and 0"),
        ([0.8, 0.8, 0.8], [0.7, 0.71, 0.72], "zero variance"),
        ([0.8, 0.81], [0.7, 0.7], "zero variance"),
        ([0.3, 0.1 + 0.2], [0.7, 0.71], "zero variance"),
        ([0.8, math.nan], [0.7, 0.71], "not finite"),
    ],
)
def test_refused_with_a_reason(first: list[float], second: list[float], reason: str) -> None:
    found = t_test(first, second)
    assert isinstance(found, Refusal) and reason in found.reason


def test_p_comes_with_test_n_and_df() -> None:
    pooled, welch = t_test([0.8, 0.82], [0.7, 0.71, 0.72]), t_test([0.8, 0.82], [0.7, 0.71, 0.72], welch=True)
    assert isinstance(pooled, TTest) and (pooled.test, pooled.n, pooled.df) == (STUDENT, (2, 3), 3)
    assert isinstance(welch, TTest) and welch.test == WELCH and welch.df < 3


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (_cell(0.8, 0.81, planned=3), _cell(0.7, 0.71, 0.72), "only 2 of 3 seeds"),
        (_cell(planned=3), _cell(0.7, 0.71, 0.72), "no finished seed"),
        (_cell(0.8, 0.81), _cell(0.7, 0.71, defined=("a", "b")), "average over different classes"),
    ],
)
def test_cells_that_do_not_compare(first: SeedSummary, second: SeedSummary, reason: str) -> None:
    found = compare(first, second)
    assert isinstance(found, Refusal) and reason in found.reason


def test_best_leaves_out_incomplete_cells_and_keeps_ties() -> None:
    cells = {"a": _cell(0.9, planned=3), "b": _cell(0.7, 0.8), "c": _cell(0.8, 0.7), "d": _cell(0.6, 0.7)}
    assert best(cells) == ("b", "c")
    assert best({"a": _cell(0.9, planned=3)}) == ()
