"""How sure are the figures when other test images, or patients, could have been drawn?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from refers_bench.analysis.bootstrap import BOOTSTRAP, Interval
from refers_bench.analysis.cells import Target
from refers_bench.analysis.delong import DELONG
from refers_bench.analysis.image_statistics import ClassTest, ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.significance import made
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Note, Row, Table, slug
from refers_bench.reports import _grid, _memory


def build(results: Results) -> list[Table]:
    """A table of bootstrap intervals over all targets, and one of DeLong's tests for each target."""
    found = [one for target in results.targets if (one := image_statistics(results, target)) is not None]
    if not found:
        return []
    names = _grid.titles(results, results.methods)
    return [_intervals(results, found, names), *(_tests(results, one, names) for one in found if one.tests)]


def _where(target: Target) -> str:
    return f"{_grid.target_title(target)}, {_grid.percent(target.label_ratio)}"


def _intervals(results: Results, found: Iterable[ImageStatistics], names: Mapping[str, str]) -> Table:
    rows = []
    columns = list(found)
    for one in columns:
        for method in (*one.means, *one.refusals):
            rows.append(_row(results, one, method, names))
    return Table(
        id="test-images",
        caption=_grid.caption_prefix(results, (one.target for one in columns))
        + "Mean class AUC in per cent with what the choice of test images leaves open.",
        stub="Target and method",
        columns=tuple(
            Column(title=title)
            for title in (
                "mean AUC",
                "95 % interval",
                "reference minus method",
                "95 % interval of it",
                "drawn",
                "draws",
            )
        ),
        rows=tuple(rows),
        notes=(
            f"Intervals: {BOOTSTRAP}; all methods see the same draws, a method's seeds enter as their mean.",
            "These intervals hold the trained models fixed: the spread over seeds is in the other tables.",
        ),
    )


def _row(results: Results, one: ImageStatistics, method: str, names: Mapping[str, str]) -> Row:
    title = f"{_where(one.target)}: {names.get(method, method)}"
    if method not in one.means:
        note = Note(text=f"no interval: {one.refusals[method]}.")
        return Row(title=title, cells=(Cell(kind="missing", notes=(note,)), *(Cell(kind="missing"),) * 5))
    mean, difference = one.means[method], one.differences.get(method)
    summary = results.cells[method, one.target]
    tag = _grid.summary_tag(summary)
    return Row(
        title=title,
        notes=_memory.notes(results, method, target=one.target),
        cells=(
            Cell(
                value=mean.estimate * 100,
                decimals=2,
                tag=tag,
                notes=tuple(_grid.summary_notes(summary)) if tag else (),
            ),
            _range(mean),
            Cell(value=difference.estimate * 100, decimals=2, signed=True) if difference else Cell(kind="missing"),
            _range(difference, sign="+") if difference else Cell(kind="missing"),
            Cell(text=f"{one.n_units} {one.unit}s", kind="text"),
            Cell(text=str(one.draws), kind="text"),
        ),
    )


def _range(found: Interval, *, sign: str = "") -> Cell:
    if not found.se > 0:
        return Cell(kind="missing", notes=(Note(text="no interval: every draw gives the same figure."),))
    return Cell(text=f"{found.low * 100:{sign}.2f} to {found.high * 100:{sign}.2f}", kind="text")


def _tests(results: Results, one: ImageStatistics, names: Mapping[str, str]) -> Table:
    """Classes x methods: difference, and P after Holm's correction."""
    methods = list(dict.fromkeys(test.method for test in one.tests))
    by_class: dict[str, dict[str, ClassTest]] = {}
    for test in one.tests:
        by_class.setdefault(test.name, {})[test.method] = test
    rows = []
    for name, tests in by_class.items():
        any_test = next(iter(tests.values()))
        cells = [Cell(text=str(any_test.n_pos), kind="text"), Cell(text=str(any_test.n_neg), kind="text")]
        for method in methods:
            cells += _test_cells(tests[method])
        rows.append(Row(title=name, cells=tuple(cells)))
    reference = names.get(one.reference, one.reference)
    return Table(
        id=slug(f"delong-{one.target.dataset}-{one.target.task}-{one.target.label_ratio:g}".replace(".", "_")),
        caption=f"{_grid.caption_prefix(results, [one.target])}{reference} minus each method, class by class, "
        f"{_where(one.target)}: difference of AUC in points, and P.",
        stub="Class",
        columns=(
            Column(title="positive", group="test images"),
            Column(title="negative", group="test images"),
            *(
                Column(
                    title=title,
                    group=names.get(method, method),
                    notes=_memory.notes(results, one.reference, method, target=one.target),
                )
                for method in methods
                for title in ("difference", "P, Holm")
            ),
        ),
        rows=tuple(rows),
        notes=(
            f"P: {DELONG}; n in the columns of test images; adjusted by Holm; tests of this table that were "
            f"made: {made(test.p for test in one.tests)}. It takes the test images as drawn one by one, whatever the "
            "patient.",
        ),
    )


def _test_cells(test: ClassTest) -> list[Cell]:
    if test.p is None or test.p_holm is None or test.difference is None:
        return [Cell(kind="missing"), Cell(kind="p", notes=(Note(text=f"no P-value: {test.refused}."),))]
    mark = (_grid.SIGNIFICANT_HOLM,) if test.p_holm < _grid.ALPHA else ()
    return [
        Cell(value=test.difference * 100, signed=True, title=f"{test.low or 0:+.3f} to {test.high or 0:+.3f}"),
        Cell(text=_grid.p_text(test.p_holm), kind="p", notes=mark, title=f"unadjusted: {_grid.p_text(test.p)}"),
    ]


REPORT = Report(label="Test images", build=build, order=25)
