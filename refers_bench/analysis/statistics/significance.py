"""Tests whether one method is better than another, by the paper's two-sample t-test on mean class AUCs over seeds.

Source: Zhou et al., Nature Machine Intelligence 2022, Methods: independent two-sample t-test between the mean
class AUCs of REFERS and of the best baseline, over three fine-tuning seeds each.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from refers_bench.analysis.statistics.power import detectable, power
from refers_bench.analysis.statistics.seeds import DEPENDENT, SeedSummary, mean_sd, without_spread
from refers_bench.evaluations import ALPHA

#: Names of the tests, as they are printed.
STUDENT = "independent two-sample t-test, pooled variance"
WELCH = "Welch's t-test, unequal variances"
#: The same by the names that a manifest has for them.
TESTS = {"student": STUDENT, "welch": WELCH}
#: The difference that the power is stated for: one AUC point.
POINT = 0.01


@dataclass(frozen=True, kw_only=True)
class TTest:
    """A two-sided test of the difference of two means; no P-value comes without test, n and df.

    Attributes:
        test: `STUDENT` or `WELCH`.
        n: seeds of the first and the second group.
        difference: mean of the first minus mean of the second, AUC in [0, 1].
        low: lower end of the 95 % confidence interval of the difference.
        high: upper end.
        t: t statistic.
        df: degrees of freedom.
        p: two-sided P-value.
        hedges_g: difference over the pooled standard deviation, corrected for small n.
        detectable: smallest true difference found in 80 % of repetitions at P < alpha, given this spread and n.
        power: share of repetitions in which a true difference of `POINT` has P < alpha, given this spread and n.
    """

    test: str
    n: tuple[int, int]
    difference: float
    low: float
    high: float
    t: float
    df: float
    p: float
    hedges_g: float
    detectable: float
    power: float

    @property
    def p_higher(self) -> float:
        """One-sided P-value for a first mean above the second."""
        from scipy.special import stdtr

        return float(stdtr(self.df, -self.t))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no P-value."""

    reason: str


def spread(values: Sequence[float], figure: float) -> tuple[float, float] | Refusal:
    """Mean and standard deviation over seeds that a single figure can be tested against.

    Refused, with the reason, for fewer than two seeds, for seeds without spread, and for values that are not finite.

    Args:
        values: one mean AUC per seed, in [0, 1].
        figure: what they are tested against, in [0, 1].
    """
    if not all(math.isfinite(value) for value in (*values, figure)):
        return Refusal(reason="a value is not finite")
    if len(values) < 2:
        return Refusal(reason=f"needs at least two seeds, has {len(values)}")
    return Refusal(reason="zero variance over seeds") if without_spread(values) else mean_sd(values)


def t_test(
    first: Sequence[float], second: Sequence[float], *, welch: bool = False, alpha: float = ALPHA
) -> TTest | Refusal:
    """Two-sided two-sample t-test.

    Refused, with the reason, where the arithmetic would answer but the answer means nothing: a group of
    fewer than two values (no spread to compare with), a group without variance (P near 0 whatever the
    difference), values that are not finite.

    Args:
        first: one value per seed.
        second: one value per seed of the other method.
        welch: do not assume equal variances.
        alpha: level that the power is stated for.
    """
    # scipy.stats takes seconds to import; its distribution functions live in scipy.special.
    from scipy.special import stdtr, stdtrit

    refusal = _refusal(first, second)
    if refusal:
        return Refusal(reason=refusal)
    n1, n2 = len(first), len(second)
    (mean1, sd1), (mean2, sd2) = mean_sd(first), mean_sd(second)
    pooled = math.sqrt(((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / (n1 + n2 - 2))
    df: float = n1 + n2 - 2
    error = pooled * math.sqrt(1 / n1 + 1 / n2)
    if welch:
        share1, share2 = sd1**2 / n1, sd2**2 / n2
        error = math.sqrt(share1 + share2)
        df = (share1 + share2) ** 2 / (share1**2 / (n1 - 1) + share2**2 / (n2 - 1))
    difference = mean1 - mean2
    t = difference / error
    half = float(stdtrit(df, 0.975)) * error
    return TTest(
        test=WELCH if welch else STUDENT,
        n=(n1, n2),
        difference=difference,
        low=difference - half,
        high=difference + half,
        t=t,
        df=df,
        p=float(2 * stdtr(df, -abs(t))),
        hedges_g=difference / pooled * (1 - 3 / (4 * (n1 + n2 - 2) - 1)),
        detectable=detectable(error=error, df=df, alpha=alpha),
        power=power(POINT, error=error, df=df, alpha=alpha),
    )


def _refusal(first: Sequence[float], second: Sequence[float]) -> str:
    if not all(math.isfinite(value) for value in (*first, *second)):
        return "a value is not finite"
    if min(len(first), len(second)) < 2:
        return f"needs at least two seeds each, has {len(first)} and {len(second)}"
    return "zero variance over seeds" if without_spread(first) or without_spread(second) else ""


def compare(first: SeedSummary, second: SeedSummary, *, welch: bool = False, alpha: float = ALPHA) -> TTest | Refusal:
    """`t_test` of two table cells; refused unless both are complete and average over the same classes."""
    for cell in (first, second):
        if not cell.n:
            return Refusal(reason="no finished seed" if cell.state != "unavailable" else "not available")
        if not cell.same_classes:
            return Refusal(reason="seeds average over different classes")
        if not cell.complete:
            return Refusal(reason=f"only {cell.n} of {cell.n_planned} seeds are there")
        if not cell.independent:
            return Refusal(reason=DEPENDENT)
    if first.defined != second.defined:
        return Refusal(reason="the two methods average over different classes")
    return t_test(first.values, second.values, welch=welch, alpha=alpha)


def best(cells: Mapping[str, SeedSummary]) -> tuple[str, ...]:
    """Names of the complete cells with the highest mean, more than one on a tie; () when none is complete."""
    complete = {name: cell.mean for name, cell in cells.items() if cell.complete}
    top = max(complete.values(), default=math.nan)
    return tuple(name for name, mean in complete.items() if mean == top)


def made(p_values: Iterable[float | None]) -> int:
    """How many tests of a table were made: those that have a P-value."""
    return sum(p is not None for p in p_values)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over the P-values of one table; None stays None and does not count.

    Example:
        >>> holm([0.01, None, 0.04])
        [0.02, None, 0.04]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for done, (p, place) in enumerate(order):
        running = max(running, min(1.0, (len(order) - done) * p))
        adjusted[place] = running
    return adjusted
