"""Computes the power of a two-sided t-test, and the smallest true difference that it detects."""

import math

from refers_bench.evaluations import ALPHA

#: Share of repetitions that are to find the difference.
POWER = 0.8
#: Standard errors from which on the far side of the distribution weighs nothing; there SciPy may have no value for it.
_FAR = 7.0


def power(difference: float, *, error: float, df: float, alpha: float = ALPHA) -> float:
    """Probability that the test finds a true difference.

    Args:
        difference: true difference of the means.
        error: standard error of the observed difference, above 0.
        df: degrees of freedom of the test, above 0.
        alpha: level of the test.

    Raises:
        ValueError: error or df not above 0.

    Example:
        >>> round(power(2.0, error=(2 / 3) ** 0.5, df=4), 2)  # 2 SD between two groups of three seeds
        0.46
    """
    from scipy.special import nctdtr, stdtrit

    if not error > 0 or not df > 0:
        raise ValueError(f"needs a standard error and degrees of freedom above 0, got {error} and {df}")
    critical = float(stdtrit(df, 1 - alpha / 2))
    shift = abs(difference) / error
    missed = float(nctdtr(df, shift, critical))
    if math.isnan(missed):
        # SciPy has no value for some large shifts; the nearest ones are below 1e-40.
        missed = 0.0
    return 1 - missed + (float(nctdtr(df, shift, -critical)) if shift < _FAR else 0.0)


def detectable(*, error: float, df: float, alpha: float = ALPHA) -> float:
    """Smallest true difference that a share `POWER` of repetitions finds.

    Raises:
        ValueError: as `power`.
    """
    low, high = 0.0, error
    while power(high, error=error, df=df, alpha=alpha) < POWER:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, error=error, df=df, alpha=alpha) < POWER else (low, middle)
    return high
