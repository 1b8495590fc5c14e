"""Compares a published mean with our seeds by the prediction interval for a mean of other seeds.

If both come from the same normal distribution with an unknown spread, the difference of our mean over n seeds and one
over m further seeds is s * sqrt(1 / n + 1 / m) times a t value with n - 1 degrees of freedom, where s is the standard
deviation of ours. A published figure within 95 % of that distribution is what a replication can look like.

Source: Hahn and Meeker, Statistical Intervals, 1991, chapter 4 (prediction interval for the mean of m future values);
Patil, Peng and Leek, Perspectives on Psychological Science 11, 2016 (its use for replications). The paper repeats every
fine-tuning with three seeds (Zhou et al. 2022, Methods) and prints no spread: m is 3, and its spread is assumed to be
ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from refers_bench.analysis.statistics.power import detectable, power
from refers_bench.analysis.statistics.significance import POINT, Refusal, spread

#: Seeds of a published mean.
PUBLISHED_SEEDS = 3
PREDICTION = "t-test of a published mean against the prediction from our seeds, two-sided"
CONSISTENT, DIFFERS = "consistent", "differs"


@dataclass(frozen=True, kw_only=True)
class Replication:
    """A published mean against our seeds.

    Attributes:
        n: our seeds.
        n_published: seeds of the published mean.
        df: degrees of freedom.
        difference: our mean minus the published one, AUC in [-1, 1].
        half: half-width of the 95 % prediction interval: a replication differs by less in 95 % of repetitions.
        t: t statistic.
        p: two-sided P-value.
        power: share of repetitions in which a true difference of one AUC point is called `DIFFERS`, given this spread.
        detectable: true difference that is called so in 80 % of them.
        test: `PREDICTION`.
    """

    n: int
    n_published: int
    df: int
    difference: float
    half: float
    t: float
    p: float
    power: float
    detectable: float
    test: str = PREDICTION

    @property
    def verdict(self) -> str:
        """`CONSISTENT` within the prediction interval, `DIFFERS` outside of it."""
        return CONSISTENT if abs(self.difference) <= self.half else DIFFERS


def replication(
    values: Sequence[float], published: float, *, published_seeds: int = PUBLISHED_SEEDS
) -> Replication | Refusal:
    """Whether a published mean is one that seeds like ours could have given.

    Refused, with the reason, for fewer than two seeds and for seeds without spread.

    Args:
        values: one mean AUC per seed, in [0, 1].
        published: the published mean, in [0, 1].
        published_seeds: that it is taken over.

    Raises:
        ValueError: fewer than one published seed.
    """
    from scipy.special import stdtr, stdtrit

    if published_seeds < 1:
        raise ValueError(f"a published mean is taken over one seed or more, got {published_seeds}")
    found = spread(values, published)
    if isinstance(found, Refusal):
        return found
    mean, sd = found
    df = len(values) - 1
    error = sd * math.sqrt(1 / len(values) + 1 / published_seeds)
    t = (mean - published) / error
    return Replication(
        n=len(values),
        n_published=published_seeds,
        df=df,
        difference=mean - published,
        half=float(stdtrit(df, 0.975)) * error,
        t=t,
        p=float(2 * stdtr(df, -abs(t))),
        power=power(POINT, error=error, df=df),
        detectable=detectable(error=error, df=df),
    )
