"""Builds the table of figures that others published beside ours, with whether each compares and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.comparability import Verdict, judged, published_on
from refers_bench.analysis.paper.registry import Entry
from refers_bench.analysis.results import Results
from refers_bench.evaluations import CHOSEN_ON_TEST, TEST
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Note, Row, Table, columns, words
from refers_bench.reporting import grid

#: Methods that the title of a row of several figures names.
MOST_NAMED = 4
COMPARABLE, NOT_COMPARABLE = "comparable", "not comparable"


def build(results: Results) -> Table | None:
    """Rows for each column on real images whose target others published figures of; None where there is none."""
    figures_of = judged(results)
    rows = tuple(row for target, figures in figures_of.items() for row in _rows(results, target, figures))
    if not rows:
        return None
    return Table(
        id="against-published",
        caption="Mean class AUC in per cent of this run beside figures that others published on the same target (their "
        "own metric, in per cent), and whether they compare.",
        stub="Target and method",
        columns=columns("figure", "source", "verdict", "because"),
        rows=rows,
        notes=(
            f"'{COMPARABLE}': same target, label ratio, lists of images, kind of training and metric, not chosen on "
            "test images. Networks, pre-training data, image sizes, the drawn subsets of labels, and the head where a "
            "source states none, may differ still.",
            f"Figures that are '{NOT_COMPARABLE}' for the same reasons share a row for each source: lowest to highest.",
            *(text for target, figures in figures_of.items() for text in _elsewhere(target, figures)),
        ),
        numeric=False,
    )


def _elsewhere(target: Target, listed: Sequence[Any]) -> tuple[str, ...]:
    """A sentence about the figures that are left out."""
    left = len(published_on(target)) - len(listed)
    return (f"{grid.where(target)}: {left} figures at other or unstated label ratios are left out.",) if left else ()


def _rows(results: Results, target: Target, figures: Sequence[tuple[Entry, Verdict]]) -> Iterator[Row]:
    """Ours, then what compares with it, best first, then what does not."""
    where = grid.where(target)
    for method, title in grid.titles(results).items():
        if (method, target) in results.cells:
            ours = (grid.auc_cell(results, method, target), *words("this run"), MISSING, MISSING)
            yield Row(title=f"{where}: {title}", cells=ours)
    groups: dict[tuple[str, str, tuple[str, ...]], list[Entry]] = {}
    same: list[Entry] = []
    for entry, verdict in figures:
        if verdict.comparable:
            same.append(entry)
        else:
            groups.setdefault((_source(entry), entry.how, verdict.reasons), []).append(entry)
    for entry in sorted(same, key=lambda one: -one.value):
        yield _row(where, [entry], _source(entry), entry.how, ())
    for (source, how, reasons), some in groups.items():
        yield _row(where, some, source, how, reasons)


def _source(entry: Entry) -> str:
    table = entry.table if entry.table not in entry.source else ""
    return ", ".join(part for part in (entry.source, table) if part)


def _row(where: str, some: Sequence[Entry], source: str, how: str, reasons: Sequence[str]) -> Row:
    """Figures of one source with one verdict."""
    names = [f"{one.method} ({one.backbone})" if one.backbone else one.method for one in some]
    named = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    verdict = NOT_COMPARABLE if reasons else COMPARABLE
    return Row(
        title=f"{where}: {named}, {how}",
        cells=(_figure(some), *words(source, verdict), *(words("; ".join(reasons)) if reasons else (MISSING,))),
        block="published",
        notes=tuple(Note(text=text) for text in dict.fromkeys(_remarks(some))),
    )


def _remarks(some: Sequence[Entry]) -> Iterator[str]:
    """What is remarked of all of them, or of one by its name."""
    shared = len({one.note for one in some}) == 1
    for one in some:
        if not one.first_hand:
            yield f"second-hand, as quoted in {one.source} (read in: {one.address})."
        if one.note:
            yield f"{one.note}." if shared else f"{one.method}: {one.note}."


def _figure(some: Sequence[Entry]) -> Cell:
    """The figure with its spread, or the lowest to the highest of several; marked where chosen on test images."""
    tag = CHOSEN_ON_TEST if some[0].selection == TEST else ""
    values = [one.value for one in some]
    if len(some) > 1:
        worst, top = min(values), max(values)
        text = f"{worst:.1f} to {top:.1f}"
        how: dict[str, Any] = {"test": "lowest to highest figure", "n": (len(some),)}
        return Cell(text=text, low=worst, high=top, tag=tag, kind="published", **how)
    (one,) = some
    sd = one.spread[0] if len(one.spread) == 1 else None
    low, high = one.spread if len(one.spread) == 2 else (None, None)
    return Cell(
        value=one.value,
        sd=sd,
        low=low,
        high=high,
        n=(one.n_seeds,) if one.n_seeds else (),
        test=one.spread_kind if one.spread else "",
        decimals=1 if sd is None or sd >= 0.1 else 2,
        tag=tag,
        kind="published",
    )


REPORT = Report(label="Against published figures", build=build, order=12, part="published")
