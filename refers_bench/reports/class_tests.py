"""Builds the tables of tests between REFERS and the best other method, class by class over seeds."""

from collections.abc import Sequence
from dataclasses import replace

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.significance import TESTS, Refusal, TTest, made, t_test
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = (*comparisons.T_TEST, "Hedges g", "detectable")


def build(results: Results) -> list[Table]:
    """One table for each column with several classes and each other method; none where all have one seed."""
    if len(results.methods) < 2:
        return []
    tests = [one for primary in (True, False) for one in comparisons.tested(results, primary=primary)]
    # Tested on other images: the table of all classes' mean refuses it once.
    tables = [_table(results, test) for test in tests if test.baseline and test.same_images]
    return [table for table in tables if table is not None]


def _table(results: Results, test: comparisons.Comparison) -> Table | None:
    target, methods = test.target, (test.reference, test.baseline)
    if target is None:
        return None
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
    reference, baseline = (titles[method] for method in methods)
    heads = columns(*_COLUMNS)
    noted = replace(heads[0], notes=notes.of_runs(results, *methods, target=target))
    alpha = results.rules.alpha
    return Table(
        id=grid.item_id("class-tests", target) + _place(results, test),
        caption=f"{grid.caption_prefix(results, [target])}{reference} minus {baseline}"
        f"{'' if test.named else ' (best other mean)'}, class by class over seeds, {grid.where(target)}.",
        stub="Class",
        columns=(noted, *heads[1:]),
        rows=tuple(
            Row(title=n, cells=_cells(found, p, alpha)) for n, found, p in zip(names, outcomes, adjusted, strict=True)
        ),
        notes=(
            f"P: {TESTS[results.rules.test]}, two-sided, on the class AUC over seeds; adjusted by Holm; tests of this "
            f"table that were made: {made(adjusted)}. {_OTHER[bool(test.named)]} Difference, interval and detectable "
            "difference in AUC points.",
        ),
        view="class",
        keys=grid.keys(results, target, test.baseline),
    )


#: Whether the other row is one that the manifest names -> what is said of it.
_OTHER = {
    False: "The other method is the one with the best mean over the classes, chosen on the figures that are tested.",
    True: "The other method is one that the manifest names.",
}


def _place(results: Results, test: comparisons.Comparison) -> str:
    """What an id says of a contrast beside others in its column; '' of the only one, and of the first."""
    place = comparisons.named_rows(results).index(test.named)
    return f"-contrast-{place + 1}" if place else ""


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
    return t_test(*groups, welch=results.rules.test == "welch", alpha=results.rules.alpha)


def _cells(found: TTest | Refusal, p_holm: float | None, alpha: float) -> tuple[Cell, ...]:
    if isinstance(found, Refusal):
        return (*(MISSING,) * 5, comparisons.no_p(found.reason), *(MISSING,) * 3)
    cells = comparisons.t_test_cells(found, p_holm, signed=True, alpha=alpha, corrected=True)
    return (*cells, Cell(value=found.hedges_g), Cell(value=found.detectable * 100))


REPORT = Report(label="Classes, tests", build=build, order=41, part="classes")
