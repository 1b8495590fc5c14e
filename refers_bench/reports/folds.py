"""Shows pooled AUCs of cross-validated columns with their intervals over patients, and the mean over folds beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc import mean_over_classes
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.analysis.statistics.seeds import mean_sd
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = ("pooled AUC", "95 % interval", "mean over folds ± SD", "pooled minus mean", "folds without an AUC")


def build(results: Results) -> Table | None:
    """One row per column with folds and method; None where no column has folds."""
    targets = [target for target in results.targets if target.folds]
    if not targets:
        return None
    images = {target: image_statistics(results, target) for target in targets}
    names = grid.titles(results)
    rows = [
        Row(
            title=f"{grid.where(target)}: {names[method]}",
            cells=_cells(results, method, target, images[target]),
            notes=notes.of_runs(results, method, target=target),
            keys=grid.keys(results, target, method),
        )
        for target in targets
        for method in names
        if (method, target) in results.cells
    ]
    units = dict.fromkeys(one.unit for one in images.values() if one is not None)
    return Table(
        id="folds",
        caption=f"{grid.caption_prefix(results, targets)}Cross-validated columns: mean class AUC in per cent over all "
        "images together (pooled), and the mean of the AUCs within each fold.",
        stub="Target and method",
        columns=columns(*_COLUMNS),
        rows=tuple(rows),
        notes=(
            "Pooled: each image is scored once, by the model that has not seen its patient; scores of different "
            "models are compared with each other, which the mean over folds never does.",
            *(f"Intervals: {INTERVAL[unit]}; they hold the trained models fixed." for unit in units),
            "SD over folds: no standard error, since the folds' models share most of their training images.",
        ),
    )


def _cells(results: Results, method: str, target: Target, images: ImageStatistics | None) -> tuple[Cell, ...]:
    interval = MISSING
    if images is not None and method in images.means:
        interval = comparisons.image_interval(images.means[method], images.unit, images.n_units)
    elif images is not None and method in images.refusals:
        interval = comparisons.no_interval(images.refusals[method])
    recorded = [_folds(results, one) for one in results.runs(method, target) if one.run.counts]
    return (grid.auc_cell(results, method, target), interval, *_beside(results.cells[method, target].mean, recorded))


def _beside(pooled: float, recorded: Sequence[Mapping[str, Mapping[str, Any]]]) -> tuple[Cell, Cell, Cell]:
    """The mean over folds, what the pooled AUC has more, and the classes and folds without an AUC.

    Args:
        pooled: mean over seeds, in [0, 1].
        recorded: of each seed, class -> what was recorded of its folds.
    """
    if not recorded or not all(recorded):
        return MISSING, MISSING, MISSING
    # A fold's figure is the mean over seeds of the mean over the classes that have an AUC in it.
    by_seed = [map(mean_over_classes, zip(*(one["auc"] for one in folds.values()), strict=True)) for folds in recorded]
    by_fold = [mean_sd(aucs)[0] for aucs in zip(*by_seed, strict=True)]
    defined = [one for one in by_fold if not math.isnan(one)]
    lacking = (
        f"{name}: {', '.join(map(str, one['undefined']))}" for name, one in recorded[0].items() if one["undefined"]
    )
    without = Cell(text="; ".join(lacking) or "none", kind="text")
    if not defined:
        return MISSING, MISSING, without
    mean, sd = mean_sd(defined)
    spread = sd * 100 if len(defined) > 1 else None
    shown = Cell(value=mean * 100, sd=spread, n=(len(defined),), title=f"{len(defined)} of {len(by_fold)} folds")
    return shown, Cell(value=(pooled - mean) * 100, decimals=2, signed=True), without


def _folds(results: Results, run: PlannedRun) -> Mapping[str, Mapping[str, Any]]:
    """Class -> what a finished run recorded of its folds; see `refers_bench.jobs.out_of_fold`."""
    facts: Mapping[str, Any] = results.records.get(run.run.key, {}).get("facts") or {}
    found: Mapping[str, Mapping[str, Any]] = facts.get("folds") or {}
    return found


REPORT = Report(label="Folds", build=build, order=26, part="significance")
