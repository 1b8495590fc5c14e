"""Compares the results of a manifest with a stored baseline."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.analysis.cells import ClassMetric, ClassMetrics, PlannedRun
from refers_bench.analysis.compare import pairs
from refers_bench.analysis.compare.bands import FIXED, STATED, BandTest, band_tests, stored_band
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import DONE, FAILED, UNAVAILABLE
from refers_bench.errors import Problem, UserError
from refers_bench.evaluations import DEFAULT
from refers_bench.store.plan import Cell, Plan
from refers_bench.store.reading import read_json

VERSION = 1
SAME, DRIFT, INCOMPLETE, FAILED_JOBS = "same", "drift", "incomplete", "failed"
#: From harmless to worst: the worst finding names the outcome.
_ORDER = (SAME, DRIFT, INCOMPLETE, FAILED_JOBS)
#: What a baseline stores of a class.
_STORED = ("auc", "n_pos", "n_neg", "undefined")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one cell.

    Attributes:
        cell: name of the cell ("refers.covid19_idc.viral_vs_bacterial.100%.s0").
        outcome: one of `SAME`, `DRIFT`, `INCOMPLETE`, `FAILED_JOBS`.
        messages: one line per deviation; for `SAME`, remarks.
        seconds: wall time of the job, 0 when unknown.
    """

    cell: str
    outcome: str
    messages: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Outcome of a check.

    Attributes:
        manifest: its name.
        tolerance: allowed absolute difference of a class AUC, in [0, 1].
        findings: one per cell of the manifest or the baseline.
        classes_compared: class AUCs that were compared.
        largest: largest absolute difference among them; 0 when none was compared.
        tests: of the classes over seeds; they explain, the bands of single cells decide.
        remark: what else may have moved figures that drifted; '' for nothing.
    """

    manifest: str
    tolerance: float
    findings: tuple[Finding, ...]
    classes_compared: int
    largest: float
    tests: tuple[BandTest, ...] = ()
    remark: str = ""

    @property
    def outcome(self) -> str:
        """The worst of the findings; without any cell there is nothing that could be the same."""
        return max((finding.outcome for finding in self.findings), key=_ORDER.index, default=INCOMPLETE)

    def count(self, outcome: str) -> int:
        """Number of cells with that outcome."""
        return sum(finding.outcome == outcome for finding in self.findings)


def make_baseline(results: Results, *, tolerance: float = 0.02, bands: str = FIXED) -> dict[str, Any]:
    """The stored form of today's results, to be published as JSON.

    Args:
        results: every available cell must be done.
        tolerance: allowed absolute difference of a class AUC, in [0, 1]; with `TEST_IMAGES` the least one.
        bands: `FIXED`, or `TEST_IMAGES` for 1.96 standard errors of each class AUC.

    Raises:
        UserError: a cell is missing or failed: an incomplete baseline would hide it for ever.
    """
    if not (math.isfinite(tolerance) and 0 <= tolerance < 1):
        raise UserError(f"tolerance {tolerance}", allowed="a difference of AUCs in [0, 1)")
    absent = [planned for planned in results.planned if planned.run.state not in (DONE, UNAVAILABLE)]
    if absent:
        allowed = "only finished cells in a baseline"
        raise UserError([Problem(found=f"cell {one.name}: {one.run.reason}", allowed=allowed) for one in absent])
    done = [planned for planned in results.planned if planned.run.state == DONE]
    if not done:
        raise UserError(f"manifest '{results.name}' has no finished cell", allowed="at least one")
    return {
        "version": VERSION,
        "manifest": results.name,
        "arithmetic": _arithmetic(results),
        "tolerance": tolerance,
        "tolerance_source": f"--tolerance {tolerance:g}, set when the baseline was made",
        "cells": {
            planned.name: {
                "key": planned.run.key,
                **({"crossed": list(planned.run.crossed)} if planned.run.crossed else {}),
                "classes": {
                    name: {**stored, **stored_band(stored, tolerance, bands)}
                    for name, stored in _classes(planned).items()
                },
            }
            for planned in done
        },
    }


def _classes(planned: PlannedRun) -> dict[str, dict[str, Any]]:
    """Class -> what a baseline stores of it."""
    found = planned.metrics.by_class(pairs.SPLIT)
    return {name: {count: getattr(metric, count) for count in _STORED} for name, metric in found.items()}


def read_baseline(path: Path) -> dict[str, Any]:
    """A baseline file, checked.

    Raises:
        UserError: it cannot be read, or is no baseline of this version.
    """
    baseline = read_json(path)
    if baseline.get("version") != VERSION:
        raise UserError(f"baseline version {baseline.get('version')!r}", allowed=str(VERSION), path=path)
    problems = []
    tolerance = baseline.get("tolerance")
    if not _is_number(tolerance) or not 0 <= float(tolerance or 0) < 1:
        problems.append(Problem(found=f"tolerance {tolerance!r}", allowed="a number in [0, 1)", path=path))
    cells = baseline.get("cells")
    if not isinstance(cells, dict) or not cells:
        problems.append(Problem(found="no cells", allowed="an object: cell name -> classes", path=path))
        cells = {}
    for name, cell in cells.items():
        problems += [Problem(found=f"cell '{name}': {found}", path=path) for found in _cell_problems(cell)]
    if problems:
        raise UserError(problems)
    return baseline


#: As cells are named; a dataset's or task's id holds no dot and begins with a letter, a ratio may hold one.
_CELL = re.compile(r"(.+)\.([^.]+)\.([^\W\d][^.]*)\.([0-9.e+-]+)%\.s(-?\d+)(?:\.([a-z_]+))?(?:\.(\d+)folds)?")


def as_results(baseline: Mapping[str, Any]) -> Results:
    """A baseline's cells as results without records or predictions, to be compared with others.

    Raises:
        UserError: a cell's name does not give row, column and seed.
    """
    planned = []
    for name, cell in baseline["cells"].items():
        match = _CELL.fullmatch(name)
        if match is None:
            raise UserError(f"cell '{name}'", allowed="ROW.DATASET.TASK.RATIO%.sSEED[.EVALUATION][.Nfolds]")
        method, dataset, task, ratio, seed, evaluation, folds = match.groups()
        metrics = ClassMetrics.of(
            ClassMetric(
                label, pairs.SPLIT, one.get("auc"), int(one["n_pos"]), int(one["n_neg"]), str(one.get("undefined", ""))
            )
            for label, one in cell["classes"].items()
        )
        where: dict[str, Any] = {"method": method, "label": method, "dataset": dataset, "task": task}
        where |= {"evaluation": evaluation or DEFAULT, "folds": int(folds or 0)}
        where |= {"label_ratio": round(float(ratio) / 100, 12), "seed": int(seed), "key": str(cell.get("key", ""))}
        planned.append(PlannedRun.of(Cell(**where, crossed=tuple(cell.get("crossed", ()))), metrics))
    name = str(baseline.get("manifest", ""))
    return Results(name=name, plan=Plan(name=name), store=Path("no-store"), planned=tuple(planned))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _cell_problems(cell: Any) -> list[str]:
    classes = cell.get("classes") if isinstance(cell, dict) else None
    if not isinstance(classes, dict) or not classes:
        return ["no classes"]
    problems = []
    crossed = cell.get("crossed", [])
    if not isinstance(crossed, list) or not all(isinstance(level, int) for level in crossed):
        problems.append(f"crossed seeds {crossed!r}; allowed: a list of whole numbers")
    for name, stored in classes.items():
        if not isinstance(stored, dict) or not all(_is_number(stored.get(count)) for count in ("n_pos", "n_neg")):
            problems.append(f"class '{name}' has no n_pos and n_neg")
        elif "tolerance" in stored and not (_is_number(stored["tolerance"]) and 0 <= stored["tolerance"] < 1):
            problems.append(f"class '{name}' has the tolerance {stored['tolerance']!r}; allowed: a number in [0, 1)")
        elif not (stored.get("auc") is None or (_is_number(stored["auc"]) and 0 <= stored["auc"] <= 1)):
            problems.append(f"class '{name}' has the AUC {stored['auc']!r}; allowed: null or a number in [0, 1]")
    return problems


def compare(results: Results, baseline: Mapping[str, Any]) -> Comparison:
    """Compare every class AUC of every cell with the baseline's.

    A cell that the baseline lacks is as incomplete as one that the results lack: a check that ignores unknown cells
    would always pass.

    Args:
        results: of the same manifest.
        baseline: from `read_baseline` or `make_baseline`.
    """
    tolerance, stored_cells = float(baseline["tolerance"]), baseline["cells"]
    findings: list[Finding] = []
    differences: list[float] = []
    for name, (now, before) in pairs.cells(results, as_results(baseline)).items():
        if now is None:
            messages = ["in the baseline, but not in the manifest"]
            findings.append(Finding(cell=name, outcome=INCOMPLETE, messages=tuple(messages)))
            continue
        outcome, messages = _absent(now, before)
        if not messages and before is not None:
            stored = stored_cells[name]
            messages = list(_deviations(now, before, stored["classes"], tolerance))
            both = [(one.auc, other.auc) for one, other in pairs.classes(now, before).values() if one and other]
            differences += [abs(auc - was) for auc, was in both if auc is not None and was is not None]
            outcome = DRIFT if messages else SAME
            if not messages and stored.get("key") not in (None, now.run.key):
                messages = ["its recipe has changed since the baseline (another key), its figures have not"]
        seconds = float(results.records.get(now.run.key, {}).get("wall_s") or 0.0)
        findings.append(Finding(cell=name, outcome=outcome, messages=tuple(messages), seconds=seconds))
    drifted = any(finding.outcome == DRIFT for finding in findings)
    source = str(baseline.get("tolerance_source", STATED))
    return Comparison(
        manifest=results.name,
        tolerance=tolerance,
        findings=tuple(findings),
        classes_compared=len(differences),
        largest=max(differences, default=0.0),
        tests=tuple(_tests(results, stored_cells, tolerance, source)),
        remark=_rounding(_arithmetic(results), str(baseline.get("arithmetic", "native"))) if drifted else "",
    )


def _arithmetic(results: Results) -> str:
    """In which arithmetic every finished cell was computed: "portable", else "native"."""
    records = (results.records.get(one.run.key, {}) for one in results.planned if one.run.state == DONE)
    found = {record.get("provenance", {}).get("arithmetic", "native") for record in records}
    return "portable" if found == {"portable"} else "native"


def _rounding(now: str, before: str) -> str:
    if now == before == "portable":
        return ""
    return (
        f"computed in {now} arithmetic, the baseline in {before} arithmetic: another processor alone can make figures "
        "drift; with 'execution: {arithmetic: portable}' on both sides it cannot"
    )


def _tests(results: Results, stored_cells: Mapping[str, Any], tolerance: float, source: str) -> Iterator[BandTest]:
    """Every class of every row over its seeds, paired by seed: a seed means the same images now and then."""
    for (method, target), summary in results.cells.items():
        if not summary.independent:
            continue
        runs = results.runs(method, target)
        pairs = [
            (_classes(run), stored_cells[run.name]["classes"])
            for run in runs
            if run.run.state == DONE and run.name in stored_cells
        ]
        row = f"{method}.{target.dataset}.{target.task}.{target.label_ratio * 100:g}%{target.suffix}"
        yield from band_tests(row, pairs, seeds=len(runs), tolerance=tolerance, source=source)


def _absent(planned: PlannedRun, before: PlannedRun | None) -> tuple[str, list[str]]:
    """(outcome, messages) of a cell that cannot be compared; no message when it can."""
    state = planned.run.state
    if state == FAILED:
        return FAILED_JOBS, [planned.run.reason]
    if state == UNAVAILABLE:
        remark = f"not available: {planned.run.reason}"
        return (INCOMPLETE if before is not None else SAME), [remark]
    if state != DONE:
        return INCOMPLETE, [planned.run.reason]
    if before is None:
        return INCOMPLETE, ["not in the baseline: write a new one"]
    if planned.run.crossed != before.run.crossed:
        return INCOMPLETE, [f"in the baseline this is {before.run.title}, here {planned.run.title}: write a new one"]
    return SAME, []


def _deviations(
    now: PlannedRun, before: PlannedRun, stored: Mapping[str, Mapping[str, Any]], tolerance: float
) -> Iterator[str]:
    """One line per class that is not as stored, up to its band."""
    paired = pairs.classes(now, before)
    yield from (f"class '{name}' is gone" for name, (one, _) in paired.items() if one is None)
    for name, (one, was) in paired.items():
        if was is None:
            yield f"class '{name}' is new"
        if one is None or was is None:
            continue
        for count in ("n_pos", "n_neg"):
            if getattr(one, count) != getattr(was, count):
                yield f"class '{name}': {count} was {getattr(was, count)}, is {getattr(one, count)}"
        if one.auc is None or was.auc is None:
            if one.auc is not was.auc:
                old = "undefined" if was.auc is None else f"{was.auc:.4f}"
                new = f"undefined ({one.undefined})" if one.auc is None else f"{one.auc:.4f}"
                yield f"class '{name}': AUC was {old}, is {new}"
            continue
        difference, band = abs(one.auc - was.auc), float(stored[name].get("tolerance", tolerance))
        # One part in 10**9: 0.72 - 0.70 is a little more than 0.02 in binary.
        if difference > band + 1e-9:
            allowed = f"{band:g}" + (
                f": {stored[name]['tolerance_source']}" if "tolerance_source" in stored[name] else ""
            )
            changed = f"AUC was {was.auc:.4f}, is {one.auc:.4f}"
            yield f"class '{name}': {changed} (differs by {difference:.4f}, allowed {allowed})"
