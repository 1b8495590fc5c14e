"""Computes the confidence limits of an expression of figures, with a limit for each argument of a minimum or maximum.

The smallest of k values lies at or above a limit when each of the k does, so its lower limit is the lowest of theirs,
uncorrected (intersection-union test). It lies below a limit when any of the k does, and any of k may do so by chance,
so its upper limit is the lowest of theirs at a k-th of the level, the first step of Holm's procedure. The largest of k
values has it the other way round. Both limits hold whatever the values' correlation.

Source: Berger, Technometrics 24, 1982 (intersection-union); Holm, Scandinavian Journal of Statistics 6, 1979.
"""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from refers_bench.analysis.paper.expression import REDUCTIONS, Expression, Leaf
from refers_bench.analysis.paper.figures import Evidence, Figure

#: Level of either limit: together they are a 95 % interval.
ALPHA = 0.025
#: Levels of the lower and of the upper limit.
Tails = tuple[float, float]
#: (lower, upper) limit.
Limits = tuple[float, float]


def shared(tails: Tails, *, over: str, count: int) -> Tails:
    """The levels at which each of `count` values is tested, so that their "min" or "max" keeps `tails`."""
    low, high = tails
    return (low, high / count) if over == "min" else (low / count, high)


def reduced(limits: Sequence[Limits], *, over: str) -> Limits:
    """Limits of the "min" or "max" of some values."""
    reduce = REDUCTIONS[over]
    return reduce([low for low, _ in limits]), reduce([high for _, high in limits])


def limits(expression: Expression, found: Mapping[Leaf, Figure], evidence: Evidence, *, tails: Tails) -> Limits:
    """The confidence limits of an expression.

    Args:
        expression: the expression.
        found: its figures.
        evidence: where the figures come from: it knows how they vary together.
        tails: levels of the two limits.

    Raises:
        Undecidable: the evidence has no error for the figures together.
    """
    choice = expression.choice()
    if choice is None:
        known = {leaf: found[leaf] for leaf in expression.leaves()}
        return linear(lambda figures: expression.value(figures.__getitem__), known, evidence, tails=tails)
    call, over = choice
    figures = {leaf: figure.value for leaf, figure in found.items()}
    here = replace(expression, tree=call).value(figures.__getitem__)
    step = 1e-3 * max(1.0, abs(here))
    moved = (expression.taking(call, ast.Constant(here + move)) for move in (-step, step))
    below, above = (one.value(figures.__getitem__) for one in moved)
    # Where the expression falls as the largest rises, as in "REFERS minus the best baseline", it takes the smallest.
    over = over if above >= below else {"min": "max", "max": "min"}[over]
    each = shared(tails, over=over, count=len(call.args))
    arguments = (expression.taking(call, one) for one in call.args)
    return reduced([limits(one, found, evidence, tails=each) for one in arguments], over=over)


def linear(
    total: Callable[[Mapping[Leaf, float]], float], found: Mapping[Leaf, Figure], evidence: Evidence, *, tails: Tails
) -> Limits:
    """The confidence limits of a smooth function of figures, by its slopes; the value twice where all are exact."""
    from scipy.special import ndtri, stdtrit

    figures = {leaf: figure.value for leaf, figure in found.items()}
    centre = total(figures)
    # Every figure is moved by a thousandth of its error: the slope, whatever the expression.
    slopes = {
        leaf: (total({**figures, leaf: figure.value + figure.se / 1000}) - centre) * 1000 / figure.se
        for leaf, figure in found.items()
        if figure.se > 0
    }
    weights = {leaf: slope for leaf, slope in slopes.items() if slope}
    if not weights:
        return centre, centre
    error = evidence.error(weights)
    low, high = (
        float(ndtri(1 - tail) if math.isinf(error.df) else stdtrit(error.df, 1 - tail)) * error.se for tail in tails
    )
    return centre - low, centre + high
