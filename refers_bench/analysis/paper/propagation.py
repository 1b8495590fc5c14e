"""Computes the confidence limits of an expression of figures, with a limit for each argument of a minimum or maximum.

The smallest of k values lies at or above a limit when each of the k does, so its lower limit is the lowest of theirs,
uncorrected (intersection-union test). It lies below a limit when any of the k does, and any of k may do so by chance,
so its upper limit is the lowest of theirs at a k-th of the level, the first step of Holm's procedure. The largest of k
values has it the other way round. Both limits hold whatever the values' correlation.

Source: Berger, Technometrics 24, 1982 (intersection-union); Holm, Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from refers_bench.analysis.paper.expression import REDUCTIONS, Leaf, leaves, value
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


def limits(
    tree: ast.expr, found: Mapping[Leaf, Figure], names: Mapping[str, Any], evidence: Evidence, *, tails: Tails
) -> Limits:
    """The confidence limits of an expression.

    Args:
        tree: the expression.
        found: its figures.
        names: values of its free names.
        evidence: where the figures come from: it knows how they vary together.
        tails: levels of the two limits.

    Raises:
        Undecidable: the evidence has no error for the figures together.
    """
    return _limits(tree, found, names, evidence, tails, {})


def _limits(
    tree: ast.expr,
    found: Mapping[Leaf, Figure],
    names: Mapping[str, Any],
    evidence: Evidence,
    tails: Tails,
    taken: Mapping[ast.expr, ast.expr],
) -> Limits:
    """`limits`, where some minima and maxima have the value of the argument that stands in `taken`."""
    choice = _outermost_choice(tree, taken)
    if choice is None:
        known = {leaf: found[leaf] for leaf in leaves(tree, names, taken)}
        return linear(lambda figures: value(tree, figures.__getitem__, names, taken), known, evidence, tails=tails)
    call, over = choice
    figures = {leaf: figure.value for leaf, figure in found.items()}
    here = value(call, figures.__getitem__, names, taken)
    step = 1e-3 * max(1.0, abs(here))
    below, above = (
        value(tree, figures.__getitem__, names, {**taken, call: ast.Constant(here + move)}) for move in (-step, step)
    )
    # Where the expression falls as the largest rises, as in "REFERS minus the best baseline", it takes the smallest.
    over = over if above >= below else {"min": "max", "max": "min"}[over]
    each = shared(tails, over=over, count=len(call.args))
    return reduced([_limits(tree, found, names, evidence, each, {**taken, call: one}) for one in call.args], over=over)


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


def _outermost_choice(tree: ast.expr, taken: Mapping[ast.expr, ast.expr]) -> tuple[ast.Call, str] | None:
    """The first minimum or maximum from the outside, and its name; None where none is left."""
    nodes: list[Any] = [tree]
    for node in nodes:  # grows as it is read
        while node in taken:
            node = taken[node]
        match node:
            case ast.Call(func=ast.Name(id="min" | "max" as name)):
                return node, name
        nodes += ast.iter_child_nodes(node)
    return None
