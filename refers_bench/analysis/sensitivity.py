"""Measures how far the figures of tuned rows move with what is tuned: over all candidates, and by each constant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.choice import tuned
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import summarise

Candidate = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The candidates of one row in one column.

    Attributes:
        method: row name.
        row: of tables: the method, or what it competes for with others (`best_of`).
        target: the column.
        means: candidate -> mean over its seeds of the test AUC, in [0, 1], in the manifest's order; NaN where not all
            seeds have a figure.
        chosen: candidate -> seeds that it was chosen for, on validation.
    """

    method: str
    row: str
    target: Target
    means: Mapping[Candidate, float]
    chosen: Mapping[Candidate, Sequence[int]]

    @property
    def complete(self) -> dict[Candidate, float]:
        """The candidates with a figure of every seed."""
        return {candidate: mean for candidate, mean in self.means.items() if not math.isnan(mean)}

    @property
    def spread(self) -> float:
        """Highest less lowest mean test AUC of the complete candidates; NaN for fewer than two."""
        return _spread(list(self.complete.values()))

    def spread_of(self, constant: str) -> float:
        """The spread while one constant changes and the others stay: its mean over what the others can be.

        Args:
            constant: dotted name.

        Returns:
            In [0, 1]; NaN where no two complete candidates differ in this constant alone.
        """
        groups: dict[Candidate, list[float]] = {}
        for candidate, mean in self.complete.items():
            rest = tuple(text for text in candidate if text.partition("=")[0] != constant)
            groups.setdefault(rest, []).append(mean)
        spreads = [found for some in groups.values() if not math.isnan(found := _spread(some))]
        return sum(spreads) / len(spreads) if spreads else math.nan


def sensitivities(results: Results) -> tuple[Sensitivity, ...]:
    """Each tuned row in each column, in the order of the manifest; rows that compete for one are rows of their own."""
    found = {one.run.key: one for one in (*results.planned, *results.unchosen)}
    groups: dict[tuple[str, Target], list[PlannedRun]] = {}
    for cell in results.plan.cells:
        if cell.candidate:
            one = replace(found[cell.key], method=cell.method, best_of=cell.best_of, candidate=cell.candidate)
            groups.setdefault((cell.method, one.target), []).append(one)
    return tuple(_sensitivity(method, target, runs) for (method, target), runs in groups.items())


def _sensitivity(method: str, target: Target, runs: Sequence[PlannedRun]) -> Sensitivity:
    by_candidate: dict[Candidate, list[PlannedRun]] = {}
    for one in runs:
        by_candidate.setdefault(one.candidate, []).append(one)
    summaries = {candidate: summarise([one.run for one in some]) for candidate, some in by_candidate.items()}
    chosen: dict[Candidate, list[int]] = {}
    for one in tuned(runs)[0]:
        if one.run.counts:
            chosen.setdefault(one.candidate, []).append(one.run.seed)
    return Sensitivity(
        method=method,
        row=runs[0].best_of or method,
        target=target,
        means={name: summary.mean if summary.complete else math.nan for name, summary in summaries.items()},
        chosen=chosen,
    )


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values) if len(values) > 1 else math.nan
