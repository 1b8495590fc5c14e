"""Builds the table of the paper's statements: which hold on the published, released and reproduced figures."""

from __future__ import annotations

import math
from dataclasses import replace

from refers_bench.analysis.claims import HOLDS, UNDECIDED, Claim, Evidence, Outcome, Published, evaluate, load
from refers_bench.analysis.evidence import Released, Reproduced
from refers_bench.analysis.published import TARGETS
from refers_bench.analysis.references import release_of
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import NO_VALUE, Cell, Column, Note, Row, Table
from refers_bench.reports import _grid

#: Titles of the columns of evidence.
SOURCES = ("published", "released files", "measured here")
#: What the intervals of each column are over.
INTERVALS = {SOURCES[1]: "95 % interval over test images", SOURCES[2]: "95 % interval over seeds"}


def evidence(results: Results) -> dict[str, Evidence]:
    """The columns of evidence that there are."""
    found: dict[str, Evidence] = {SOURCES[0]: Published()}
    release = release_of(results)
    if release is not None:
        found[SOURCES[1]] = Released(release)
    if results.origin != "released":
        found[SOURCES[2]] = Reproduced(results)
    return found


def build(results: Results) -> Table | None:
    """The paper's claims; None for results on none of its targets."""
    targets = set(TARGETS.values())
    if not any(
        (target.dataset, target.task) in targets and target not in results.synthetic for target in results.targets
    ):
        return None
    found = table(load(), evidence(results))
    release = release_of(results)
    ours = _grid.sharing(results, results.targets)
    files = _grid.sharing(release, release.targets) if release is not None and release is not results else ""
    shared = (ours.strip(), files and f"Of the released files:{files}")
    return replace(found, notes=(*found.notes, *(text for text in shared if text)))


def table(claims: tuple[Claim, ...], columns: dict[str, Evidence]) -> Table:
    """Claims x columns of evidence."""
    outcomes = [[evaluate(claim, column) for column in columns.values()] for claim in claims]
    rows = [_row(claim, found, list(columns)) for claim, found in zip(claims, outcomes, strict=True)]
    counts = [
        f"{title}: {sum(found[place].verdict == HOLDS for found in outcomes)} hold, "
        f"{sum(found[place].verdict == UNDECIDED for found in outcomes)} undecided"
        for place, title in enumerate(columns)
    ]
    return Table(
        id="claims",
        caption=f"Claims of the paper ({len(claims)}). {'; '.join(counts)}.",
        stub="Claim",
        columns=(Column(title="demanded"), *(Column(title=title) for title in columns)),
        rows=tuple(rows),
        notes=(
            "AUCs in points (per cent). Published figures count as exact. Intervals (95 %): released files, over test "
            "images (bootstrap); measured here, over seeds; figures taken as independent. A claim is undecided where "
            "its interval crosses what is demanded, or where a figure is missing.",
        ),
        numeric=False,
    )


def _row(claim: Claim, outcomes: list[Outcome], columns: list[str]) -> Row:
    note = (Note(text=claim.note),) if claim.note else ()
    low, high = (None if math.isinf(end) else end for end in (claim.low, claim.high))
    strict = "ends excluded" if claim.strict else ""
    demanded = Cell(text=claim.bound, kind="text", title=claim.text, low=low, high=high, word=strict)
    cells = (_cell(found, INTERVALS.get(column, "")) for found, column in zip(outcomes, columns, strict=True))
    return Row(title=f"{claim.id}: {claim.statement} ({claim.place})", cells=(demanded, *cells), notes=note)


def _cell(found: Outcome, interval: str) -> Cell:
    return Cell(
        text=text(found),
        kind="text",
        title=found.reason,
        value=found.value,
        low=found.low,
        high=found.high,
        test="" if found.low is None else interval,
        word=found.verdict,
    )


def text(found: Outcome) -> str:
    """A verdict with its numbers: "holds: 6.9 (6.1 to 7.7)"."""
    if found.value is None:
        return f"{found.verdict} {NO_VALUE} {found.reason}" if found.reason else found.verdict
    figure = f"{found.value:.3g}" if abs(found.value) < 0.1 else f"{found.value:.1f}"
    interval = "" if found.low is None or found.high is None else f" ({found.low:.1f} to {found.high:.1f})"
    return f"{found.verdict}: {figure}{interval}"


REPORT = Report(label="Claims", build=build, order=12)
