"""Shows how sure the figures are when other test images, or patients, could have been drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from refers_bench.analysis.cells import Target
from refers_bench.analysis.image_statistics import ClassTest, ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL, Interval
from refers_bench.analysis.statistics.delong import LEAST
from refers_bench.analysis.statistics.placements import IMAGE
from refers_bench.analysis.statistics.significance import made
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Note, Row, Table, slug
from refers_bench.reporting import cell_notes, grid


def build(results: Results) -> list[Table]:
    """A table of intervals over all targets, and one of the tests of each class for each target."""
    found = [one for target in results.targets if (one := image_statistics(results, target)) is not None]
    if not found:
        return []
    names = grid.titles(results, results.methods)
    return [_intervals(results, found, names), *(_tests(results, one, names) for one in found if one.tests)]


#: What is said where patients are not known.
_NO_PATIENTS = "The predictions do not say whose the images are: several images of one patient count as independent."


def _where(target: Target) -> str:
    return f"{grid.target_title(target)}, {grid.percent(target.label_ratio)}"


def _intervals(results: Results, found: Iterable[ImageStatistics], names: Mapping[str, str]) -> Table:
    rows = []
    columns = list(found)
    units = dict.fromkeys(one.unit for one in columns)
    for one in columns:
        for method in (*one.means, *one.refusals):
            rows.append(_row(results, one, method, names))
    return Table(
        id="test-images",
        caption=grid.caption_prefix(results, (one.target for one in columns))
        + "Mean class AUC in per cent with what the choice of test images leaves open.",
        stub="Target and method",
        columns=tuple(
            Column(title=title)
            for title in (
                "mean AUC",
                "95 % interval",
                "reference minus method",
                "95 % interval of it",
                "independent units",
            )
        ),
        rows=tuple(rows),
        notes=(
            *(f"Intervals: {INTERVAL[unit]}; a method's seeds enter as their mean." for unit in units),
            *([_NO_PATIENTS] if IMAGE in units else []),
            "These intervals hold the trained models fixed: the spread over seeds is in the other tables.",
        ),
    )


def _row(results: Results, one: ImageStatistics, method: str, names: Mapping[str, str]) -> Row:
    title = f"{_where(one.target)}: {names.get(method, method)}"
    if method not in one.means:
        note = Note(text=f"no interval: {one.refusals[method]}.")
        return Row(title=title, cells=(Cell(kind="missing", notes=(note,)), *(Cell(kind="missing"),) * 4))
    mean, difference = one.means[method], one.differences.get(method)
    summary = results.cells[method, one.target]
    tag = grid.summary_tag(summary)
    return Row(
        title=title,
        notes=cell_notes.notes(results, method, target=one.target),
        cells=(
            Cell(
                value=mean.estimate * 100, decimals=2, tag=tag, notes=tuple(grid.summary_notes(summary)) if tag else ()
            ),
            _range(mean, one),
            Cell(value=difference.estimate * 100, decimals=2, signed=True) if difference else Cell(kind="missing"),
            _range(difference, one, signed=True) if difference else Cell(kind="missing"),
            Cell(text=f"{one.n_units} {one.unit}s", value=one.n_units, word=f"{one.unit}s", kind="text"),
        ),
    )


def _range(found: Interval, one: ImageStatistics, *, signed: bool = False) -> Cell:
    if not found.se > 0:
        return Cell(kind="missing", notes=(Note(text="no interval: the test images leave no spread."),))
    ends = found.low * 100, found.high * 100
    return grid.interval_cell(*ends, decimals=2, signed=signed, test=INTERVAL[one.unit], n=(one.n_units,), df=found.df)


def _tests(results: Results, one: ImageStatistics, names: Mapping[str, str]) -> Table:
    """Classes x methods: difference, and P after Holm's correction."""
    methods = list(dict.fromkeys(test.method for test in one.tests))
    by_class: dict[str, dict[str, ClassTest]] = {}
    for test in one.tests:
        by_class.setdefault(test.name, {})[test.method] = test
    rows = []
    for name, tests in by_class.items():
        any_test = next(iter(tests.values()))
        cells = [grid.count_cell(any_test.n_pos), grid.count_cell(any_test.n_neg)]
        for method in methods:
            cells += _test_cells(tests[method])
        rows.append(Row(title=name, cells=tuple(cells)))
    reference = names.get(one.reference, one.reference)
    return Table(
        id=slug(f"delong-{one.target.dataset}-{one.target.task}-{one.target.label_ratio:g}".replace(".", "_")),
        caption=f"{grid.caption_prefix(results, [one.target])}{reference} minus each method, class by class, "
        f"{_where(one.target)}: difference of AUC in points, and P.",
        stub="Class",
        columns=(
            Column(title="positive", group="test images"),
            Column(title="negative", group="test images"),
            *(
                Column(
                    title=title,
                    group=names.get(method, method),
                    notes=cell_notes.notes(results, one.reference, method, target=one.target),
                )
                for method in methods
                for title in ("difference", "P, Holm")
            ),
        ),
        rows=tuple(rows),
        notes=(
            f"P: {'; or '.join(_test_names(one))}; n in the columns of test images; adjusted by Holm; tests of this "
            f"table that were made: {made(test.p for test in one.tests)}.",
            f"Below {LEAST} {one.unit}s with positive, or with negative, images DeLong's approximation does not hold: "
            "there the exact test.",
            *([_NO_PATIENTS] if one.unit == IMAGE else []),
        ),
    )


def _test_names(one: ImageStatistics) -> list[str]:
    """Names of the tests of a column, each once."""
    return list(dict.fromkeys(test.test for test in one.tests if test.test)) or ["none"]


def _test_cells(test: ClassTest) -> list[Cell]:
    if test.p is None or test.p_holm is None or test.difference is None:
        return [Cell(kind="missing"), Cell(kind="p", notes=(Note(text=f"no P-value: {test.refused}."),))]
    mark = (grid.SIGNIFICANT_HOLM,) if test.p_holm < grid.ALPHA else ()
    n = test.n_pos, test.n_neg
    ends = [None if end is None else end * 100 for end in (test.low, test.high)]
    about = "" if test.low is None or test.high is None else f"{test.low:+.3f} to {test.high:+.3f}"
    title = f"unadjusted: {grid.p_text(test.p)}, {test.test}"
    return [
        Cell(value=test.difference * 100, low=ends[0], high=ends[1], test=test.test, n=n, signed=True, title=about),
        grid.p_cell(test.p_holm, test=test.test, n=n, unadjusted=test.p, notes=mark, title=title),
    ]


REPORT = Report(label="Test images", build=build, order=25)
