"""Builds the table of tests between REFERS and the best other method, column by column."""

from __future__ import annotations

from collections.abc import Mapping

from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.best_of import HIGHER, LOWER, PERMUTATIONS, BestOf
from refers_bench.analysis.statistics.significance import STUDENT, WELCH, Refusal, holm, made
from refers_bench.plugins import Report
from refers_bench.render.table import NO_VALUE, Cell, Column, Note, Row, Table
from refers_bench.reporting import cell_notes, grid

_COLUMNS = (
    "best other",
    "difference",
    "95 % interval",
    "n",
    "t",
    "df",
    "P",
    "P, Holm",
    "P, higher",
    "P, lower",
    "Welch df",
    "Welch P",
    "Hedges g",
    "detectable",
    "power at 1 point",
)


def build(results: Results) -> Table | None:
    """One row per column of the manifest; None when there is nothing to compare."""
    if len(results.methods) < 2:
        return None
    reference = results.reference
    baselines = [method for method in results.methods if method != reference]
    targets = results.targets
    student = grid.comparisons(results, targets, reference=reference, baselines=baselines)
    welch = grid.comparisons(results, targets, reference=reference, baselines=baselines, welch=True)
    if all(isinstance(test.outcome, Refusal) for test in student):
        return None
    adjusted = holm([None if isinstance(test.outcome, Refusal) else test.outcome.p for test in student])
    names = grid.titles(results, results.methods)
    rows = []
    for target, test, other, p_holm in zip(targets, student, welch, adjusted, strict=True):
        synthetic = (grid.SYNTHETIC,) if target in results.synthetic else ()
        memory = cell_notes.notes(results, reference, test.baseline or None, target=target)
        title = f"{grid.target_title(target)}, {grid.percent(target.label_ratio)}"
        rows.append(Row(title=title, cells=_cells(test, other, p_holm, names), notes=(*synthetic, *memory)))
    return Table(
        id="significance",
        caption=grid.caption_prefix(results, targets)
        + f"{names[reference]} against the best other row of each column.",
        stub="Target",
        columns=tuple(Column(title=title) for title in _COLUMNS),
        rows=tuple(rows),
        notes=(
            f"P: {STUDENT}, two-sided, on mean class AUCs over seeds (the paper's test). Welch: {WELCH}; not "
            "corrected for the number of rows.",
            *grid.choice_remarks(student),
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
    test: grid.Comparison, other: grid.Comparison, p_holm: float | None, names: Mapping[str, str]
) -> tuple[Cell, ...]:
    baseline = Cell(text=names.get(test.baseline, NO_VALUE), kind="text")
    if isinstance(test.outcome, Refusal):
        refused = Cell(kind="p", notes=(Note(text=f"no P-value: {test.outcome.reason}."),))
        blanks = (Cell(kind="missing"),)
        return (baseline, *blanks * 5, refused, *blanks * 8)
    found = test.outcome
    welch_df, welch_p = Cell(), Cell(kind="p")
    if not isinstance(other.outcome, Refusal):
        about = other.outcome
        welch_df = Cell(value=about.df, decimals=2)
        welch_p = grid.p_cell(about.p, test=about.test, n=about.n, df=about.df)
    mark = (grid.SIGNIFICANT,) if found.p < grid.ALPHA else ()
    return (
        baseline,
        Cell(value=found.difference * 100),
        grid.interval_cell(found.low * 100, found.high * 100, decimals=1, test=found.test, n=found.n, df=found.df),
        Cell(text=f"{found.n[0]} and {found.n[1]}", n=found.n),
        Cell(value=found.t, decimals=2),
        Cell(text=f"{found.df:g}", value=found.df),
        grid.p_cell(found.p, test=found.test, n=found.n, df=found.df, notes=mark),
        grid.p_cell(p_holm, test=found.test, n=found.n, df=found.df, unadjusted=found.p),
        *_directions(test.best_of),
        welch_df,
        welch_p,
        Cell(value=found.hedges_g),
        Cell(value=found.detectable * 100),
        Cell(value=found.power, decimals=2),
    )


def _directions(found: BestOf | Refusal) -> tuple[Cell, Cell]:
    """The one-sided P-values that account for the choice of the best row."""
    if isinstance(found, Refusal):
        refused = Cell(kind="p", notes=(Note(text=f"no P-value: {found.reason}."),))
        return refused, refused
    n, df = (found.n, *found.others), f"df = {found.df:g}"
    if not found.permutations:
        alone = f"{STUDENT}, one-sided"
        return (
            grid.p_cell(found.p_higher, test=alone, n=n, df=found.df, title=df),
            grid.p_cell(found.p_lower, test=alone, n=n, df=found.df, title=df),
        )
    return (
        grid.p_cell(found.p_higher, test=HIGHER, n=n, df=found.df, title=df),
        grid.p_cell(found.p_lower, test=LOWER, n=n, title=f"{found.permutations} permutations"),
    )


REPORT = Report(label="Significance", build=build, order=20)
