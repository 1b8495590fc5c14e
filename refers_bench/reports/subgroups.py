"""Builds the tables of AUCs by sex, age and view, with the largest gap between groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.analysis.statistics.delong import LEAST
from refers_bench.analysis.subgroups import ATTRIBUTES, ByAttribute, subgroups
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid, notes

#: Name of a gap's interval, as it is printed.
_GAP = "difference of two groups, patients in both accounted for, t interval, Bonferroni over the pairs of groups"


def build(results: Results) -> list[Table]:
    """A table for each attribute that is known of the test images of a column."""
    found = {
        (target, method): one for target in results.targets for method, one in subgroups(results, target).rows.items()
    }
    tables = {name: {where: one[name] for where, one in found.items() if name in one} for name in ATTRIBUTES}
    return [_table(results, name, rows) for name, rows in tables.items() if rows]


def _table(results: Results, attribute: str, rows: Mapping[tuple[Target, str], ByAttribute]) -> Table:
    names, groups = grid.titles(results), list(dict.fromkeys(name for one in rows.values() for name in one.groups))
    units = dict.fromkeys(one.unit for one in rows.values())
    return Table(
        id=f"subgroups-{attribute}",
        caption=grid.caption_prefix(results, (target for target, _ in rows))
        + f"Mean class AUC in per cent by {attribute} of the test images, and the largest gap between groups.",
        stub="Target and method",
        columns=(*columns(*groups, group="AUC"), *columns("largest gap", "95 % interval", "between", "classes")),
        rows=tuple(
            Row(
                title=f"{grid.where(target)}: {names[method]}",
                cells=(*(_cell(one, name) for name in groups), *_gap(one)),
                notes=notes.of_runs(results, method, target=target),
            )
            for (target, method), one in rows.items()
        ),
        notes=(
            f"Groups are compared on the same classes, those of which each has {LEAST} units (patients, or images) "
            f"with positive and {LEAST} with negative images. Images whose {attribute} is unknown are left out.",
            *(f"In small type (HTML): 95 % interval; {INTERVAL[unit]}. Seeds enter as their mean." for unit in units),
            f"Largest gap: {_GAP}. A gap says that groups are ordered unequally well, not why: groups differ in how "
            "severe and how frequent findings are.",
        ),
    )


def _cell(one: ByAttribute, name: str) -> Cell:
    if name not in one.groups:
        return MISSING
    found = one.groups[name]
    ends: dict[str, Any] = {}
    if found.auc.se > 0:
        ends = {"low": found.auc.low * 100, "high": found.auc.high * 100, "df": found.auc.df, "ranged": True}
        ends["test"] = INTERVAL[one.unit]
    return Cell(value=found.auc.estimate * 100, n=(found.n_units,), title=f"{found.n_units} {one.unit}s", **ends)


def _gap(one: ByAttribute) -> tuple[Cell, ...]:
    interval = comparisons.no_interval("the test images leave no spread")
    if one.gap.se > 0:
        n = tuple(one.groups[name].n_units for name in (one.highest, one.lowest))
        how: dict[str, Any] = {"test": _GAP, "n": n, "df": one.gap.df}
        interval = comparisons.interval_cell(one.gap.low * 100, one.gap.high * 100, decimals=1, signed=True, **how)
    between = f"{one.highest} \N{EN DASH} {one.lowest}"
    return (
        Cell(value=one.gap.estimate * 100),
        interval,
        Cell(text=between, kind="text"),
        grid.count_cell(one.n_classes),
    )


REPORT = Report(label="Subgroups", build=build, order=29, part="significance")
