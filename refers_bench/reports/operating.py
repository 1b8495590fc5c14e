"""Builds the tables of AUPRC, operating point and calibration of every cell, and of how sure each best row is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.analysis.best_row import BestRow
from refers_bench.analysis.cells import Target
from refers_bench.analysis.operating_points import AUPRC, BRIER, ECE, SENSITIVITY, OperatingPoint, operating_points
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.calibration import BINS
from refers_bench.analysis.statistics.operating import RULE, SPECIFICITY
from refers_bench.analysis.statistics.outperformance import MEANINGFUL
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


def build(results: Results) -> list[Table]:
    """Figures of each cell with stored predictions, and the best row of each column that has two rows to compare."""
    columns_of = {target: operating_points(results, target) for target in results.targets}
    names = grid.titles(results)
    found = {(target, method): one for target, column in columns_of.items() for method, one in column.rows.items()}
    best = {target: column.best for target, column in columns_of.items() if column.best is not None}
    return [*([_points(results, found, names)] if found else []), *([_best_rows(results, best, names)] if best else [])]


def _points(results: Results, found: Mapping[tuple[Target, str], OperatingPoint], names: Mapping[str, str]) -> Table:
    units = dict.fromkeys(one.unit for one in found.values() if one.unit)
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
        keys=grid.keys(results, target, method),
    )


def _cells(one: OperatingPoint, name: str) -> tuple[Cell, Cell]:
    """A figure, and its interval or why there is none."""
    reason = one.refusals.get(name, "")
    if name not in one.figures:
        return Cell(kind="missing", notes=(Note(text=f"no figure: {reason}."),)), MISSING
    found = one.figures[name]
    ends = comparisons.no_interval(reason)
    if not reason:
        how: dict[str, Any] = {"test": BOOTSTRAP[one.unit], "n": (one.n_units,), "df": found.df}
        ends = comparisons.interval_cell(found.low * 100, found.high * 100, decimals=2, **how)
    return Cell(value=found.estimate * 100, decimals=2), ends


_BEST = ("probability to be the best", "P(best row > row)", "95 % interval", "verdict")
#: Verdicts, as they are printed.
LEADS, MEANINGFULLY, SLIGHTLY, NOT = "best row", "beaten, meaningfully", "beaten", "not beaten"


def _best_rows(results: Results, best: Mapping[Target, BestRow], names: Mapping[str, str]) -> Table:
    rows = (
        Row(
            title=f"{grid.where(target)}: {names[method]}",
            cells=_best_cells(one, method),
            notes=notes.of_runs(results, method, target=target),
            keys=grid.keys(results, target, method),
        )
        for target, one in best.items()
        for method in sorted(one.found.best, key=lambda method: method != one.found.row)
    )
    return Table(
        id="outperformance",
        caption=f"{grid.caption_prefix(results, best)}How far the row with the highest mean AUC may be trusted to be "
        "the best, over seeds and test images, in per cent.",
        stub="Target and method",
        columns=columns(*_BEST),
        rows=tuple(rows),
        notes=(
            "Probability to be the best: of the row's true mean AUC over seeds and test images, with flat priors. What "
            "the best row lacks to 100 % is the probability that its bold figure is false.",
            "P(best row > row): how often one run of the best row has a higher mean AUC than one of this row, paired "
            "by seed, on a test set drawn anew. The best row is chosen on the figures that are compared, which "
            "flatters it.",
            f"'{SLIGHTLY}': the interval lies above 50 %; 'meaningfully': its upper end lies above "
            f"{MEANINGFUL * 100:g} % as well (Bouthillier et al. 2021).",
            "Left out: floors, rows without all seeds, and columns with a row of one seed or of other test images.",
        ),
    )


def _best_cells(one: BestRow, method: str) -> tuple[Cell, ...]:
    share = Cell(value=one.found.best[method] * 100, df=one.found.df, n=(one.n_units,))
    if method not in one.over:
        if method == one.found.row:
            return share, MISSING, MISSING, Cell(text=LEADS, kind="text", word=LEADS)
        return share, Cell(kind="missing", notes=(Note(text=f"no figure: {one.refusals[method]}."),)), MISSING, MISSING
    over = one.over[method]
    verdict = MEANINGFULLY if over.meaningful else SLIGHTLY if over.significant else NOT
    how: dict[str, Any] = {"test": "bootstrap over pairs of seeds and test sets", "n": (over.pairs, one.n_units)}
    return (
        share,
        Cell(value=over.p * 100),
        comparisons.interval_cell(over.low * 100, over.high * 100, decimals=1, **how),
        Cell(text=verdict, kind="text", word=verdict),
    )


REPORT = Report(label="Operating points", build=build, order=27, part="significance")
