"""Builds the tables of tests between REFERS and the best other method, class by class over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.significance import STUDENT, Refusal, TTest, holm, made, t_test
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Note, Row, Table, slug
from refers_bench.reporting import cell_notes, grid

_COLUMNS = ("difference", "95 % interval", "n", "t", "df", "P", "P, Holm", "Hedges g", "detectable")


def build(results: Results) -> list[Table]:
    """One table for each column with several classes and a best other method; none where all have one seed."""
    if len(results.methods) < 2:
        return []
    reference = results.reference
    baselines = [method for method in results.methods if method != reference]
    tables = []
    for test in grid.comparisons(results, results.targets, reference=reference, baselines=baselines):
        # What was tested on other images is refused once, in the table of all classes' mean.
        if test.target is not None and test.baseline and test.same_images and not _one_seed(results, reference, test):
            table = _table(results, test.target, reference, test.baseline)
            tables += [] if table is None else [table]
    return tables


def _one_seed(results: Results, reference: str, test: grid.Comparison) -> bool:
    """Whether there is nothing to test because seeds are too few: said once, in the table of all classes' mean."""
    cells = (results.cells[method, test.target] for method in (reference, test.baseline) if test.target)
    return any(cell.n_planned < 2 for cell in cells)


def _table(results: Results, target: Target, reference: str, baseline: str) -> Table | None:
    first, second = _aucs(results, reference, target), _aucs(results, baseline, target)
    names = [name for name in first if name in second]
    if len(names) < 2:
        return None
    outcomes = [_outcome(results, target, (reference, baseline), (first[name], second[name])) for name in names]
    adjusted = holm([None if isinstance(found, Refusal) else found.p for found in outcomes])
    titles = grid.titles(results, results.methods)
    memory = cell_notes.notes(results, reference, baseline, target=target)
    where = f"{grid.target_title(target)}, {grid.percent(target.label_ratio)}"
    return Table(
        id=slug(f"class-tests-{target.dataset}-{target.task}-{target.label_ratio:g}".replace(".", "_")),
        caption=f"{grid.caption_prefix(results, [target])}{titles[reference]} minus {titles[baseline]} (best other "
        f"mean), class by class over seeds, {where}.",
        stub="Class",
        columns=tuple(Column(title=title, notes=memory if title == _COLUMNS[0] else ()) for title in _COLUMNS),
        rows=tuple(
            Row(title=name, cells=_cells(found, p)) for name, found, p in zip(names, outcomes, adjusted, strict=True)
        ),
        notes=(
            f"P: {STUDENT}, two-sided, on the class AUC over seeds; adjusted by Holm; tests of this table that "
            f"were made: {made(adjusted)}. The other method is the one with the best mean over the classes, chosen "
            "on the figures that are tested. Difference, interval and detectable difference in AUC points.",
        ),
        view="class",
    )


def _aucs(results: Results, method: str, target: Target) -> dict[str, list[float | None]]:
    """Class -> its test AUC in every finished seed."""
    found: dict[str, list[float | None]] = {}
    for run in results.runs(method, target):
        for metric in run.metrics:
            if metric.split == "test":
                found.setdefault(metric.name, []).append(metric.auc)
    return found


def _outcome(
    results: Results, target: Target, methods: tuple[str, str], aucs: tuple[Sequence[float | None], ...]
) -> TTest | Refusal:
    """The test of one class; refused where a seed is missing or has no AUC of it."""
    groups = []
    for method, values in zip(methods, aucs, strict=True):
        present = [value for value in values if value is not None]
        planned = results.cells[method, target].n_planned
        if len(present) < planned:
            return Refusal(reason=f"the class has an AUC in {len(present)} of {planned} seeds")
        groups.append(present)
    return t_test(*groups)


def _cells(found: TTest | Refusal, p_holm: float | None) -> tuple[Cell, ...]:
    if isinstance(found, Refusal):
        blanks = (Cell(kind="missing"),)
        return (*blanks * 5, Cell(kind="p", notes=(Note(text=f"no P-value: {found.reason}."),)), *blanks * 3)
    mark = (grid.SIGNIFICANT_HOLM,) if p_holm is not None and p_holm < grid.ALPHA else ()
    return (
        Cell(value=found.difference * 100, signed=True),
        grid.interval_cell(
            found.low * 100, found.high * 100, decimals=1, signed=True, test=found.test, n=found.n, df=found.df
        ),
        Cell(text=f"{found.n[0]} and {found.n[1]}", n=found.n),
        Cell(value=found.t, decimals=2),
        Cell(text=f"{found.df:g}", value=found.df),
        grid.p_cell(found.p, test=found.test, n=found.n, df=found.df),
        grid.p_cell(p_holm, test=found.test, n=found.n, df=found.df, unadjusted=found.p, notes=mark),
        Cell(value=found.hedges_g),
        Cell(value=found.detectable * 100),
    )


REPORT = Report(label="Classes, tests", build=build, order=41)
