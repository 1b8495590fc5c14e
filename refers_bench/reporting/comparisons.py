"""Tests the reference method against the best other row of each column, and writes P-values into tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import DIFFER, same_images
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL, Interval
from refers_bench.analysis.statistics.best_of import LOWER, BestOf, best_of
from refers_bench.analysis.statistics.seeds import SeedSummary
from refers_bench.analysis.statistics.significance import Refusal, TTest, best, compare, holm
from refers_bench.render.table import DAGGER, Cell, Column, Note, Row

#: What a dagger at a P-value says, which is corrected or not; the level stands before it.
_MARKS = {
    False: "in the test named at the P-value; not corrected for several columns.",
    True: "after Holm's correction over the tests of this table.",
}
_NO_TEST = "no P-value in any column"
#: Why a column has no P-value where the manifest names others as primary.
NOT_PRIMARY = "not a primary column"
#: What choosing the best of several rows does to the paper's test; measured in tests/oracle/test_best_of.py.
CHOICE = (
    "The paper's test is two-sided and made against the best of several rows, chosen on the figures that are tested. "
    "Where nothing differs it says P < 0.05 in 8 % of repetitions with five other rows of three seeds, and in 9 % "
    "with seven: choosing the best makes it stricter where the tested row is higher (0.2 %) and less strict where it "
    "is lower (7.6 %). The P-values for higher and for lower account for the choice."
)


def summaries(results: Results, methods: Iterable[str], target: Target | None) -> dict[str, SeedSummary]:
    """Row name -> its cell in a column; without the rows that have none."""
    if target is None:
        return {}
    return {method: results.cells[method, target] for method in methods if (method, target) in results.cells}


def against_best_floor(results: Results, target: Target) -> ImageStatistics | None:
    """The statistics of a column against its best floor; without differences where no floor is complete."""
    cells = summaries(results, [name for name in results.methods if name in results.floors], target)
    return image_statistics(results, target, reference=next(iter(best(cells)), ""))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A column's test of the reference method against its best baseline.

    Attributes:
        target: the column.
        reference: row name of the reference method.
        outcome: the test, or why there is none.
        baseline: row name of the best baseline; '' when there is none.
        left_out: baselines without all their seeds: any of them could have been the best.
        same_images: whether the method and all complete baselines were tested on the same labelled images.
        values: mean AUCs of the reference's seeds; () without a test.
        others: those of each complete baseline.
        named: row that the rules name for this test; '' where the best is chosen.
        welch: whether variances are taken as unequal.
    """

    target: Target | None
    reference: str
    outcome: TTest | Refusal
    baseline: str = ""
    left_out: tuple[str, ...] = ()
    same_images: bool = True
    values: tuple[float, ...] = ()
    others: tuple[tuple[float, ...], ...] = ()
    named: str = ""
    welch: bool = False

    @property
    def best_of(self) -> BestOf | Refusal:
        """The test with the choice of the best baseline accounted for."""
        return self.outcome if isinstance(self.outcome, Refusal) else best_of(self.values, self.others, self.welch)


def named_rows(results: Results) -> tuple[str, ...]:
    """Rows that the rules name, each for a test of the reference against it; one '' for the best other row."""
    return tuple(name for name in results.rules.against if name in results.methods) or ("",)


def tested(results: Results, *, primary: bool = True, test: str | None = None) -> list[Comparison]:
    """The tests of the reference that the rules ask for, column by column, in each against each named row.

    Args:
        results: the results.
        primary: whether in the primary columns or in the others, which are exploratory.
        test: "student" or "welch"; None for that of the rules.
    """
    welch = (test or results.rules.test) == "welch"
    return [
        replace(one, named=name)
        for target in results.targets
        if results.rules.primary(target) == primary
        for name in named_rows(results)
        for one in against_best(results, [target], baselines=[name] if name else None, welch=welch)
    ]


def against_best(
    results: Results,
    targets: Sequence[Target | None] | None = None,
    *,
    reference: str | None = None,
    baselines: Sequence[str] | None = None,
    welch: bool = False,
) -> list[Comparison]:
    """The reference method against the best complete one of `baselines`, column by column.

    By default the reference row of the results against all other rows but floors, in every column.
    """
    if reference is None:
        reference = results.reference
    if baselines is None:
        baselines = [method for method in results.methods if method not in {reference, *results.floors}]
    columns = results.targets if targets is None else targets
    return [_comparison(results, target, reference, baselines, welch=welch) for target in columns]


def _comparison(
    results: Results, target: Target | None, reference: str, baselines: Sequence[str], *, welch: bool
) -> Comparison:
    cells = summaries(results, baselines, target)
    complete = {name: cell for name, cell in cells.items() if cell.complete}
    about: dict[str, Any] = {"target": target, "reference": reference}
    about |= {"left_out": tuple(name for name in cells if name not in complete), "welch": welch}
    if target is None or (reference, target) not in results.cells:
        return Comparison(outcome=Refusal(reason="the method is not in this manifest"), **about)
    if not complete:
        return Comparison(outcome=Refusal(reason="no baseline is complete"), **about)
    if len({cell.defined for cell in complete.values()}) > 1:
        return Comparison(outcome=Refusal(reason="the baselines average over different classes"), **about)
    name, ours = best(cells)[0], results.cells[reference, target]
    outcome = compare(ours, cells[name], welch=welch, alpha=results.rules.alpha)
    about |= {"baseline": name, "same_images": same_images(results, [reference, *complete], target)}
    if isinstance(outcome, Refusal):
        return Comparison(outcome=outcome, **about)
    if not about["same_images"]:
        return Comparison(outcome=Refusal(reason=DIFFER), **about)
    return Comparison(
        outcome=outcome, values=ours.values, others=tuple(cell.values for cell in complete.values()), **about
    )


def p_text(p: float) -> str:
    """A P-value as the paper prints it: "8.35e-4"; from 0.01 on as "0.023"."""
    if p >= 0.01:
        return f"{p:.3f}"
    if p < 1e-300:
        return "< 1e-300"
    mantissa, _, exponent = f"{p:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def p_cell(p: float | None, *, test: str, unadjusted: float | None = None, **more: Any) -> Cell:
    """A P-value with what it takes to say so: test, n and df; `unadjusted` of one corrected after Holm."""
    if p is None:
        return Cell(kind="p")
    name = f"{test}; adjusted after Holm" if unadjusted is not None else test
    return Cell(text=p_text(p), value=p, kind="p", test=name, unadjusted=unadjusted, **more)


def no_p(reason: str) -> Cell:
    """Why there is no P-value."""
    return Cell(kind="p", notes=(Note(text=f"no P-value: {reason}."),))


def no_interval(reason: str) -> Cell:
    """Why there is no interval."""
    return Cell(kind="missing", notes=(Note(text=f"no interval: {reason}."),))


def interval_cell(low: float, high: float, *, decimals: int, signed: bool = False, **more: Any) -> Cell:
    """An interval: "1.2 to 3.4"."""
    text = " to ".join(f"{end:{'+' if signed else ''}.{decimals}f}" for end in (low, high))
    return Cell(text=text, kind="text", low=low, high=high, **more)


def image_interval(found: Interval, unit: str, units: int, *, signed: bool = False) -> Cell:
    """An interval over test images or patients in per cent, or that these leave no spread.

    Args:
        found: of an AUC, or of a difference.
        unit: "image" or "patient".
        units: how many.
        signed: whether its ends are shown with their signs.
    """
    if not found.se > 0:
        return no_interval("the test images leave no spread")
    how: dict[str, Any] = {"test": INTERVAL[unit], "n": (units,), "df": found.df}
    return interval_cell(found.low * 100, found.high * 100, decimals=2, signed=signed, **how)


#: Columns of `t_test_cells`.
T_TEST = ("difference", "95 % interval", "n", "t", "df", "P", "P, Holm")


def marked(p: float | None, alpha: float, *, corrected: bool) -> tuple[Note, ...]:
    """The dagger of a P-value below `alpha`; () for any other."""
    below = p is not None and p < alpha
    return (Note(text=f"P < {alpha:g} {_MARKS[corrected]}", mark=DAGGER),) if below else ()


def t_test_cells(
    found: TTest, p_holm: float | None, *, signed: bool, alpha: float, corrected: bool
) -> tuple[Cell, ...]:
    """A test over seeds: the difference, what it rests on, and P before and after Holm's correction.

    Args:
        found: the test.
        p_holm: its P-value after the correction.
        signed: whether a positive difference is shown with its sign.
        alpha: a P-value below it is marked.
        corrected: which of the two: the corrected one.
    """
    how: dict[str, Any] = {"test": found.test, "n": found.n, "df": found.df}
    first = () if corrected else marked(found.p, alpha, corrected=False)
    second = marked(p_holm, alpha, corrected=True) if corrected else ()
    return (
        Cell(value=found.difference * 100, signed=signed),
        interval_cell(found.low * 100, found.high * 100, decimals=1, signed=signed, **how),
        Cell(text=f"{found.n[0]} and {found.n[1]}", n=found.n),
        Cell(value=found.t, decimals=2),
        Cell(text=f"{found.df:g}", value=found.df),
        p_cell(found.p, notes=first, **how),
        p_cell(p_holm, unadjusted=found.p, notes=second, **how),
    )


def holm_of(outcomes: Iterable[TTest | Refusal]) -> list[float | None]:
    """Holm's adjusted P-values of the tests of one table; None where there is no test."""
    return holm([None if isinstance(found, Refusal) else found.p for found in outcomes])


def p_value_row(
    results: Results,
    title: str,
    tests: Sequence[Comparison],
    columns: Sequence[Column],
    adjusted: Sequence[float | None] | None = None,
) -> Row:
    """The row of P-values; its footnote says test, n and df of each, or why there is none.

    Args:
        results: the results.
        title: of the row.
        tests: one for each column.
        columns: the table's.
        adjusted: P-values after Holm's correction, which are then shown; None to show them as they are.
    """
    names = {test.outcome.test: None for test in tests if not isinstance(test.outcome, Refusal)}
    how = f"{' or '.join(names)}, two-sided, on mean class AUCs, column by column" if names else _NO_TEST
    how += "; adjusted after Holm" if names and adjusted is not None else ""
    # What several columns have in common is said once.
    places: dict[str, list[str]] = {}
    for test, column in zip(tests, columns, strict=True):
        where = ", ".join(part for part in (column.group, column.title) if part)
        places.setdefault(_test_text(results.methods, test), []).append(where)
    more = tuple(f"{'; '.join(some)}: {text}" for text, some in places.items())
    about = Note(text=f"{how[0].upper()}{how[1:]}.", more=more)
    shown = [_test_cell(test, results.rules.alpha) for test in tests]
    if adjusted is not None:
        shown = [_test_cell(test, results.rules.alpha, p) for test, p in zip(tests, adjusted, strict=True)]
    return Row(title=title, cells=tuple(shown), block="test", notes=(about,))


def primary_rows(results: Results, columns: Sequence[Column]) -> tuple[list[Row], list[Comparison]]:
    """A row of P-values for each contrast of the rules over all columns, and the tests; none of one row alone.

    Args:
        results: the results.
        columns: of a table of all columns.
    """
    if len(results.methods) < 2:
        return [], []
    titles, tests = results.methods, tested(results)
    corrected = results.rules.correction == "holm"
    adjusted = dict(zip([(one.named, one.target) for one in tests], holm_of(one.outcome for one in tests), strict=True))
    known = {(one.named, one.target): one for one in tests}
    rows = []
    for name in named_rows(results):
        places = [(name, target) for target in results.targets]
        about: dict[str, Any] = {"reference": results.reference, "outcome": Refusal(reason=NOT_PRIMARY)}
        line = [known.get(place) or Comparison(target=place[1], **about) for place in places]
        title = f"P{' (Holm)' if corrected else ''}, {titles[results.reference]} against {against(results, name)}"
        holms = [adjusted.get(place) for place in places] if corrected else None
        rows.append(p_value_row(results, title, line, columns, holms))
    return rows, tests


def against(results: Results, *names: str) -> str:
    """The rows of a contrast in words: "the best other row", or the titles of named ones."""
    return " and ".join(results.methods[name] for name in names if name) or "the best other row"


def _test_cell(test: Comparison, alpha: float, p_holm: float | None = None) -> Cell:
    """The P-value, or where it is given the corrected one."""
    found = test.outcome
    if isinstance(found, Refusal):
        return Cell(kind="p", title=f"no P-value: {found.reason}")
    how: dict[str, Any] = {"test": found.test, "n": found.n, "df": found.df}
    if p_holm is None:
        return p_cell(found.p, notes=marked(found.p, alpha, corrected=False), **how)
    return p_cell(p_holm, unadjusted=found.p, notes=marked(p_holm, alpha, corrected=True), **how)


def _test_text(names: Mapping[str, str], test: Comparison) -> str:
    """What a footnote says of one test: against which row, n, df, and the choice of that row; or why there is none."""
    found = test.outcome
    if isinstance(found, Refusal):
        return f"no P-value: {found.reason}."
    text = (
        f"against {names[test.baseline]}, n = {found.n[0]} and {found.n[1]} seeds, df = {found.df:.3g}."
        f"{_with_choice(test)}"
    )
    if test.left_out:
        text += f" Best of the complete rows; without {', '.join(names[method] for method in test.left_out)}."
    return text


def _with_choice(test: Comparison) -> str:
    """What a P-value's footnote says of the choice of the best row; '' where there was none."""
    if len(test.others) < 2:
        return ""
    found = test.best_of
    if isinstance(found, Refusal):
        return f" Best of {len(test.others)} rows; no P-value that accounts for the choice: {found.reason}."
    return (
        f" Best of {len(test.others)} rows; one-sided, higher than each of them: P = {p_text(found.p_higher)} "
        f"(t-tests, df = {found.df:.3g}); lower than the best: P = {p_text(found.p_lower)} ({LOWER})."
    )


def choice_remarks(tests: Iterable[Comparison]) -> tuple[str, ...]:
    """What a table with a test against the best of several rows must say; () where no row was chosen."""
    return (CHOICE,) if any(len(test.others) > 1 for test in tests) else ()
