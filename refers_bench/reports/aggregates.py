"""Builds the table of each row's mean, median and interquartile mean over columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from refers_bench.analysis.aggregated import Aggregated, aggregated
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.aggregates import BOOTSTRAP, IQM, MEAN, MEDIAN, aggregates
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Note, Row, Table, columns, slug
from refers_bench.reporting import comparisons, grid, notes

_NAMES = (MEAN, MEDIAN, IQM)


def build(results: Results) -> list[Table]:
    """A table for each evaluation of which two columns or more can be aggregated."""
    return [_table(results, one) for one in aggregated(results)]


def _table(results: Results, one: Aggregated) -> Table:
    names, evaluation = grid.titles(results), one.targets[0].suffix
    figures = {method: aggregates(runs) for method, runs in one.rows.items()}
    best = _best(results, figures)
    rows = [
        Row(title=names[name], cells=_cells(one, name, figures[name], best), notes=_leaks(results, one, name))
        for name in one.rows
    ]
    rows += [Row(title=names[name], cells=_lacking(one, name)) for name in one.lacking]
    out = [f"Columns that few rows have, or not on the same images and classes: {grid.listed(one.left_out)}."]
    return Table(
        id=slug(f"aggregates{evaluation}"),
        caption=f"{grid.caption_prefix(results, one.targets)}Mean class AUC in per cent, aggregated over "
        f"{len(one.targets)} columns{evaluation}; best in bold.",
        stub="Method",
        columns=columns(*(title for name in _NAMES for title in (name, "95 % interval")), "runs"),
        rows=tuple(rows),
        notes=(
            f"Columns: {grid.listed(one.targets)}.",
            *(out if one.left_out else []),
            "Mean and median: over columns, of the mean over seeds. Interquartile mean: of the middle half of all "
            "runs, which a single easy or hard column moves less (Agarwal et al. 2021).",
            f"Intervals: {BOOTSTRAP}. Columns and test images are held fixed; columns of one dataset share images.",
            *(["Floors are shown, and are no competitors."] if results.floors & set(one.rows) else []),
        ),
    )


def _leaks(results: Results, one: Aggregated, method: str) -> tuple[Note, ...]:
    """Footnotes of a row whose means include columns with test images in training, or in its source."""
    return tuple(dict.fromkeys(note for target in one.targets for note in notes.leaks(results, method, target=target)))


def _best(results: Results, figures: Mapping[str, Mapping[str, Interval] | Refusal]) -> dict[str, float]:
    """Highest figure of each aggregate, where two rows or more compete."""
    rows = [one for name, one in figures.items() if name not in results.floors and not isinstance(one, Refusal)]
    return {name: max(one[name].estimate for one in rows) for name in _NAMES} if len(rows) > 1 else {}


def _cells(
    one: Aggregated, method: str, found: Mapping[str, Interval] | Refusal, best: Mapping[str, float]
) -> tuple[Cell, ...]:
    if isinstance(found, Refusal):
        return _none(found.reason)
    seeds = len(one.rows[method][0])
    cells = []
    for name in _NAMES:
        figure = Cell(value=found[name].estimate * 100, decimals=2, n=(seeds,))
        ends = comparisons.no_interval("one seed" if seeds < 2 else "the seeds leave no spread")
        if found[name].se > 0:
            how: dict[str, Any] = {"test": BOOTSTRAP, "n": (seeds,), "df": found[name].df}
            ends = comparisons.interval_cell(found[name].low * 100, found[name].high * 100, decimals=2, **how)
        cells += [replace(figure, best=best.get(name) == found[name].estimate), ends]
    return (*cells, grid.count_cell(seeds * len(one.targets)))


def _lacking(one: Aggregated, method: str) -> tuple[Cell, ...]:
    some = one.lacking[method]
    where = f"{len(some)} of {len(one.targets)} columns: {grid.listed(some)}"
    return _none(f"not complete in {where}; a mean over fewer columns would not compare")


def _none(reason: str) -> tuple[Cell, ...]:
    return (Cell(kind="missing", notes=(Note(text=f"not aggregated: {reason}."),)), *(MISSING,) * (2 * len(_NAMES)))


REPORT = Report(label="Over all columns", build=build, order=28, part="significance")
