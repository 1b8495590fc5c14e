"""Builds the table that compares each row with the best floor: what can be reached without looking at anatomy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from refers_bench.analysis.cells import Target
from refers_bench.analysis.image_statistics import ImageStatistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = ("mean AUC", "95 % interval", "row minus best floor", "95 % interval of it", "verdict")
#: Verdicts, as they are printed.
BEST, FLOOR, BETTER, NOT_BETTER = "best floor", "floor", "better than the best floor", "not better"


def build(results: Results) -> Table | None:
    """A row for each row of each column that has floors; None where none has."""
    targets = [one for one in results.targets if any((floor, one) in results.cells for floor in results.floors)]
    found = [(target, comparisons.against_best_floor(results, target)) for target in targets]
    rows = tuple(row for target, one in found for row in _rows(results, target, one))
    if not rows:
        return None
    units = dict.fromkeys(one.unit for _, one in found if one is not None)
    return Table(
        id="floors",
        caption=grid.caption_prefix(results, targets)
        + "Mean class AUC in per cent beside the best floor, which is reached without looking at anatomy.",
        stub="Target and method",
        columns=columns(*_COLUMNS),
        rows=rows,
        notes=(
            *(f"Intervals: {INTERVAL[unit]}; a method's seeds enter as their mean." for unit in units),
            f"'{BETTER}': the 95 % interval of the difference, paired image by image, lies above 0. Verdicts are not "
            "corrected for the number of rows.",
            "The best floor has the highest mean test AUC of the complete floors of its column. It is chosen on the "
            "figures that are compared, which makes the verdict stricter.",
            "These intervals hold the trained models fixed: the spread over seeds is in the other tables.",
        ),
    )


def _rows(results: Results, target: Target, one: ImageStatistics | None) -> Iterator[Row]:
    """The best floor first, then all others in the order of the manifest."""
    names, top = grid.titles(results), one.reference if one else ""
    listed = [method for method in results.methods if (method, target) in results.cells]
    for method in sorted(listed, key=lambda method: method != top):
        cells = _cells(results, one, method, target)
        footnotes = notes.of_runs(results, method, target=target)
        about = grid.keys(results, target, method)
        yield Row(title=f"{grid.where(target)}: {names[method]}", cells=cells, notes=footnotes, keys=about)


def _cells(results: Results, one: ImageStatistics | None, method: str, target: Target) -> tuple[Cell, ...]:
    if one is None or method not in one.means:
        reason = one.refusals.get(method, "") if one else ""
        figure = grid.auc_cell(results, method, target)
        return (figure, comparisons.no_interval(reason or "no stored predictions"), *(MISSING,) * 3)
    mean, difference, summary = one.means[method], one.differences.get(method), results.cells[method, target]
    tag = notes.tag(summary)
    footnotes = tuple(notes.of_summary(summary)) if tag else ()
    figure = Cell(value=mean.estimate * 100, decimals=2, tag=tag, notes=footnotes)
    about = (figure, comparisons.image_interval(mean, one.unit, one.n_units))
    kind = BEST if method == one.reference else FLOOR if method in results.floors else ""
    if difference is None:
        reason = "" if kind == BEST else "no floor is complete" if not one.reference else "not all seeds are there"
        missing = comparisons.no_interval(reason) if reason else MISSING
        return (*about, MISSING, missing, _word(kind))
    # The statistics have the floor first.
    over = replace(difference, estimate=-difference.estimate, low=-difference.high, high=-difference.low)
    verdict = "" if not over.se > 0 else BETTER if over.low > 0 else NOT_BETTER
    return (
        *about,
        Cell(value=over.estimate * 100, decimals=2, signed=True),
        comparisons.image_interval(over, one.unit, one.n_units, signed=True),
        _word(kind or verdict),
    )


def _word(text: str) -> Cell:
    return Cell(text=text, kind="text") if text else MISSING


REPORT = Report(label="Floors", build=build, order=24, part="significance")
