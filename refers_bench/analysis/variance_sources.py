"""Computes, of runs whose seeds are crossed, the variance of the AUC by source, and keeps it.

The part of the test sample is the covariance of two runs' mean AUCs over test patients (or images), the mean of all
pairs of runs: what a drawn test set does to all runs alike. What it does to a single run is in the parts of the seeds,
which are measured on these test images.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.held_out import DIFFER
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import mean_aucs
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.analysis.statistics.variance_components import TestVariance, VarianceComponents, variance_components
from refers_bench.store.plan import CROSSED

#: Raised when the same runs would give other figures.
IMPL = 1


@dataclass(frozen=True, kw_only=True)
class VarianceSources:
    """The rows of one column with crossed seeds.

    Attributes:
        rows: row name -> its variance by source.
        refusals: row name -> why there is none.
        unit: what the test sample consists of, "image" or "patient"; '' where no row has predictions.
        n_units: how many.
    """

    rows: Mapping[str, VarianceComponents]
    refusals: Mapping[str, str]
    unit: str = ""
    n_units: int = 0


def variance_sources(results: Results, target: Target) -> VarianceSources:
    """Variance by source in one column, computed or read back; without rows where seeds are not crossed."""
    found = {method: results.runs(method, target) for method in results.methods}
    crossed = {method: runs for method, runs in found.items() if any(one.run.crossed for one in runs)}
    if not crossed:
        return VarianceSources(rows={}, refusals={})
    about = {
        method: [[one.run.key, *one.run.crossed, one.run.counts, one.run.key in results.predicted] for one in runs]
        for method, runs in crossed.items()
    }
    compute = functools.partial(_computed, results, target, crossed)
    return kept(VarianceSources, {"variance_sources": IMPL, "runs": about}, results.store, compute)


def _computed(results: Results, target: Target, crossed: Mapping[str, Sequence[PlannedRun]]) -> VarianceSources:
    rows, refusals, units = {}, {}, ("", 0)
    for method, runs in crossed.items():
        summary = results.cells[method, target]
        if not summary.complete:
            reason = "runs average over different classes" if not summary.same_classes else ""
            refusals[method] = reason or f"only {summary.n} of {summary.n_planned} runs are there"
            continue
        values_SIO = design(runs)
        if np.isnan(values_SIO).any() or values_SIO.size != len(runs):
            refusals[method] = "not every combination of seeds is there once"
            continue
        loaded = [results.scores(one.run.key) for one in results.predicted_runs(method, target)]
        found = variance_components(values_SIO, shared_over_tests(loaded, runs_planned=len(runs)))
        if isinstance(found, Refusal):
            refusals[method] = found.reason
            continue
        rows[method] = found
        units = (loaded[0].units.name, loaded[0].units.count) if loaded else units
    return VarianceSources(rows=rows, refusals=refusals, unit=units[0], n_units=units[1])


def design(runs: Sequence[PlannedRun]) -> np.ndarray:
    """Mean AUCs by label subset, initialisation and data order; NaN where a combination is not planned."""
    places = [
        {level: place for place, level in enumerate(sorted(set(some)))} for some in zip(*_levels(runs), strict=True)
    ]
    values_SIO = np.full([len(some) for some in places], np.nan)
    for one, levels in zip(runs, _levels(runs), strict=True):
        values_SIO[tuple(some[level] for some, level in zip(places, levels, strict=True))] = one.run.mean_auc
    return values_SIO


def _levels(runs: Sequence[PlannedRun]) -> list[tuple[int, ...]]:
    return [one.run.crossed or (0,) * len(CROSSED) for one in runs]


def shared_over_tests(runs: Sequence[Predictions], *, runs_planned: int) -> TestVariance | Refusal:
    """What a test set that is drawn anew does to all runs alike.

    Args:
        runs: with stored predictions.
        runs_planned: how many there are in all.
    """
    if runs_planned < 2:
        return Refusal(reason="a single run")
    if len(runs) < runs_planned:
        return Refusal(reason=f"{len(runs)} of {runs_planned} runs have stored predictions")
    if any(runs[0].differs(one) for one in runs):
        return Refusal(reason=DIFFER)
    scores_RNK, places = stacked({"": runs}, runs[0].classes)
    try:
        found = mean_aucs(runs[0].labels_NK, scores_RNK, units=runs[0].units)
    except ValueError as error:
        return Refusal(reason=str(error))
    count, together = len(runs), found.mean(*places[""])
    # The variance of the mean is that of a single run, and of a pair's covariance, in these shares.
    single = sum(found.mean(run).se ** 2 for run in places[""]) / count
    if not together.df > 0:
        return Refusal(reason="the test images leave no spread")
    return TestVariance(variance=(count * together.se**2 - single) / (count - 1), df=together.df)
