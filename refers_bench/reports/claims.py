"""Builds the table of the paper's statements: which hold on the published, released and reproduced figures."""

import math
from collections.abc import Sequence
from dataclasses import replace

from refers_bench.analysis.paper.claims import VERDICTS, Claim, Outcome, Published, evaluate, load
from refers_bench.analysis.paper.evidence import Released, Reproduced
from refers_bench.analysis.paper.figures import Evidence
from refers_bench.analysis.paper.published import TARGETS
from refers_bench.analysis.paper.references import release_of
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import NO_VALUE, Cell, Note, Row, Table
from refers_bench.render.table import columns as headed
from refers_bench.reporting import grid

#: Titles of the columns of evidence.
SOURCES = ("published", "released files", "measured here")
#: What the intervals of each column are over.
INTERVALS = {SOURCES[1]: "95 % interval over test images", SOURCES[2]: "95 % interval over seeds"}
#: Columns and classes that refute a claim, of those that are named.
MOST_PLACES = 5


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
    real = [target for target in results.targets if results.as_documented(target)]
    if not any((target.dataset, target.task) in TARGETS.values() for target in real):
        return None
    found = table(load(), evidence(results))
    release = release_of(results)
    ours = grid.sharing(results, results.targets)
    files = grid.sharing(release, release.targets) if release and release is not results else ""
    shared = (ours.strip(), files and f"Of the released files:{files}")
    return replace(found, notes=(*found.notes, *(text for text in shared if text)))


def table(claims: tuple[Claim, ...], columns: dict[str, Evidence]) -> Table:
    """Claims x columns of evidence."""
    outcomes = [[evaluate(claim, column) for column in columns.values()] for claim in claims]
    rows = [_row(claim, found, list(columns)) for claim, found in zip(claims, outcomes, strict=True)]
    counts = [f"{title}: {counted([found[place] for found in outcomes])}" for place, title in enumerate(columns)]
    return Table(
        id="claims",
        caption=f"Claims of the paper ({len(claims)}). {'; '.join(counts)}.",
        stub="Claim",
        columns=headed("demanded", *columns),
        rows=tuple(rows),
        notes=(
            "AUCs in points (per cent). Published figures count as exact. Intervals (95 %): released files, over test "
            "images, paired where figures are measured on the same ones; measured here, over seeds, paired where runs "
            "of one seed share their label subset, otherwise by Welch's formula.",
            "A claim about several columns, classes or baselines holds where each of them satisfies it at the "
            "uncorrected level (intersection-union test); it fails where one refutes it after Holm's correction over "
            "all of them. It is undecided where its interval crosses what is demanded; no data: a figure that it "
            "needs is missing.",
        ),
        numeric=False,
    )


def counted(outcomes: Sequence[Outcome]) -> str:
    """How many outcomes there are of each verdict: "31 holds, 2 fails, 4 undecided, 6 no data"."""
    verdicts = [found.verdict for found in outcomes]
    return ", ".join(f"{verdicts.count(one)} {one}" for one in VERDICTS if one in verdicts)


def _row(claim: Claim, outcomes: list[Outcome], columns: list[str]) -> Row:
    note = (Note(text=claim.note),) if claim.note else ()
    low, high = (None if math.isinf(end) else end for end in claim.bounds[:2])
    strict = "ends excluded" if claim.bounds[2] else ""
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
        word="; ".join((found.verdict, *found.places)),
    )


def text(found: Outcome) -> str:
    """A verdict with its numbers, and where a claim about several columns fails: "fails: -1.2 (-1.9 to -0.5)"."""
    if found.value is None:
        return f"{found.verdict} {NO_VALUE} {found.reason}" if found.reason else found.verdict
    figure = f"{found.value:.3g}" if abs(found.value) < 0.1 else f"{found.value:.1f}"
    interval = "" if found.low is None or found.high is None else f" ({found.low:.1f} to {found.high:.1f})"
    shown = "; ".join(found.places[:MOST_PLACES])
    more = f"; and {len(found.places) - MOST_PLACES} more" if len(found.places) > MOST_PLACES else ""
    return f"{found.verdict}: {figure}{interval}" + (f", in {shown}{more}" if shown else "")


REPORT = Report(label="Claims", build=build, order=12, part="published")
