"""Builds the tables of tests over seeds between the reference and other rows, column by column."""

from typing import Any

from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.best_of import HIGHER, LOWER, PERMUTATIONS, BestOf
from refers_bench.analysis.statistics.significance import STUDENT, TESTS, Refusal, made
from refers_bench.render.table import MISSING, NO_VALUE, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes
from refers_bench.store.rules import Rules

#: The test beside that of the rules.
_OTHER = {"student": "welch", "welch": "student"}


def build(results: Results, *, primary: bool) -> Table | None:
    """One row per column, and per row that the rules name; None when there is nothing to compare.

    Args:
        results: the results.
        primary: whether of the primary columns, or of the others.
    """
    if len(results.methods) < 2:
        return None
    rules, tests = results.rules, comparisons.tested(results, primary=primary)
    if all(isinstance(test.outcome, Refusal) for test in tests):
        return None
    others = comparisons.tested(results, primary=primary, test=_OTHER[rules.test])
    adjusted = comparisons.holm_of(test.outcome for test in tests)
    names, targets = grid.titles(results), list(dict.fromkeys(test.target for test in tests if test.target))
    rows = [_row(results, *line) for line in zip(tests, others, adjusted, strict=True)]
    named = comparisons.named_rows(results)
    which = "column" if not rules.columns else "primary column" if primary else "other column"
    begins = "" if primary else "Exploratory: "
    return Table(
        id="significance" if primary else "significance-exploratory",
        caption=f"{grid.caption_prefix(results, targets)}{begins}{names[results.reference]} against "
        f"{comparisons.against(results, *named)} {'in' if any(named) else 'of'} each {which}.",
        stub="Target",
        columns=columns(*_columns(rules, chosen=named == ("",))),
        rows=tuple(rows),
        notes=(
            _what(rules),
            *comparisons.choice_remarks(tests),
            _DIRECTIONS,
            "Difference, interval and detectable difference in AUC points (per cent). Holm: P adjusted for the "
            f"tests of this table that were made: {made(adjusted)}. Detectable: smallest true difference found in 80 % "
            f"of repetitions at P < {rules.alpha:g} with this spread and n. Power: share of repetitions that find a "
            "true difference of 1 point.",
            "The tests see the spread over fine-tuning seeds only. Neither which test images were drawn nor a second "
            "pre-training run enters them.",
        ),
    )


_DIRECTIONS = (
    f"P, higher: that the row is higher than every other; {HIGHER}. P, lower: that it is lower than the best of the "
    f"others; {LOWER}, {PERMUTATIONS} permutations, n as in the column of seeds. Of a single other row both are the "
    "one-sided t-test. Neither is corrected for the number of rows."
)


def _what(rules: Rules) -> str:
    """What the P-values are."""
    own, other = TESTS[rules.test], TESTS[_OTHER[rules.test]]
    papers = " (the paper's test)" if own == STUDENT else ""
    return (
        f"P: {own}, two-sided, on mean class AUCs over seeds{papers}. {_OTHER[rules.test].capitalize()}: {other}; not "
        "corrected for the number of rows."
    )


def _columns(rules: Rules, *, chosen: bool) -> tuple[str, ...]:
    """Titles of the columns.

    Args:
        rules: of the plan.
        chosen: whether the other row is the best one, and none that the rules name.
    """
    second = _OTHER[rules.test].capitalize()
    return (
        *("best other" if chosen else "other row", *comparisons.T_TEST, "P, higher", "P, lower"),
        *(f"{second} df", f"{second} P"),
        *("Hedges g", "detectable", "power at 1 point"),
    )


def _row(results: Results, test: comparisons.Comparison, other: comparisons.Comparison, p_holm: float | None) -> Row:
    """One test, with the other of the two tests beside it."""
    target = test.target
    assert target is not None  # a test of a column of the manifest
    synthetic = (grid.SYNTHETIC,) if target in results.synthetic else ()
    footnotes = notes.of_runs(results, test.reference, test.baseline or None, target=target)
    against = f", against {results.methods[test.named]}" if test.named else ""
    return Row(
        title=grid.where(target) + against,
        cells=_cells(results, test, other, p_holm),
        notes=(*synthetic, *footnotes),
        keys=grid.keys(results, target),
    )


def _cells(
    results: Results, test: comparisons.Comparison, other: comparisons.Comparison, p_holm: float | None
) -> tuple[Cell, ...]:
    baseline = Cell(text=grid.titles(results).get(test.named or test.baseline, NO_VALUE), kind="text")
    found, second = test.outcome, other.outcome
    if isinstance(found, Refusal):
        return (baseline, *(MISSING,) * 5, comparisons.no_p(found.reason), *(MISSING,) * 8)
    second_cells = (Cell(), Cell(kind="p"))
    if not isinstance(second, Refusal):
        p = comparisons.p_cell(second.p, test=second.test, n=second.n, df=second.df)
        second_cells = (Cell(value=second.df, decimals=2), p)
    corrected = results.rules.correction == "holm"
    return (
        baseline,
        *comparisons.t_test_cells(found, p_holm, signed=False, alpha=results.rules.alpha, corrected=corrected),
        *_directions(test.best_of, found.test),
        *second_cells,
        Cell(value=found.hedges_g),
        Cell(value=found.detectable * 100),
        Cell(value=found.power, decimals=2),
    )


def _directions(found: BestOf | Refusal, test: str) -> tuple[Cell, Cell]:
    """The one-sided P-values that account for the choice of the best row."""
    if isinstance(found, Refusal):
        return (comparisons.no_p(found.reason),) * 2
    n, df = (found.n, *found.others), f"df = {found.df:g}"
    higher: dict[str, Any] = {"test": HIGHER, "n": n, "df": found.df, "title": df}
    lower: dict[str, Any] = {"test": LOWER, "n": n, "title": f"{found.permutations} permutations"}
    if not found.permutations:
        higher["test"] = f"{test}, one-sided"
        lower = higher
    return comparisons.p_cell(found.p_higher, **higher), comparisons.p_cell(found.p_lower, **lower)
