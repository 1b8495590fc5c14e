"""Builds the tables of uncertainty over test images or patients: intervals of means, and tests of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from refers_bench.analysis.image_statistics import LEAST_SEEDS, ClassTest, ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL, JOINT
from refers_bench.analysis.statistics.delong import LEAST
from refers_bench.analysis.statistics.placements import IMAGE
from refers_bench.analysis.statistics.seeds import DEPENDENT, SeedSummary
from refers_bench.analysis.statistics.significance import made
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes


def build(results: Results) -> list[Table]:
    """A table of intervals over all targets, and one of the tests of each class for each target."""
    found = [one for target in results.targets if (one := image_statistics(results, target)) is not None]
    if not found:
        return []
    names = grid.titles(results)
    return [_intervals(results, found, names), *(_tests(results, one, names) for one in found if one.tests)]


_COLUMNS = (
    "mean AUC",
    "95 % interval",
    "over seeds too",
    "reference minus method",
    "95 % interval of it",
    "independent units",
)
#: Remark where patients are not known.
_NO_PATIENTS = "The predictions do not say whose the images are: several images of one patient count as independent."


def _intervals(results: Results, found: Sequence[ImageStatistics], names: Mapping[str, str]) -> Table:
    units = dict.fromkeys(one.unit for one in found)
    return Table(
        id="test-images",
        caption=grid.caption_prefix(results, (one.target for one in found))
        + "Mean class AUC in per cent with what the choice of test images leaves open.",
        stub="Target and method",
        columns=columns(*_COLUMNS),
        rows=tuple(_row(results, one, method, names) for one in found for method in (*one.means, *one.refusals)),
        notes=(
            *(f"Intervals: {INTERVAL[unit]}; a method's seeds enter as their mean." for unit in units),
            *([_NO_PATIENTS] if IMAGE in units else []),
            "The first interval and that of the difference hold the trained models fixed: they say what other test "
            "images would leave of these figures.",
            *(
                f"Over seeds too: 95 % interval of what other seeds and other test images would give; {JOINT[unit]}. "
                "Seeds are taken as drawn at random; what they share, such as one pre-training, is held fixed."
                for unit in units
            ),
        ),
    )


def _row(results: Results, one: ImageStatistics, method: str, names: Mapping[str, str]) -> Row:
    title = f"{grid.where(one.target)}: {names.get(method, method)}"
    if method not in one.means:
        about = grid.keys(results, one.target, method)
        return Row(title=title, keys=about, cells=(comparisons.no_interval(one.refusals[method]), *(MISSING,) * 5))
    mean, difference, summary = one.means[method], one.differences.get(method), results.cells[method, one.target]
    tag = notes.tag(summary)
    footnotes = tuple(notes.of_summary(summary)) if tag else ()
    difference_cells = (MISSING, MISSING)
    if difference:
        value = Cell(value=difference.estimate * 100, decimals=2, signed=True)
        difference_cells = (value, comparisons.image_interval(difference, one.unit, one.n_units, signed=True))
    return Row(
        title=title,
        notes=notes.of_runs(results, method, target=one.target),
        keys=grid.keys(results, one.target, method),
        cells=(
            Cell(value=mean.estimate * 100, decimals=2, tag=tag, notes=footnotes),
            comparisons.image_interval(mean, one.unit, one.n_units),
            _joint(one, method, summary),
            *difference_cells,
            Cell(text=f"{one.n_units} {one.unit}s", value=one.n_units, word=f"{one.unit}s", kind="text"),
        ),
    )


def _joint(one: ImageStatistics, method: str, summary: SeedSummary) -> Cell:
    """The interval over seeds and test images together, or why there is none."""
    if method not in one.joint:
        few = f"over seeds too it needs {LEAST_SEEDS} of them, has {summary.n}"
        return comparisons.no_interval(few if summary.independent else DEPENDENT)
    found = one.joint[method]
    if not found.se > 0:
        return comparisons.no_interval("seeds and test images leave no spread")
    how: dict[str, Any] = {"test": JOINT[one.unit], "n": (summary.n, one.n_units), "df": found.df}
    return comparisons.interval_cell(found.low * 100, found.high * 100, decimals=2, **how)


def _tests(results: Results, one: ImageStatistics, names: Mapping[str, str]) -> Table:
    """Classes x methods: difference, and P after Holm's correction."""
    methods = list(dict.fromkeys(test.method for test in one.tests))
    by_class: dict[str, dict[str, ClassTest]] = {}
    for test in one.tests:
        by_class.setdefault(test.name, {})[test.method] = test
    rows, alpha = [], results.rules.alpha
    for name, tests in by_class.items():
        any_test = next(iter(tests.values()))
        counts = map(grid.count_cell, (any_test.n_pos, any_test.n_neg))
        rows.append(Row(title=name, cells=(*counts, *(cell for m in methods for cell in _test_cells(tests[m], alpha)))))
    reference = names.get(one.reference, one.reference)
    used = dict.fromkeys(test.test for test in one.tests if test.test)
    return Table(
        id=grid.item_id("delong", one.target),
        caption=f"{grid.caption_prefix(results, [one.target])}{reference} minus each method, class by class, "
        f"{grid.where(one.target)}: difference of AUC in points, and P.",
        stub="Class",
        columns=(
            *columns("positive", "negative", group="test images"),
            *(
                replace(
                    column,
                    notes=notes.of_runs(results, one.reference, method, target=one.target),
                    keys=grid.keys(results, None, method),
                )
                for method in methods
                for column in columns("difference", "P, Holm", group=names.get(method, method))
            ),
        ),
        rows=tuple(rows),
        notes=(
            f"P: {'; or '.join(used) or 'none'}; n in the columns of test images; adjusted by Holm; tests of this "
            f"table that were made: {made(test.p for test in one.tests)}.",
            f"Below {LEAST} {one.unit}s with positive, or with negative, images DeLong's approximation does not hold: "
            "there the exact test.",
            *([_NO_PATIENTS] if one.unit == IMAGE else []),
        ),
        view="class",
        keys=grid.keys(results, one.target),
    )


def _test_cells(test: ClassTest, alpha: float) -> list[Cell]:
    if test.p is None or test.p_holm is None or test.difference is None:
        return [MISSING, comparisons.no_p(test.refused)]
    mark = comparisons.marked(test.p_holm, alpha, corrected=True)
    n = test.n_pos, test.n_neg
    ends = [None if end is None else end * 100 for end in (test.low, test.high)]
    about = "" if test.low is None or test.high is None else f"{test.low:+.3f} to {test.high:+.3f}"
    title = f"unadjusted: {comparisons.p_text(test.p)}, {test.test}"
    return [
        Cell(value=test.difference * 100, low=ends[0], high=ends[1], test=test.test, n=n, signed=True, title=about),
        comparisons.p_cell(test.p_holm, test=test.test, n=n, unadjusted=test.p, notes=mark, title=title),
    ]


REPORT = Report(label="Test images", build=build, order=25, part="significance")
