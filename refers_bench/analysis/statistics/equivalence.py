"""Tests whether the mean of some seeds equals a figure within a stated margin (two one-sided t-tests, TOST).

Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. The figure counts as exact. A true
equality is found only as often as the spread of the seeds allows: with a standard deviation as large as the margin and
three seeds in one of ten repetitions. For a published mean, which has an error of its own, see
`refers_bench.analysis.statistics.replication`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from refers_bench.analysis.statistics.significance import Refusal, spread

#: Half-width of the band within which a figure counts as reproduced, AUC in [0, 1]: one AUC point.
MARGIN = 0.01
ALPHA = 0.05
TOST = "two one-sided one-sample t-tests (TOST)"
REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Some seeds against a figure.

    Attributes:
        n: seeds.
        df: degrees of freedom.
        margin: half-width of the band of equivalence.
        difference: the mean minus the figure.
        low: lower end of the 90 % interval of the difference, the one that belongs to two tests at 5 %.
        high: upper end.
        p: larger of the two one-sided P-values: small where the difference lies within the band.
        verdict: `REPRODUCED` when the interval lies within the band, `NOT_REPRODUCED` when it lies outside of it,
            `INCONCLUSIVE` when it crosses an edge.
        test: `TOST`.
    """

    n: int
    df: int
    margin: float
    difference: float
    low: float
    high: float
    p: float
    verdict: str
    test: str = TOST


def equivalence(values: Sequence[float], published: float, *, margin: float = MARGIN) -> Equivalence | Refusal:
    """Test whether the mean of some seeds equals a figure up to `margin`.

    Refused, with the reason, for fewer than two seeds and for seeds without spread.

    Args:
        values: one mean AUC per seed, in [0, 1].
        published: the figure, in [0, 1].
        margin: above 0.

    Raises:
        ValueError: a margin that is not above 0.
    """
    from scipy.special import stdtr, stdtrit

    if not margin > 0:
        raise ValueError(f"a margin is above 0, got {margin}")
    found = spread(values, published)
    if isinstance(found, Refusal):
        return found
    mean, sd = found
    df = len(values) - 1
    error = sd / math.sqrt(len(values))
    difference = mean - published
    half = float(stdtrit(df, 1 - ALPHA)) * error
    low, high = difference - half, difference + half
    p = max(float(stdtr(df, (difference - margin) / error)), float(stdtr(df, -(difference + margin) / error)))
    verdict = INCONCLUSIVE
    if -margin < low and high < margin:
        verdict = REPRODUCED
    elif low > margin or high < -margin:
        verdict = NOT_REPRODUCED
    return Equivalence(
        n=len(values), df=df, margin=margin, difference=difference, low=low, high=high, p=p, verdict=verdict
    )
