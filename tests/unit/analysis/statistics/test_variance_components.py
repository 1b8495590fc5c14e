"""Components of variance are those of ANOVA by another route, and what cannot be estimated is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.analysis.statistics.variance_components import (
    INTERACTIONS,
    NO_INTERACTION,
    NOT_VARIED,
    TEST,
    TestVariance,
    VarianceComponents,
    variance_components,
)

NO_TEST = Refusal(reason="no predictions")
KNOWN = TestVariance(variance=4e-4, df=60)


def drawn(shape: tuple[int, int, int], *, seed: int = 0) -> np.ndarray:
    """AUCs of a crossed design, with an effect of each seed, and a rest."""
    rng = np.random.default_rng(seed)
    effects = (0.02 * rng.normal(size=[n if a == axis else 1 for a in range(3)]) for axis, n in enumerate(shape))
    return 0.8 + sum(effects) + 0.01 * rng.normal(size=shape)


def found(values: np.ndarray, test: TestVariance | Refusal = NO_TEST) -> VarianceComponents:
    result = variance_components(values, test)
    assert isinstance(result, VarianceComponents)
    return result


def mean_squares(values: np.ndarray, formula: str) -> pd.Series:
    """Of statsmodels' analysis of variance."""
    frame = pd.DataFrame([{"y": y, "s": s, "i": i, "o": o} for (s, i, o), y in np.ndenumerate(values)])
    table = sm.stats.anova_lm(ols(formula, frame).fit())
    return table["sum_sq"] / table["df"]


def test_two_crossed_seeds_are_a_two_way_layout() -> None:
    values = drawn((5, 3, 1))
    ms = mean_squares(values, "y ~ C(s) + C(i)")
    parts = found(values).parts
    # Expected mean squares of a two-way layout without repetition (Searle et al., chapter 4).
    assert parts["subset"].variance == pytest.approx((ms["C(s)"] - ms["Residual"]) / 3)
    assert parts["init"].variance == pytest.approx((ms["C(i)"] - ms["Residual"]) / 5)
    assert parts[INTERACTIONS].variance == pytest.approx(ms["Residual"])
    assert (parts["subset"].df, parts["init"].df, parts[INTERACTIONS].df) == (4, 2, 8)
    assert found(values).refusals == {"order": NOT_VARIED, TEST: "no predictions"}


def test_three_crossed_seeds_are_a_three_way_layout() -> None:
    values = drawn((4, 3, 2))
    ms = mean_squares(values, "y ~ (C(s) + C(i) + C(o)) ** 2")
    parts, rest = found(values).parts, ms["Residual"]
    si, so, io = (ms[f"C({a}):C({b})"] for a, b in ("si", "so", "io"))
    assert parts["subset"].variance == pytest.approx((ms["C(s)"] - si - so + rest) / 6)
    assert parts["init"].variance == pytest.approx((ms["C(i)"] - si - io + rest) / 8)
    assert parts["order"].variance == pytest.approx((ms["C(o)"] - so - io + rest) / 12)
    own = (si - rest) / 2 + (so - rest) / 3 + (io - rest) / 4 + rest
    assert parts[INTERACTIONS].variance == pytest.approx(own)


def test_of_one_seed_that_varies_the_part_is_the_variance_and_its_interval_that_of_chi_square() -> None:
    from scipy.stats import chi2, t

    values = drawn((1, 1, 9))
    result = found(values)
    part, ss = result.parts["order"], 8 * values.var(ddof=1)
    assert part.variance == pytest.approx(values.var(ddof=1)) and part.share == part.share_low == 1
    assert (part.low, part.high) == pytest.approx((ss / chi2(8).ppf(0.975), ss / chi2(8).ppf(0.025)), rel=0.05)
    half = t(8).ppf(0.975) * values.std(ddof=1) / 3
    assert result.mean == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half), abs=0.03 * half)
    assert result.refusals[INTERACTIONS] == NO_INTERACTION


def test_the_test_sample_takes_its_share() -> None:
    values = drawn((4, 3, 1))
    alone, beside = found(values), found(values, KNOWN)
    cut = {name: max(0.0, part.variance) for name, part in beside.parts.items()}
    assert beside.parts[TEST].variance == KNOWN.variance and TEST not in alone.parts
    assert {name: part.share for name, part in beside.parts.items()} == pytest.approx(
        {name: variance / sum(cut.values()) for name, variance in cut.items()}
    )
    assert {name: part.variance for name, part in alone.parts.items()} == pytest.approx(
        {name: part.variance for name, part in beside.parts.items() if name != TEST}
    )
    for part in beside.parts.values():
        assert 0 <= part.low <= max(0.0, part.variance) <= part.high
        assert 0 <= part.share_low <= part.share_high <= 1
    big = found(values, TestVariance(variance=1.0, df=60))
    assert big.largest == TEST and big.parts[TEST].share > 0.99


def test_a_negative_estimate_is_reported_and_counts_as_none() -> None:
    # Both subsets have one mean: what differs is the combination alone.
    values = np.array([[[0.80], [0.82]], [[0.82], [0.80]]])
    part = found(values).parts["subset"]
    assert part.variance == pytest.approx(-2e-4) and part.share == part.low == 0


def test_the_same_values_give_the_same_intervals() -> None:
    assert found(drawn((3, 3, 1)), KNOWN) == found(drawn((3, 3, 1)), KNOWN)


def test_what_is_refused() -> None:
    for values, reason in ((drawn((1, 1, 1)), "a single run"), (np.full((3, 2, 1), 0.7), "zero variance over seeds")):
        result = variance_components(values, KNOWN)
        assert isinstance(result, Refusal) and result.reason == reason
    for values in (np.zeros((3, 2)), np.full((3, 2, 1), np.nan)):
        with pytest.raises(ValueError, match="finite AUCs by subset, init, order"):
            variance_components(values, KNOWN)
