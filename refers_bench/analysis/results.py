"""Holds what has been planned and what of it is in the store: one frozen value that all reports are built from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench.analysis.cells import NO_METRICS, ClassMetrics, PlannedRun, Target
from refers_bench.analysis.choice import chosen, tuned
from refers_bench.analysis.statistics.seeds import DONE, FAILED, MISSING, UNAVAILABLE, SeedSummary, summarise
from refers_bench.analysis.stored_metrics import METRIC_COLUMNS, READ, checked_metrics
from refers_bench.errors import DataError, Problem, UserError, nearest
from refers_bench.machine import shared_out
from refers_bench.store import explanations, plan, records, rules
from refers_bench.store.collection import without_collection
from refers_bench.store.origin import bundle_of
from refers_bench.store.plan import CROSSED, Cell, Job, Plan
from refers_bench.store.results import ResultStore
from refers_bench.store.rules import Rules

if TYPE_CHECKING:
    import pandas as pd

    from refers_bench.analysis.predictions import Predictions

#: Results whose metrics repay the start of another process to read a part of them.
WORTH_A_PROCESS = 4000


@dataclass(frozen=True, kw_only=True)
class Results:
    """A plan and what the store holds of it.

    Attributes:
        name: the manifest's name.
        plan: as the lock holds it.
        store: the results store.
        planned: every cell, in the order of the lock; of candidates of tuning, and of rows that compete for one, those
            that were chosen.
        unchosen: the other rows, and the other candidates of all rows.
        records: key -> ``run.json`` of finished jobs.
        failures: key -> ``<key>.failed.json`` of jobs that have no result.
        damaged: key -> what is wrong with a result that cannot be used: it has no record here and gives no figure.
    """

    name: str
    plan: Plan
    store: Path
    planned: tuple[PlannedRun, ...] = ()
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unchosen: tuple[PlannedRun, ...] = ()
    damaged: Mapping[str, Problem] = field(default_factory=dict)

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Key -> job of the plan."""
        return {job.key: job for job in self.plan.jobs}

    def spec(self, key: str) -> Mapping[str, Any]:
        """Specification of a job; {} where the plan has no such job."""
        return self.jobs[key].spec if key in self.jobs else {}

    @cached_property
    def bundles(self) -> dict[str, str]:
        """Key -> the bundle, in words, that brought its result; of the finished jobs that were not computed here."""
        found = {key: bundle_of(record) for key, record in self.records.items()}
        return {key: bundle for key, bundle in found.items() if bundle}

    def imported(self, key: str) -> tuple[str, ...]:
        """What a result has from bundles, in words: itself, or what it started from; () for what was computed here."""
        if not self.bundles:
            return ()
        own = (f"imported from {self.bundles[key]}, not computed here",) if key in self.bundles else ()
        needed = [need for need in dict.fromkeys(self.needed(key)) if need in self.bundles] if not own else []
        kinds = {need: self.jobs[need].kind for need in needed}
        return own or tuple(f"rests on a {kinds[need]} that was imported from {self.bundles[need]}" for need in needed)

    def needed(self, key: str) -> Iterator[str]:
        """Keys of all jobs that a job needs, directly or not."""
        for need in self.jobs[key].needs if key in self.jobs else ():
            yield need
            yield from self.needed(need)

    @property
    def not_ours(self) -> int:
        """Cells with a figure that has something from a bundle."""
        return sum(bool(self.imported(one.run.key)) for one in self.planned if one.run.counts) if self.bundles else 0

    @cached_property
    def predicted(self) -> frozenset[str]:
        """Keys of the finished jobs whose predictions are there."""
        # Not Path: reports ask this of every cell.
        root = str(self.store)
        return frozenset(key for key in self.records if os.path.isfile(f"{root}/{key}/predictions.parquet"))  # noqa: PTH113

    @cached_property
    def predictions(self) -> dict[Target, tuple[tuple[str, str, str], ...]]:
        """Column -> (name, row name, key) of its finished runs with predictions, in the order of the rows.

        The name is the row's, or "row, seed 1" where a row has several such runs.
        """
        found: dict[Target, tuple[tuple[str, str, str], ...]] = {}
        for (method, target), planned in self._groups.items():
            runs = [one.run for one in planned if one.run.key in self.predicted]
            names = [f"{method}, seed {run.seed}" if len(runs) > 1 else method for run in runs]
            here = tuple((name, method, run.key) for name, run in zip(names, runs, strict=True))
            found[target] = (*found.get(target, ()), *here)
        return found

    def predicted_runs(self, method: str, target: Target) -> list[PlannedRun]:
        """Seeds of one table cell that have a figure and stored predictions."""
        return [one for one in self.runs(method, target) if one.run.counts and one.run.key in self.predicted]

    def predicted_keys(self, target: Target) -> dict[str, list[str]]:
        """Row name -> keys of `predicted_runs` in a column, of the rows that have any."""
        found = {method: self.predicted_runs(method, target) for method in self.methods if self.predicted}
        return {method: [one.run.key for one in some] for method, some in found.items() if some}

    def scores(self, key: str) -> Predictions:
        """Stored test predictions of a finished job, which all reports share; see `predictions.read_once`."""
        from refers_bench.analysis.predictions import FILE, read_once

        return read_once(self.store / key / FILE)

    @cached_property
    def crossed(self) -> bool:
        """Whether seeds are crossed."""
        return any(planned.run.crossed for planned in self.planned)

    @cached_property
    def tuned(self) -> bool:
        """Whether any cell is the best of several candidates."""
        return any(planned.candidate for planned in self.planned)

    @property
    def origin(self) -> str:
        """Where the figures come from: "run" (ours), "released" or "imported"."""
        return str(self.plan.manifest.get("origin", "run"))

    @cached_property
    def methods(self) -> dict[str, str]:
        """Row name -> title, in the order of the manifest."""
        return {run.method: run.label for run in self.planned}

    @property
    def reference(self) -> str:
        """The row that others are compared with, as the rules name it; '' without any."""
        return self.rules.reference or rules.reference_of({name: name in self.floors for name in self.methods})

    @cached_property
    def rules(self) -> Rules:
        """Which tests are primary, and when they count; of the plan alone, whatever came out."""
        return rules.of(self.plan.manifest, self.plan.cells)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Columns, in the order of the manifest."""
        return tuple(dict.fromkeys(run.target for run in self.planned))

    @cached_property
    def floors(self) -> frozenset[str]:
        """Names of the rows that are floors; see `refers_bench.store.plan.Cell`."""
        return frozenset(run.method for run in self.planned if run.floor)

    @cached_property
    def synthetic(self) -> frozenset[Target]:
        """Columns measured on procedural images."""
        return frozenset(run.target for run in self.planned if run.synthetic)

    @property
    def limit(self) -> int:
        """Images of each split that were used, to try a manifest out; 0 for all."""
        return int(self.plan.manifest.get("limit") or 0)

    def as_documented(self, target: Target) -> bool:
        """Whether a column is measured on a whole real dataset; published figures stand beside such columns alone."""
        return not self.limit and target not in self.synthetic

    @cached_property
    def footnotes(self) -> dict[str, tuple[str, ...]]:
        """Row name -> footnotes of that row."""
        notes: dict[str, dict[str, None]] = {}
        for run in self.planned:
            notes.setdefault(run.method, {}).update(dict.fromkeys(run.footnotes))
        return {method: tuple(texts) for method, texts in notes.items()}

    @cached_property
    def _groups(self) -> dict[tuple[str, Target], list[PlannedRun]]:
        """Runs of each table cell; seeds that share one result, where nothing is drawn, are one run."""
        groups: dict[tuple[str, Target], dict[str, PlannedRun]] = {}
        for run in self.planned:
            groups.setdefault((run.method, run.target), {}).setdefault(run.run.key or str(run.run.seed), run)
        return {where: list(runs.values()) for where, runs in groups.items()}

    @cached_property
    def cells(self) -> dict[tuple[str, Target], SeedSummary]:
        """(row name, column) -> summary of its seeds; combinations the manifest does not ask for are absent."""
        return {where: summarise([run.run for run in runs]) for where, runs in self._groups.items()}

    def runs(self, method: str, target: Target) -> tuple[PlannedRun, ...]:
        """The seeds of one table cell, in the order of the lock."""
        return tuple(self._groups.get((method, target), ()))

    def history(self, key: str, names: Iterable[str]) -> dict[str, tuple[tuple[int, ...], tuple[float, ...]]]:
        """Curves of a finished job: name -> (steps, values), in the order of `names` and then of recording.

        Args:
            key: of the job.
            names: exact names ("val/loss"), or beginnings that end in "/" ("loss/").
        """
        path = self.store / key / "history.parquet"
        if not path.is_file():
            return {}
        from refers_bench.store.schemas import read_table

        curves: dict[str, list[tuple[int, float]]] = {}
        for row in read_table(path, "history").to_pylist():
            if row["value"] is not None:
                curves.setdefault(row["name"], []).append((int(row["step"]), float(row["value"])))
        wanted: dict[str, None] = {}
        for name in names:
            alike = (found for found in curves if found.startswith(name)) if name.endswith("/") else (name,)
            wanted |= dict.fromkeys(found for found in alike if found in curves)
        columns = {name: zip(*curves[name], strict=True) for name in wanted}
        return {name: (steps, values) for name, (steps, values) in columns.items()}

    def failed_needs(self, key: str) -> tuple[str, ...]:
        """Keys of the failed jobs that keep a job from being done: itself, or jobs it needs."""
        if key in self.records:
            return ()
        own = (key,) if key in self.failures else ()
        needs = self.jobs[key].needs if key in self.jobs else ()
        return tuple(dict.fromkeys((*own, *(found for need in needs for found in self.failed_needs(need)))))

    def metrics_frame(self) -> pd.DataFrame:
        """Tidy: one row per method x target x seed x split x class."""
        import pandas as pd

        # Column by column: millions of rows as dictionaries would not fit a laptop.
        columns: dict[str, list[Any]] = {}
        for planned in self.planned:
            for name, values in self._metric_columns(planned).items():
                columns.setdefault(name, []).extend(values)
        return pd.DataFrame(columns)

    def _where(self, planned: PlannedRun) -> dict[str, Any]:
        """What tells a seed apart: its combination and candidate, and a limit, only in plans that have them."""
        levels = planned.run.crossed or (None,) * len(CROSSED)
        return {
            "manifest": self.name,
            "method": planned.method,
            "dataset": planned.target.dataset,
            "task": planned.target.task,
            "label_ratio": planned.target.label_ratio,
            "evaluation": planned.target.evaluation,
            "folds": planned.target.folds,
            "seed": planned.run.seed,
            **({f"{one}_seed": level for one, level in zip(CROSSED, levels, strict=True)} if self.crossed else {}),
            "synthetic": planned.synthetic,
            **({"candidate": " ".join(planned.candidate)} if self.tuned else {}),
            **({"limit": self.limit} if self.limit else {}),
        }

    def metric_rows(self) -> Iterable[dict[str, Any]]:
        """Rows of `metrics_frame`."""
        for planned in self.planned:
            columns = self._metric_columns(planned)
            yield from (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))

    def _metric_columns(self, planned: PlannedRun) -> dict[str, Sequence[Any]]:
        """Columns of the metrics of one seed."""
        found = planned.metrics
        repeated = {name: (value,) * len(found) for name, value in self._where(planned).items()}
        own = {name: getattr(found, attribute) for name, attribute in METRIC_COLUMNS.items()}
        return {**repeated, **own, "key": (planned.run.key,) * len(found)}

    def cell_rows(self) -> Iterable[dict[str, Any]]:
        """Tidy: one row per method x target x seed."""
        for planned in self.planned:
            run = planned.run
            yield {
                **self._where(planned),
                "state": run.state,
                "reason": run.reason,
                "mean_auc": run.mean_auc if run.counts else None,
                "n_classes_defined": len(run.defined),
                "n_classes": run.n_classes,
                "key": run.key,
            }


def load(results: Path, name: str) -> Results:
    """Read a manifest's lock and what the store holds of it.

    Args:
        results: the results folder, with ``<name>/plan.lock.json`` and ``store/``.
        name: the manifest's name.

    Raises:
        UserError: not planned yet, or the lock cannot be read.
    """
    path = results / name / plan.LOCK
    if not path.is_file():
        known = plan.known_names(results)
        raise UserError(
            f"manifest '{name}' has no plan here",
            allowed=", ".join(known) or "none yet: 'refers-bench plan MANIFEST' writes one",
            nearest=nearest(name, known),
            path=path,
        )
    return of_plan(plan.read(path), store=results / "store", name=name)


def of_plan(planned: Plan, *, store: Path, name: str) -> Results:
    """`Results` of a plan, whose manifest may be called otherwise here; what reports read of them has been checked."""
    done: dict[str, Mapping[str, Any]] = {}
    damaged: dict[str, Problem] = {}
    results_store = ResultStore(store.parent)
    # One listing instead of two questions a job: a store may lie on a slow, shared disk.
    there, keys = results_store.listing(), [job.key for job in planned.jobs]
    failures = {key: results_store.failure(key) or {} for key in keys if key in there.failed}
    for key in (*keys, *_explaining(store.parent, name)):
        if key in there.done:
            try:
                done[key] = records.read(store / key)
            except DataError as error:
                damaged[key] = error.problems[0]
    cells = {cell.key for cell in planned.cells}
    with without_collection():
        asked = [(key, _read_of(record), key in cells) for key, record in done.items()]
        metrics = dict(zip(done, shared_out(checked_metrics, asked, store, worth=WORTH_A_PROCESS), strict=True))
        damaged |= {key: found for key, found in metrics.items() if isinstance(found, Problem)}
        sound = {key: done[key] for key in keys if key in done and key not in damaged}
        results = Results(name=name, plan=planned, store=store, records=sound, failures=failures, damaged=damaged)
        found = {key: one for key, one in metrics.items() if isinstance(one, ClassMetrics)}
        runs = [_planned(cell, results, found.get(cell.key, NO_METRICS)) for cell in planned.cells]
    best, candidates = tuned(runs)
    kept, rows = chosen(best)
    return replace(results, planned=kept, unchosen=(*rows, *candidates))


def _explaining(results: Path, name: str) -> list[str]:
    """Keys of the jobs that explain cells, which stand in no plan."""
    with contextlib.suppress(UserError):  # whoever shows explanations reports it
        return [key for one in explanations.read(results, name) for key in (one.attend, one.localise)]
    return []


def _read_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Name -> recorded digest of the files that reports read."""
    return {name: digest for name, digest in record.get("files", {}).items() if name in READ}


def _planned(cell: Cell, results: Results, found: ClassMetrics) -> PlannedRun:
    state, reason = _state(cell.key, results)
    if state == DONE and not found.defined("test"):
        reasons = dict.fromkeys(one.undefined for one in found if one.split == "test" and one.undefined)
        reason = "no class has an AUC: " + ", ".join(reasons)
    n_classes = len(results.spec(cell.key).get("classes", ()))
    return PlannedRun.of(cell, found, state=state, reason=reason, n_classes=n_classes)


def _state(key: str, results: Results) -> tuple[str, str]:
    """State of a job and why it is not done: its own failure, else that of a job it needs."""
    if key in results.records:
        return DONE, ""
    if key in results.damaged:
        return FAILED, f"damaged: {results.damaged[key]}"
    if key not in results.jobs:
        return MISSING, "not in the plan"
    job = results.jobs[key]
    if job.unavailable:
        return UNAVAILABLE, job.unavailable
    if key in results.failures:
        return FAILED, f"failed: {results.failures[key].get('category', 'unknown')}"
    for need in job.needs:
        state, reason = _state(need, results)
        if state in (FAILED, UNAVAILABLE):
            return state, reason if state == UNAVAILABLE else f"{results.jobs[need].kind} {reason}"
    return MISSING, "not run yet"
