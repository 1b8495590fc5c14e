"""Finds runs whose scores of a class follow from one another: identical, affine up to rounding, or nearly identical.

Every pair of runs is fitted by least squares; no pair is left out because its correlation is low, since rounding alone
can bring the correlation of two affine score sets of a small range below 0.99.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

IDENTICAL, AFFINE, NEAR = "identical scores", "affinely related scores", "nearly identical scores"
#: The parts of the test images that are analysed separately; '' is all of it.
ALL, POSITIVE, NEGATIVE = "", "positive", "negative"
#: Distinct scores that a run needs at least: fewer agree by chance.
FEWEST = {IDENTICAL: 2, AFFINE: 4, NEAR: 10}
#: Nearly identical: |r| at least this, and no score further from the fitted line than this many units or this share of
#: the range. The gap is wide: in the released files such pairs have r >= 0.986 and at most 8 units, all other pairs
#: with such an r 90 units and more.
LEAST_R, MOST_UNITS, MOST_OF_RANGE = 0.98, 10.0, 0.01
#: Decimal places that float32 scores in [0, 1] still show.
MOST_DECIMALS = 6
#: Images that are looked at first: a pair that they refute needs no look at the others.
_SAMPLE = 256
#: How close each kind is.
STRENGTH = {IDENTICAL: 3, AFFINE: 2, NEAR: 1}
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How the scores of two runs on one class are related.

    Attributes:
        kind: `IDENTICAL`, `AFFINE` or `NEAR`.
        part: `ALL`, `POSITIVE` or `NEGATIVE` images.
        runs: first and second, by place.
        r: Pearson's correlation.
        residual: largest distance of a score of the second from the least-squares line over the first, in units.
        unit: the last digit that the second's scores show (0.001); None where they show no common one: then the
            residual is in thousandths of their range.
    """

    kind: str
    part: str
    runs: tuple[int, int]
    r: float
    residual: float
    unit: float | None


def decimals_of(scores_N: _Floats, *, most: int) -> int | None:
    """Decimal places that hold all scores exactly as float32, at most `most`; None when more are needed.

    Example:
        >>> decimals_of(np.array([0.25, 0.5]), most=4)
        2
    """
    for decimals in range(most + 1):
        if np.array_equal(np.round(scores_N, decimals).astype(np.float32), scores_N.astype(np.float32)):
            return decimals
    return None


def relations(scores_RN: _Floats, labels_N: npt.NDArray[np.int8]) -> Iterator[Relation]:
    """The relations of R runs on the same N images, of each pair and part the closest; NaN or infinity have none."""
    usable = [row for row in range(len(scores_RN)) if np.isfinite(scores_RN[row]).all()]
    places = {row: decimals_of(scores_RN[row], most=MOST_DECIMALS) for row in usable}
    units = {row: None if decimals is None else 10.0**-decimals for row, decimals in places.items()}
    for part, chosen_N in ((ALL, np.ones(len(labels_N), bool)), (POSITIVE, labels_N == 1), (NEGATIVE, labels_N == 0)):
        yield from _of_part(scores_RN, chosen_N, units, part)


def _of_part(
    scores_RN: _Floats, chosen_N: npt.NDArray[np.bool_], units: Mapping[int, float | None], part: str
) -> Iterator[Relation]:
    """The relations on some of the images."""
    scores = {row: scores_RN[row, chosen_N] for row in units}
    distinct = {row: len(np.unique(values)) for row, values in scores.items()}
    rows = [row for row in scores if distinct[row] >= FEWEST[IDENTICAL]]
    if len(rows) < 2:
        return
    centred = np.stack([scores[row] - scores[row].mean() for row in rows])
    norms = np.linalg.norm(centred, axis=1)
    products = centred @ centred.T
    sample = np.unique(np.linspace(0, centred.shape[1] - 1, _SAMPLE).astype(int))
    for (a, one), (b, other) in combinations(enumerate(rows), 2):
        runs, unit = (one, other), units[other]
        if np.array_equal(scores[one][sample], scores[other][sample]) and np.array_equal(scores[one], scores[other]):
            yield Relation(kind=IDENTICAL, part=part, runs=runs, r=1.0, residual=0.0, unit=unit)
            continue
        few = min(distinct[one], distinct[other])
        if few < FEWEST[AFFINE]:
            continue
        # The least-squares line of the second over the first.
        slope, r = products[a, b] / norms[a] ** 2, products[a, b] / (norms[a] * norms[b])
        affine = 1.01 * (abs(slope) * _half(scores[one], units[one]) + _half(scores[other], unit))
        span = float(np.ptp(scores[other]))
        near = max(MOST_UNITS * (unit or 0.0), MOST_OF_RANGE * span)
        near = near if abs(r) >= LEAST_R and few >= FEWEST[NEAR] else 0.0
        if np.abs(slope * centred[a, sample] - centred[b, sample]).max() > max(affine, near):
            continue
        residual = float(np.abs(slope * centred[a] - centred[b]).max())
        if residual <= max(affine, near):
            kind = AFFINE if residual <= affine else NEAR
            scaled = residual / (unit or 1e-3 * span)
            yield Relation(kind=kind, part=part, runs=runs, r=float(r), residual=scaled, unit=unit)


def _half(scores_N: _Floats, unit: float | None) -> float:
    """How far rounding may have moved a score: half a unit; of unrounded scores a millionth of their range."""
    return 0.5 * unit if unit is not None else 1e-6 * float(np.ptp(scores_N))


def cliques(pairs: Iterable[tuple[str, str]], order: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups whose members are all related to each other; every pair is in at least one, and none can be enlarged.

    Args:
        pairs: related names.
        order: all names, in the order in which groups and their members are given.
    """
    edges = {frozenset(pair) for pair in pairs}
    left = sorted(edges, key=lambda edge: sorted(map(order.index, edge)))
    found: list[tuple[str, ...]] = []
    covered: set[frozenset[str]] = set()
    for edge in left:
        if edge in covered:
            continue
        members = set(edge)
        for name in order:
            if name not in members and all(frozenset((name, member)) in edges for member in members):
                members.add(name)
        covered |= {one for one in edges if one <= members}
        found.append(tuple(name for name in order if name in members))
    return found
