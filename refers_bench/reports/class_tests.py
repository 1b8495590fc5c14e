"""Builds the tables of tests between REFERS and the best other method, class by class over seeds."""

from collections.abc import Sequence
from dataclasses import replace

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.significance import STUDENT, Refusal, TTest, made, t_test
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = (*comparisons.T_TEST, "Hedges g", "detectable")


def build(results: Results) -> list[Table]:
    """One table for each column with several classes and a best other method; none where all have one seed."""
    if len(results.methods) < 2:
        return []
    # Tested on other images: the table of all classes' mean refuses it once.
    tested = [test for test in comparisons.against_best(results) if test.baseline and test.same_images]
    tables = [_table(results, test.target, test.reference, test.baseline) for test in tested if test.target]
    return [table for table in tables if table is not None]


def _table(results: Results, target: Target, reference: str, baseline: str) -> Table | None:
    methods = (reference, baseline)
    # Too few seeds for a test, or crossed ones: the table of all classes' mean says so once.
    cells = [results.cells[method, target] for method in methods]
    if any(one.n_planned < 2 or not one.independent for one in cells):
        return None
    first, second = (_aucs(results, method, target) for method in methods)
    names = [name for name in first if name in second]
    if len(names) < 2:
        return None
    outcomes = [_outcome(results, target, methods, (first[name], second[name])) for name in names]
    adjusted = comparisons.holm_of(outcomes)
    titles = grid.titles(results)
    heads = columns(*_COLUMNS)
    noted = replace(heads[0], notes=notes.of_runs(results, *methods, target=target))
    return Table(
        id=grid.item_id("class-tests", target),
        caption=f"{grid.caption_prefix(results, [target])}{titles[reference]} minus {titles[baseline]} (best other "
        f"mean), class by class over seeds, {grid.where(target)}.",
        stub="Class",
        columns=(noted, *heads[1:]),
        rows=tuple(Row(title=n, cells=_cells(found, p)) for n, found, p in zip(names, outcomes, adjusted, strict=True)),
        notes=(
            f"P: {STUDENT}, two-sided, on the class AUC over seeds; adjusted by Holm; tests of this table that "
            f"were made: {made(adjusted)}. The other method is the one with the best mean over the classes, chosen "
            "on the figures that are tested. Difference, interval and detectable difference in AUC points.",
        ),
        view="class",
        keys=grid.keys(results, target, baseline),
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
        return (*(MISSING,) * 5, comparisons.no_p(found.reason), *(MISSING,) * 3)
    cells = comparisons.t_test_cells(found, p_holm, signed=True, marked=comparisons.SIGNIFICANT_HOLM)
    return (*cells, Cell(value=found.hedges_g), Cell(value=found.detectable * 100))


REPORT = Report(label="Classes, tests", build=build, order=41, part="classes")
