"""Builds the table of the variance of the AUC by source: label subset, initialisation, data order, test sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.analysis.statistics.variance_components import GENERALISED, SOURCES, Part
from refers_bench.analysis.variance_sources import VarianceSources, variance_sources
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Column, Note, Row, Table
from refers_bench.reporting import comparisons, grid, notes

_NEGATIVE = Note(text="the estimate of the variance is negative, and shown as 0.")


def build(results: Results) -> Table | None:
    """A row for each table cell whose seeds are crossed; None where none are."""
    found = {target: variance_sources(results, target) for target in results.targets}
    columns_of = {target: one for target, one in found.items() if one.rows or one.refusals}
    if not columns_of:
        return None
    names = grid.titles(results)
    units = dict.fromkeys(one.unit for one in columns_of.values() if one.unit)
    return Table(
        id="variance",
        caption=f"{grid.caption_prefix(results, columns_of)}Variance of the mean class AUC of a single run by source: "
        f"standard deviations in points, and shares of all in per cent, each with its 95 % interval."
        f"{_largest(columns_of)}",
        stub="Target and method",
        columns=(
            Column(title="mean"),
            Column(title="95 % interval over seeds"),
            *(Column(title=title, group=words) for words in SOURCES.values() for title in ("SD", "share")),
            Column(title="largest source"),
        ),
        rows=tuple(
            Row(
                title=f"{grid.where(target)}: {names[method]}",
                cells=tuple(_cells(one, method)),
                notes=notes.of_runs(results, method, target=target),
            )
            for target, one in columns_of.items()
            for method in (*one.rows, *one.refusals)
        ),
        notes=(
            f"Seeds: {GENERALISED}. Runs that draw the same are one run: on all labels there is one label subset, and "
            "frozen features have no initialisation and no data order, except for an attentive probe.",
            "A part that is measured with few levels has a wide interval: with three levels it reaches to six times "
            "the standard deviation, with five to three times.",
            "Interactions: what a combination of seeds adds to what each of them does alone, with what is left over.",
            *(
                f"Test sample: what drawing test {unit}s anew does to all runs alike; {INTERVAL[unit]}."
                for unit in units
            ),
            "The interval of the mean is over seeds alone, on these test images; tests and intervals that take runs as "
            "independent are not made where seeds are crossed.",
        ),
    )


def _largest(columns_of: Mapping[Target, VarianceSources]) -> str:
    """Which source dominates, in a sentence."""
    counts = Counter(row.largest for one in columns_of.values() for row in one.rows.values())
    if not counts:
        return ""
    said = [f"the {SOURCES[name]} in {count}" for name, count in counts.most_common()]
    return f" Of {counts.total()} rows, the largest source is {', '.join(said)}."


def _cells(one: VarianceSources, method: str) -> Iterable[Cell]:
    if method in one.refusals:
        yield Cell(kind="missing", notes=(Note(text=f"no figure: {one.refusals[method]}."),))
        yield from (MISSING,) * (2 * len(SOURCES) + 2)
        return
    row = one.rows[method]
    yield Cell(value=row.mean * 100, n=(row.runs,))
    yield comparisons.interval_cell(row.low * 100, row.high * 100, decimals=1, test=GENERALISED, n=(row.runs,))
    for name in SOURCES:
        if name in row.parts:
            yield from _part(row.parts[name])
        else:
            yield from (Cell(kind="missing", notes=(Note(text=f"no part: {row.refusals[name]}."),)), MISSING)
    yield Cell(text=SOURCES[row.largest], kind="text", word=SOURCES[row.largest])


def _part(part: Part) -> tuple[Cell, Cell]:
    sd, low, high = (100 * math.sqrt(max(0.0, one)) for one in (part.variance, part.low, part.high))
    share, least, most = (100 * one for one in (part.share, part.share_low, part.share_high))
    about: dict[str, Any] = {"test": GENERALISED, "df": part.df}
    return (
        Cell(
            text=f"{sd:.2f} ({low:.2f} to {high:.2f})",
            value=sd,
            low=low,
            high=high,
            notes=(_NEGATIVE,) if part.variance < 0 else (),
            **about,
        ),
        Cell(text=f"{share:.0f} ({least:.0f} to {most:.0f})", value=share, low=least, high=most, **about),
    )


REPORT = Report(label="Variance by source", build=build, order=28, part="significance")
