"""How do the figures compare with the published ones and with the released prediction files?"""

from __future__ import annotations

from collections.abc import Iterable

from refers_bench.analysis.equivalence import MARGIN, TOST, Equivalence
from refers_bench.analysis.published import row_of
from refers_bench.analysis.references import Reference, references, release_of
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import NO_VALUE, Cell, Column, Note, Row, Table
from refers_bench.reports import _cell_notes, _grid, _sharing

_COLUMNS = (
    "published", "released files", "measured here", "n", "released minus published", "ours minus published",
    "90 % interval", "P", "verdict",
)  # fmt: skip


def build(results: Results) -> Table | None:
    """One row per published figure that the results have a cell for; None when there is none."""
    found = references(results)
    if not found:
        return None
    release = release_of(results)
    return Table(
        id="references",
        caption=_grid.caption_prefix(results, (one.target for one in found))
        + "Three columns for each figure of the paper: as published, from the released prediction files, and "
        "measured here. Mean class AUC in per cent.",
        stub="Figure",
        columns=tuple(Column(title=title) for title in _COLUMNS),
        rows=tuple(_row(results, release, one) for one in found),
        notes=tuple(_notes(results)),
    )


def _notes(results: Results) -> Iterable[str]:
    margin = f"{MARGIN * 100:g}"
    yield (
        f"Verdict: {TOST} of our seeds against the published figure, which counts as exact, with a margin of {margin} "
        "AUC point: reproduced when the 90 % interval of the difference lies within the margin, not reproduced when "
        "it lies outside, inconclusive otherwise. P: the larger one-sided P-value; small means equal up to the margin; "
        "not corrected for the number of figures."
    )
    if results.origin != "released":
        yield (
            "The verdict is about these runs, with every deviation of the ledger: a small protocol says nothing "
            "about the paper."
        )
    yield "Released files hold one run for each figure: a difference from the published figure has no test."


def _row(results: Results, release: Results | None, one: Reference) -> Row:
    value = one.published
    where = f"{one.target.dataset}: {one.target.task}, {_grid.percent(one.target.label_ratio)}"
    synthetic = (_grid.SYNTHETIC,) if one.target in results.synthetic else ()
    memory = _cell_notes.notes(results, row_of(value.method, results.methods), target=one.target)
    files: tuple[Note, ...] = ()
    if release is not None and release is not results and one.released is not None:
        files = _sharing.notes(release, row_of(value.method, release.methods), target=one.target)
    return Row(
        title=f"{value.method}, {where} (Table {value.table})",
        cells=tuple(_cells(one, files)),
        notes=(*synthetic, *memory),
    )


def _cells(one: Reference, files: tuple[Note, ...]) -> Iterable[Cell]:
    value, ours = one.published, one.reproduced
    yield Cell(value=value.value, kind="published")
    yield Cell(value=one.released, decimals=2, notes=files) if one.released is not None else Cell(kind="missing")
    if ours is not None and ours.n:
        yield Cell(value=ours.mean * 100, sd=ours.sd * 100 if ours.n > 1 else None, n=(ours.n,), decimals=2)
        some = f"{ours.n} of {ours.n_planned}" if ours.n < ours.n_planned else str(ours.n)
        yield Cell(text=some, value=ours.n, n=(ours.n_planned,), word="of the planned n", kind="text")
    else:
        yield from (Cell(kind="missing"), Cell(kind="missing"))
    yield _signed(None if one.released is None else one.released - value.value)
    yield _signed(ours.mean * 100 - value.value if ours is not None and ours.n else None)
    found = one.verdict
    if isinstance(found, Equivalence):
        yield _grid.interval_cell(
            found.low * 100, found.high * 100, decimals=2, signed=True, test=found.test, n=(found.n,), df=found.df
        )
        note = Note(text=f"{found.test}, n = {found.n} seeds, df = {found.df}.")
        yield _grid.p_cell(found.p, test=found.test, n=(found.n,), df=found.df, notes=(note,))
        yield Cell(text=found.verdict, kind="text")
    else:
        yield Cell(kind="missing")
        yield Cell(kind="p", notes=(Note(text=f"no P-value: {found.reason}."),))
        yield Cell(text=NO_VALUE, kind="text")


def _signed(value: float | None) -> Cell:
    return Cell(kind="missing") if value is None else Cell(value=value, decimals=2, signed=True)


REPORT = Report(label="References", build=build, order=10)
