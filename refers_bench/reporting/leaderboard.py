"""Builds the page of a registry of results: one leaderboard for each task and share of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.registry import Entry
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import SeedSummary, mean_sd
from refers_bench.render.page import Detail, Page, Section
from refers_bench.render.quantity import quantity
from refers_bench.render.table import MISSING, Cell, Note, Row, Table, columns
from refers_bench.reporting import grid, notes, provenance

_ABOUT = (
    "As submitted: each mean is computed from the AUCs of the entry's classes, whose predictions are in its bundle. "
    "Rows are in the order of their means and not tested against each other: their test images may differ."
)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One row of a leaderboard."""

    entry: Entry
    results: Results
    anchor: str
    runs: tuple[PlannedRun, ...]
    summary: SeedSummary

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Whole data first, then those with a figure, highest mean first."""
        return bool(self.entry.limit), not self.summary.n, -self.summary.mean if self.summary.n else 0.0


def page(entries: Sequence[Entry]) -> Page:
    """The page of some entries."""
    lines: dict[Target, list[_Line]] = {}
    for place, entry in enumerate(entries):
        results = entry.results
        for (method, target), summary in results.cells.items():
            runs = results.runs(method, target)
            line = _Line(entry=entry, results=results, anchor=f"entry-{place}", runs=runs, summary=summary)
            lines.setdefault(target, []).append(line)
    ordered = sorted(lines, key=lambda one: (one.dataset, one.task, one.suffix, -one.label_ratio))
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    section = Section(
        id="registry",
        title="Registry of results",
        facts=f"{count}, {quantity(len(ordered), 'leaderboard')}. {_ABOUT}",
        items=tuple(_table(place, target, lines[target]) for place, target in enumerate(ordered)),
        details=tuple(_detail(place, entry) for place, entry in enumerate(entries)),
        commands=(
            "refers-bench results publish MANIFEST --out FOLDER",
            "refers-bench results registry build FOLDER --out DIR",
        ),
    )
    return Page(title="Registry of results", sections=(section,))


def _table(place: int, target: Target, lines: Sequence[_Line]) -> Table:
    """The leaderboard of one column; AUCs in per cent."""
    names = dict.fromkeys(one.name for line in lines for run in line.runs for one in run.metrics if one.split == "test")
    about = (("dataset", target.dataset), ("labels", grid.percent(target.label_ratio)))
    synthetic = any(run.synthetic for line in lines for run in line.runs)
    return Table(
        id=f"leaderboard-{place}",
        caption=f"{'Synthetic data. ' if synthetic else ''}{grid.where(target)}: test AUC in per cent.",
        stub="Row (entry)",
        columns=columns("mean", "seeds", "test labels", *names),
        rows=tuple(_row(line, list(names)) for line in sorted(lines, key=lambda one: one.rank)),
        keys=about,
    )


def _row(line: _Line, names: Sequence[str]) -> Row:
    summary, first = line.summary, line.runs[0]
    labels = [one.n_pos + one.n_neg for run in line.runs for one in run.metrics if one.split == "test"]
    words = [f"at most {line.entry.limit} images of each split."] if line.entry.limit else []
    words += [f"origin: {line.entry.origin}."] if line.entry.origin != "run" else []
    synthetic = (grid.SYNTHETIC,) if any(run.synthetic for run in line.runs) else ()
    seeds = Cell(text=f"{summary.n} of {summary.n_planned}", n=(summary.n, summary.n_planned), kind="text")
    return Row(
        title=f"{first.label} ({line.entry.name})",
        cells=(
            _mean(line),
            seeds,
            grid.count_cell(max(labels)) if labels else MISSING,
            *(_class(line.runs, name) for name in names),
        ),
        notes=(*synthetic, *(Note(text=text) for text in words), *grid.row_note(line.results, first.method)),
        keys=(("method", first.label),),
    )


def _mean(line: _Line) -> Cell:
    summary = line.summary
    if not summary.n:
        reason = "; ".join(summary.reasons) or "no figure"
        return Cell(kind="missing", link=line.anchor, title=reason, notes=(Note(text=f"{reason}."),))
    return Cell(
        value=summary.mean * 100,
        sd=summary.sd * 100 if summary.n > 1 else None,
        n=(summary.n,),
        tag=", ".join(filter(None, (notes.tag(summary), "limited data" if line.entry.limit else ""))),
        link=line.anchor,
        notes=tuple(notes.of_summary(summary)),
    )


def _class(runs: Sequence[PlannedRun], name: str) -> Cell:
    """Mean over the seeds that count; no figure unless all of them have one."""
    found = [run.metrics.by_class("test").get(name) for run in runs if run.run.counts]
    values = [one.auc for one in found if one is not None and one.auc is not None]
    if not values or len(values) < len(found):
        return MISSING
    mean, sd = mean_sd(values)
    return Cell(value=mean * 100, sd=None if math.isnan(sd) else sd * 100, n=(len(values),))


def _detail(place: int, entry: Entry) -> Detail:
    return Detail(id=f"entry-{place}", title=entry.name, facts=tuple(_facts(entry)), code="\n".join(entry.commands))


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    bundle = entry.bundle
    yield "title", entry.title or entry.name
    yield "bundle", f"sha256 {bundle.sha256}, {bundle.bytes / 2**20:.1f} MiB"
    yield "written by", entry.written_by
    yield "origin", entry.origin
    yield "protocol", entry.protocol or "not stated"
    if entry.changes:
        yield "changed on the command line", ", ".join(entry.changes)
    for name, card in entry.datasets.items():
        yield "dataset", f"{name}: {card.label}; {card.source or 'no source'}; licence: {card.licence or 'not stated'}"
    for one in entry.environments:
        texts = provenance.environment({"provenance": one.model_dump()})
        yield f"{quantity(one.jobs, 'job')} ran with", " | ".join(text for text in texts if text) or "not known"
