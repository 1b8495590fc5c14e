"""Which difference can so few seeds find at all: power, smallest significant and detectable differences?

For two independent groups of n seeds each with a common standard deviation, two-sided two-sample t-test.
"""

from __future__ import annotations

import math

#: A test at this level, and the share of repetitions that are to find the difference.
ALPHA, POWER = 0.05, 0.8


def _critical(n: int, alpha: float) -> tuple[int, float]:
    from scipy.special import stdtrit

    if n < 2:
        raise ValueError(f"needs at least two seeds a group, got {n}")
    if not 0 < alpha < 1:
        raise ValueError(f"a level lies between 0 and 1, got {alpha}")
    df = 2 * n - 2
    return df, float(stdtrit(df, 1 - alpha / 2))


def power(*, difference: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Probability that the t-test finds a true difference.

    Args:
        difference: true difference of the means.
        sd: standard deviation within a group, above 0.
        n: seeds of each group, at least 2.
        alpha: two-sided level.

    Raises:
        ValueError: n below 2, sd not above 0, a level outside (0, 1).

    Example:
        >>> round(power(difference=2.0, sd=1.0, n=3), 2)
        0.46
    """
    from scipy.special import nctdtr

    if not sd > 0:
        raise ValueError(f"needs a standard deviation above 0, got {sd}")
    df, critical = _critical(n, alpha)
    shift = abs(difference) / (sd * math.sqrt(2 / n))
    return 1 - float(nctdtr(df, shift, critical)) + float(nctdtr(df, shift, -critical))


def smallest_significant(*, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Smallest observed difference that the test calls significant at this spread.

    Example:
        >>> round(smallest_significant(sd=0.3, n=3), 2)
        0.68
    """
    _, critical = _critical(n, alpha)
    return critical * sd * math.sqrt(2 / n)


def detectable(*, sd: float, n: int, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """Smallest true difference that a share `wanted` of repetitions finds.

    Raises:
        ValueError: as `power`, or `wanted` outside (alpha, 1).
    """
    if not alpha < wanted < 1:
        raise ValueError(f"a power lies between the level {alpha} and 1, got {wanted}")
    low, high = 0.0, sd
    while power(difference=high, sd=sd, n=n, alpha=alpha) < wanted:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if power(difference=middle, sd=sd, n=n, alpha=alpha) < wanted else (low, middle)
    return high
