"""Builds the table of figures beside the published ones and those of the released prediction files."""

from collections.abc import Iterable
from typing import Any

from refers_bench.analysis.paper.published import row_of
from refers_bench.analysis.paper.references import Reference, references, release_of
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.replication import CONSISTENT, DIFFERS, PREDICTION, PUBLISHED_SEEDS, Replication
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, NO_VALUE, Cell, Note, Row, Table, columns, words
from refers_bench.reporting import comparisons, grid, notes

_COLUMNS = (
    *("published", "released files", "measured here", "n", "released minus published", "ours minus published"),
    *("95 % prediction", "P", "verdict", "power at 1 point", "detectable"),
)


def build(results: Results) -> Table | None:
    """One row per published figure that the results have a cell for; None when there is none."""
    found = references(results)
    if not found:
        return None
    release = release_of(results)
    return Table(
        id="references",
        caption="Three columns for each figure of the paper: as published, from the released prediction files, and "
        "measured here. Mean class AUC in per cent.",
        stub="Figure",
        columns=columns(*_COLUMNS),
        rows=tuple(_row(results, release, one) for one in found),
        notes=tuple(_notes(results)),
    )


def _notes(results: Results) -> Iterable[str]:
    yield (
        f"95 % prediction: how far ours may lie from a mean over {PUBLISHED_SEEDS} other seeds of the same "
        "distribution, above or below. The paper prints no spread, so that of our seeds stands for its own. Verdict: "
        f"{CONSISTENT} within this interval, {DIFFERS} outside of it. P: {PREDICTION}; not corrected for the number "
        "of figures."
    )
    yield (
        f"Error rates: a true replication is called {CONSISTENT} in 95 % of repetitions, whatever its spread. Power "
        f"at 1 point: share of repetitions in which a true difference of 1 point is called {DIFFERS}, with this "
        "spread and n; detectable: the difference that is called so in 80 %. Where they say that little is noticed, "
        f"{CONSISTENT} is no evidence of equality."
    )
    if results.origin != "released":
        yield (
            "The verdict is about these runs, with every deviation of the ledger: a small protocol says nothing "
            "about the paper."
        )
    yield "Released files hold one run for each figure: a difference from the published figure has no test."


def _row(results: Results, release: Results | None, one: Reference) -> Row:
    value = one.published
    footnotes = notes.of_runs(results, row_of(value.method, results.methods), target=one.target)
    files: tuple[Note, ...] = ()
    if release is not None and release is not results and one.released is not None:
        files = notes.sharing(release, row_of(value.method, release.methods), target=one.target)
    return Row(
        keys=grid.keys(results, one.target, row_of(value.method, results.methods)),
        title=f"{value.method}, {grid.where(one.target)} (Table {value.table})",
        cells=tuple(_cells(one, files)),
        notes=footnotes,
    )


def _cells(one: Reference, files: tuple[Note, ...]) -> Iterable[Cell]:
    value, ours = one.published, one.reproduced
    yield Cell(value=value.value, kind="published")
    yield MISSING if one.released is None else Cell(value=one.released, decimals=2, notes=files)
    if ours is not None and ours.n:
        yield Cell(value=ours.mean * 100, sd=ours.sd * 100 if ours.n > 1 else None, n=(ours.n,), decimals=2)
        some = f"{ours.n} of {ours.n_planned}" if ours.n < ours.n_planned else str(ours.n)
        yield Cell(text=some, value=ours.n, n=(ours.n_planned,), word="of the planned n", kind="text")
    else:
        yield from (MISSING, MISSING)
    yield _signed(None if one.released is None else one.released - value.value)
    yield _signed(ours.mean * 100 - value.value if ours is not None and ours.n else None)
    found = one.verdict
    if not isinstance(found, Replication):
        yield from (MISSING, comparisons.no_p(found.reason), *words(NO_VALUE), MISSING, MISSING)
        return
    how: dict[str, Any] = {"test": found.test, "n": (found.n, found.n_published), "df": found.df}
    half = f"\N{PLUS-MINUS SIGN} {found.half * 100:.2f}"
    yield Cell(text=half, value=found.half * 100, kind="text", **how)
    note = Note(text=f"{found.test}, n = {found.n} seeds and {found.n_published} published ones, df = {found.df}.")
    yield comparisons.p_cell(found.p, notes=(note,), **how)
    yield from words(found.verdict)
    yield Cell(value=found.power, decimals=2)
    yield Cell(value=found.detectable * 100, decimals=2)


def _signed(value: float | None) -> Cell:
    return MISSING if value is None else Cell(value=value, decimals=2, signed=True)


REPORT = Report(label="References", build=build, order=10, part="published")
