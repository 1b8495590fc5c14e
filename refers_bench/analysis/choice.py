"""Chooses, of the rows that compete for one row of a table, the best on validation images in each column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from refers_bench.analysis.cells import NO_METRICS, PlannedRun, Target
from refers_bench.analysis.statistics.seeds import DONE, MISSING


def chosen(cells: Iterable[PlannedRun]) -> tuple[tuple[PlannedRun, ...], tuple[PlannedRun, ...]]:
    """Of rows that compete for one, the best on validation in each column; and those that were not chosen.

    The best has the highest mean over its seeds of the mean class AUC on the validation images. While a seed of any
    of them is missing, the column's choice is open, and it is shown as missing. Test images are never looked at.
    """
    cells = list(cells)
    groups: dict[tuple[str, Target], dict[str, list[PlannedRun]]] = {}
    for cell in cells:
        if cell.best_of:
            groups.setdefault((cell.best_of, cell.target), {}).setdefault(cell.method, []).append(cell)
    winners: dict[tuple[str, Target], tuple[str, bool]] = {}
    for where, rows in groups.items():
        means = {
            method: sum(cell.validation_auc for cell in runs) / len(runs)
            for method, runs in rows.items()
            if all(cell.run.state == DONE for cell in runs)
        }
        usable = {method: mean for method, mean in means.items() if not math.isnan(mean)}
        best = max(usable, key=lambda method: usable[method]) if usable else next(iter(rows))
        winners[where] = (best, len(means) == len(rows) and bool(usable))
    kept, left = [], []
    for cell in cells:
        if not cell.best_of:
            kept.append(cell)
            continue
        (best, decided), rows = winners[cell.best_of, cell.target], groups[cell.best_of, cell.target]
        if cell.method != best:
            left.append(cell)
            continue
        kept.append(_as_best(cell, decided=decided, rivals=[row for row in rows if row != best]))
    return tuple(kept), tuple(left)


def _as_best(cell: PlannedRun, *, decided: bool, rivals: Sequence[str]) -> PlannedRun:
    where = f"{cell.target.dataset} {cell.target.task} {cell.target.label_ratio * 100:g} %{cell.target.suffix}"
    if decided:
        note = f"{where}: {cell.method} has the best AUC on validation, before {', '.join(rivals)}"
        if cell.target.folds:
            note += "; images validate in one fold and are tested in the next"
        return replace(cell, method=cell.best_of, footnotes=(*cell.footnotes, note))
    reason = cell.run.reason or "not all rows that compete for this one are done"
    state = cell.run.state if cell.run.state != DONE else MISSING
    run = replace(cell.run, state=state, reason=reason, mean_auc=float("nan"), defined=())
    return replace(cell, method=cell.best_of, run=run, metrics=NO_METRICS)
