"""Builds the table of tests between REFERS and the best other method, column by column."""

from collections.abc import Mapping
from typing import Any

from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.best_of import HIGHER, LOWER, PERMUTATIONS, BestOf
from refers_bench.analysis.statistics.significance import STUDENT, WELCH, Refusal, made
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, NO_VALUE, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = (
    *("best other", *comparisons.T_TEST, "P, higher", "P, lower", "Welch df", "Welch P"),
    *("Hedges g", "detectable", "power at 1 point"),
)


def build(results: Results) -> Table | None:
    """One row per column of the manifest; None when there is nothing to compare."""
    student = comparisons.against_best(results) if len(results.methods) > 1 else []
    if all(isinstance(test.outcome, Refusal) for test in student):
        return None
    welch = comparisons.against_best(results, welch=True)
    adjusted = comparisons.holm_of(test.outcome for test in student)
    names = grid.titles(results)
    targets, reference = results.targets, student[0].reference
    rows = []
    for target, test, other, p_holm in zip(targets, student, welch, adjusted, strict=True):
        synthetic = (grid.SYNTHETIC,) if target in results.synthetic else ()
        footnotes = notes.of_runs(results, reference, test.baseline or None, target=target)
        cells = _cells(test, other, p_holm, names)
        about = grid.keys(results, target)
        rows.append(Row(title=grid.where(target), cells=cells, notes=(*synthetic, *footnotes), keys=about))
    return Table(
        id="significance",
        caption=grid.caption_prefix(results, targets)
        + f"{names[reference]} against the best other row of each column.",
        stub="Target",
        columns=columns(*_COLUMNS),
        rows=tuple(rows),
        notes=(
            f"P: {STUDENT}, two-sided, on mean class AUCs over seeds (the paper's test). Welch: {WELCH}; not "
            "corrected for the number of rows.",
            *comparisons.choice_remarks(student),
            f"P, higher: that the row is higher than every other; {HIGHER}. P, lower: that it is lower than the best "
            f"of the others; {LOWER}, {PERMUTATIONS} permutations, n as in the column of seeds. Of a single other row "
            "both are the one-sided t-test. Neither is corrected for the number of rows.",
            "Difference, interval and detectable difference in AUC points (per cent). Holm: P adjusted for the "
            f"tests of this table that were made: {made(adjusted)}. Detectable: smallest true difference found in 80 % "
            "of repetitions at P < 0.05 with this spread and n. Power: share of repetitions that find a true "
            "difference of 1 point.",
            "The tests see the spread over fine-tuning seeds only. Neither which test images were drawn nor a second "
            "pre-training run enters them.",
        ),
    )


def _cells(
    test: comparisons.Comparison, other: comparisons.Comparison, p_holm: float | None, names: Mapping[str, str]
) -> tuple[Cell, ...]:
    baseline = Cell(text=names.get(test.baseline, NO_VALUE), kind="text")
    found, welch = test.outcome, other.outcome
    if isinstance(found, Refusal):
        return (baseline, *(MISSING,) * 5, comparisons.no_p(found.reason), *(MISSING,) * 8)
    welch_cells = (Cell(), Cell(kind="p"))
    if not isinstance(welch, Refusal):
        p = comparisons.p_cell(welch.p, test=welch.test, n=welch.n, df=welch.df)
        welch_cells = (Cell(value=welch.df, decimals=2), p)
    return (
        baseline,
        *comparisons.t_test_cells(found, p_holm, signed=False, marked=comparisons.SIGNIFICANT),
        *_directions(test.best_of),
        *welch_cells,
        Cell(value=found.hedges_g),
        Cell(value=found.detectable * 100),
        Cell(value=found.power, decimals=2),
    )


def _directions(found: BestOf | Refusal) -> tuple[Cell, Cell]:
    """The one-sided P-values that account for the choice of the best row."""
    if isinstance(found, Refusal):
        return (comparisons.no_p(found.reason),) * 2
    n, df = (found.n, *found.others), f"df = {found.df:g}"
    higher: dict[str, Any] = {"test": HIGHER, "n": n, "df": found.df, "title": df}
    lower: dict[str, Any] = {"test": LOWER, "n": n, "title": f"{found.permutations} permutations"}
    if not found.permutations:
        higher["test"] = f"{STUDENT}, one-sided"
        lower = higher
    return comparisons.p_cell(found.p_higher, **higher), comparisons.p_cell(found.p_lower, **lower)


REPORT = Report(label="Significance", build=build, order=20, part="significance")
