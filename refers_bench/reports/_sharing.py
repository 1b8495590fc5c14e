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
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in shared(results, target):
        groups.setdefault(one.methods, []).append(one)
    # A group within a larger one has nothing to add but closeness, which the table of findings gives.
    largest = [group for group in groups if not any(set(group) < set(other) for other in groups)]
    return tuple(
        Note(text=_text(results, group, groups))
        for group in largest
        if any(method in group for method in methods if method is not None)
    )


def _text(results: Results, group: tuple[str, ...], groups: dict[tuple[str, ...], list[Finding]]) -> str:
    labels = [results.methods[method] for method in group]
    names = labels if len(set(labels)) == len(labels) else list(group)
    inside = [one.closeness for members, found in groups.items() if set(members) <= set(group) for one in found]
    told = []
    for part, images in _IMAGES.items():
        kinds = {one.relation for one in inside if one is not None and one.part == part}
        told += [f"{images}: {' or '.join(word for kind, word in _WORDS.items() if kind in kinds)}"] if kinds else []
    who = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{who} share scores in this column ({'; '.join(told)}): see the table of integrity."
