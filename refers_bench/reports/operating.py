"""Builds the table of AUPRC, sensitivity at a stated specificity, and calibration of every row and column."""

from __future__ import annotations

from refers_bench.analysis.cells import Target
from refers_bench.analysis.operating_points import AUPRC, BRIER, ECE, SENSITIVITY, OperatingPoint, operating_points
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.calibration import BINS
from refers_bench.analysis.statistics.operating import RULE, SPECIFICITY
from refers_bench.analysis.statistics.resampling import BOOTSTRAP
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Note, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

#: Name of a figure -> its column's title.
_TITLES = {
    AUPRC: "AUPRC",
    SENSITIVITY: f"sensitivity at {SPECIFICITY * 100:g} % specificity",
    ECE: "calibration error",
    BRIER: "Brier score",
}


def build(results: Results) -> Table | None:
    """A row for each row of each column with stored predictions; None where there are none."""
    found = {
        (target, method): one for target in results.targets for method, one in operating_points(results, target).items()
    }
    if not found:
        return None
    units = dict.fromkeys(one.unit for one in found.values() if one.unit)
    names = grid.titles(results)
    return Table(
        id="operating",
        caption=grid.caption_prefix(results, (target for target, _ in found))
        + "Average precision, operating point and calibration: means over classes in per cent.",
        stub="Target and method",
        columns=columns("prevalence", *(title for name in _TITLES.values() for title in (name, "95 % interval"))),
        rows=tuple(_row(results, one, method, target, names[method]) for (target, method), one in found.items()),
        notes=(
            "AUPRC: average precision; scores drawn by chance have that of the prevalence, so that it compares within "
            "a column alone.",
            f"Operating point: {RULE}; each class has its own threshold, set on the test images themselves.",
            f"Calibration error: mean distance of probability (sigmoid of the logit) and share of positives over "
            f"{BINS} bins of equal mass; it is not 0 for a perfect classifier on few images. The lower end of its "
            "interval takes that into account. Brier score: mean squared distance. Of both, lower is better.",
            *(f"Intervals: {BOOTSTRAP[unit]}; a method's seeds enter as their mean." for unit in units),
            "These intervals hold the trained models fixed: the spread over seeds is in the other tables.",
        ),
    )


def _row(results: Results, one: OperatingPoint, method: str, target: Target, title: str) -> Row:
    summary = results.cells[method, target]
    tag = notes.tag(summary)
    footnotes = tuple(notes.of_summary(summary)) if tag else ()
    prevalence = Cell(value=one.prevalence * 100, tag=tag, notes=footnotes) if one.figures else MISSING
    return Row(
        title=f"{grid.where(target)}: {title}",
        cells=(prevalence, *(cell for name in _TITLES for cell in _cells(one, name))),
        notes=notes.of_runs(results, method, target=target),
    )


def _cells(one: OperatingPoint, name: str) -> tuple[Cell, Cell]:
    """A figure, and its interval or why there is none."""
    reason = one.refusals.get(name, "")
    if name not in one.figures:
        return Cell(kind="missing", notes=(Note(text=f"no figure: {reason}."),)), MISSING
    found = one.figures[name]
    ends = comparisons.no_interval(reason)
    if not reason:
        how = {"test": BOOTSTRAP[one.unit], "n": (one.n_units,), "df": found.df}
        ends = comparisons.interval_cell(found.low * 100, found.high * 100, decimals=2, **how)
    return Cell(value=found.estimate * 100, decimals=2), ends


REPORT = Report(label="Operating points", build=build, order=27)
