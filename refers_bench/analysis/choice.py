"""Chooses by AUC on validation images: of the candidates of tuning, and of the rows that compete for one of a table.

Test images are never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refers_bench.analysis.cells import NO_METRICS, PlannedRun, Target
from refers_bench.analysis.statistics.seeds import DONE, FAILED, MISSING

#: Reason of a run whose loss was not finite: as a candidate of tuning it was tried, and lost.
DIVERGED = "failed: nan"


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What was chosen.

    Attributes:
        best: it; what the choice waits for while it is open.
        open: why nothing could be chosen yet; '' where it was.
    """

    best: Any
    open: str = ""


def tuned(runs: Iterable[PlannedRun]) -> tuple[tuple[PlannedRun, ...], tuple[PlannedRun, ...]]:
    """Of the candidates of each row, column and seed the best on validation, and those that were not chosen.

    Of candidates that are equally good the first in the manifest's order is chosen. A candidate whose loss was not
    finite is not chosen, and the footnote of the one that is says so. While any other is missing or has no AUC on
    the validation images, the choice is open: that one stands for the seed, without a figure.
    """
    runs = list(runs)
    groups: dict[Hashable, list[PlannedRun]] = {}
    for one in runs:
        if one.candidate:
            groups.setdefault(_place(one), []).append(one)
    choices = {place: _chosen({one.candidate: [one] for one in some}, lost=True) for place, some in groups.items()}
    kept, left = [], []
    for one in runs:
        choice = choices.get(_place(one)) if one.candidate else None
        if choice is None:
            kept.append(one)
        elif one.candidate != choice.best:
            left.append(one)
        elif choice.open:
            kept.append(_open(one, choice.open))
        else:
            lost = [", ".join(other.candidate) for other in groups[_place(one)] if other.run.reason == DIVERGED]
            notes = (f"not chosen, as their loss was not finite: {' and '.join(lost)}",) if lost else ()
            kept.append(replace(one, footnotes=(*one.footnotes, *notes)))
    return tuple(kept), tuple(left)


def _place(one: PlannedRun) -> Hashable:
    return (one.method, one.target, one.run.seed)


def chosen(runs: Iterable[PlannedRun]) -> tuple[tuple[PlannedRun, ...], tuple[PlannedRun, ...]]:
    """Of rows that compete for one, the best on validation in each column; and those that were not chosen.

    The best has the highest mean over its seeds of the mean class AUC on the validation images. While a seed of any
    of them is missing or has no such AUC, the column's choice is open: that row stands there, without a figure.
    """
    runs = list(runs)
    groups: dict[tuple[str, Target], dict[str, list[PlannedRun]]] = {}
    for one in runs:
        if one.best_of:
            groups.setdefault((one.best_of, one.target), {}).setdefault(one.method, []).append(one)
    choices = {where: _chosen(rows) for where, rows in groups.items()}
    kept, left = [], []
    for one in runs:
        if not one.best_of:
            kept.append(one)
            continue
        choice, rows = choices[one.best_of, one.target], groups[one.best_of, one.target]
        if one.method != choice.best:
            left.append(one)
            continue
        row = replace(one, method=one.best_of)
        kept.append(_open(row, choice.open) if choice.open else _as_best(row, one.method, rivals=rows))
    return tuple(kept), tuple(left)


def _chosen(rivals: Mapping[Any, Sequence[PlannedRun]], *, lost: bool = False) -> _Choice:
    """The best on validation of some rivals, each with its runs.

    Args:
        rivals: in their order, of which the first of equals is chosen.
        lost: whether one whose loss was not finite has lost; else it is missing.
    """
    means: dict[Hashable, float] = {}
    for name, runs in rivals.items():
        if lost and all(one.run.state == FAILED and one.run.reason == DIVERGED for one in runs):
            continue
        if any(one.run.state != DONE for one in runs):
            return _Choice(best=name, open="not all that it is to be chosen from are done")
        means[name] = sum(one.validation_auc for one in runs) / len(runs)
        if math.isnan(means[name]):
            said = f"{runs[0].method} {' '.join(runs[0].candidate)}".rstrip()
            return _Choice(best=name, open=f"no choice: {said} has no AUC on validation")
    if not means:
        return _Choice(best=next(iter(rivals)), open="no candidate has a finite loss")
    return _Choice(best=max(means, key=lambda name: means[name]))


def _as_best(row: PlannedRun, method: str, *, rivals: Iterable[str]) -> PlannedRun:
    """A run of the row that was chosen, with the note that says so."""
    where = f"{row.target.dataset} {row.target.task} {row.target.label_ratio * 100:g} %{row.target.suffix}"
    others = ", ".join(other for other in rivals if other != method)
    note = f"{where}: {method} has the best AUC on validation, before {others}"
    if row.target.folds:
        note += "; images validate in one fold and are tested in the next"
    return replace(row, footnotes=(*row.footnotes, note))


def _open(one: PlannedRun, reason: str) -> PlannedRun:
    """A run in whose place nothing could be chosen yet: it has no figure."""
    run = replace(one.run, mean_auc=math.nan, defined=())
    if run.state == DONE:
        run = replace(run, state=MISSING, reason=reason)
    return replace(one, run=run, metrics=NO_METRICS)
