"""Writes the footnote of rows whose scores follow from those of other rows, wherever such rows are compared."""

from __future__ import annotations

from refers_bench.analysis.cells import Target
from refers_bench.analysis.integrity import Finding, shared
from refers_bench.analysis.results import Results
from refers_bench.analysis.shared_scores import AFFINE, ALL, IDENTICAL, NEAR, NEGATIVE, POSITIVE
from refers_bench.render.table import Note

_WORDS = {IDENTICAL: "identical", AFFINE: "affine up to rounding", NEAR: "nearly identical"}
_IMAGES = {ALL: "all images", POSITIVE: "positive images", NEGATIVE: "negative images"}


def notes(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each group of rows that share scores and to which one of the methods belongs.

    Args:
        results: the results.
        *methods: row names.
        target: their column.
    """
    if target is None:
        return ()
    return tuple(
        Note(text=f"{names(results, group)} share scores in this column ({_how(inside)}): see the table of integrity.")
        for group, inside in groups(results, target).items()
        if any(method in group for method in methods if method is not None)
    )


def groups(results: Results, target: Target) -> dict[tuple[str, ...], list[Finding]]:
    """Rows of a column that share scores -> the findings about them; the largest groups alone."""
    found: dict[tuple[str, ...], list[Finding]] = {}
    for one in shared(results, target):
        found.setdefault(one.methods, []).append(one)
    # A group within a larger one has nothing to add but closeness, which the table of findings gives.
    return {
        group: [one for members, several in found.items() if set(members) <= set(group) for one in several]
        for group in found
        if not any(set(group) < set(other) for other in found)
    }


def names(results: Results, group: tuple[str, ...]) -> str:
    """The titles of some rows: "A, B and C"."""
    labels = [results.methods[method] for method in group]
    known = labels if len(set(labels)) == len(labels) else list(group)
    return f"{', '.join(known[:-1])} and {known[-1]}"


def _how(found: list[Finding]) -> str:
    """In which way the scores follow from one another: "positive images: identical"."""
    told = []
    for part, images in _IMAGES.items():
        about = [one.closeness for one in found if one.closeness is not None]
        kinds = {one.relation for one in about if one.part == part}
        told += [f"{images}: {' or '.join(word for kind, word in _WORDS.items() if kind in kinds)}"] if kinds else []
    return "; ".join(told)
