"""Shows how far the losses of each pre-training fell, on its own and on held-out radiographs."""

import math
from collections.abc import Sequence

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Row, Table, columns

#: Kinds of jobs that train without the target's labels.
KINDS = ("discover", "pretrain")
#: Shares of the recorded updates whose mean is the start, and the end.
START, END = 0.01, 0.05
EMPTY = Cell(kind="text")
COLUMNS = ("updates", "start", "end", "end / start", "validation, first", "validation, last")


def build(results: Results) -> Table | None:
    """Total and terms of each finished pre-training's loss at its start and end; None when none has a history."""
    rows = [
        row
        for key, job in results.jobs.items()
        if job.kind in KINDS and key in results.records
        for row in _rows(results, key, job.name)
    ]
    if not rows:
        return None
    return Table(
        id="pretraining",
        caption=f"Losses of the pre-trainings: means over the first {START * 100:g} % and the last {END * 100:g} % of "
        "the updates, and on held-out radiographs.",
        stub="Job and term",
        columns=columns(*COLUMNS),
        rows=tuple(rows),
        notes=("Losses of different methods measure different things: compare a row with itself only.",),
    )


def _rows(results: Results, key: str, name: str) -> list[Row]:
    curves = results.history(key, ("loss/", "val/"))
    terms = [found.removeprefix("loss/") for found in curves if found.startswith("loss/")]
    terms.sort(key=lambda term: term != "total")  # the total first
    if len(terms) == 2:  # a single term is the total
        terms = ["total"]
    rows = []
    for term in terms:
        steps, losses = curves[f"loss/{term}"]
        _, held_out = curves.get(f"val/{'loss' if term == 'total' else term}", ((), ()))
        start, end = _mean(losses, START, first=True), _mean(losses, END, first=False)
        ratio = 100 * end / start if start > 0 else math.nan
        share = Cell(text=f"{ratio:.0f} %", value=ratio, word="%", kind="text") if math.isfinite(ratio) else EMPTY
        title = name if term == "total" else f"{name}: {term}"
        rows.append(_row(title, steps, (_figure(start), _figure(end), share), held_out))
    known = {"val/loss", *(found.replace("loss/", "val/", 1) for found in curves if found.startswith("loss/"))}
    for measure in (found for found in curves if found.startswith("val/") and found not in known):
        rows.append(
            _row(f"{name}: {measure.removeprefix('val/')}", curves[measure][0], (EMPTY,) * 3, curves[measure][1])
        )
    return rows


def _row(title: str, steps: Sequence[int], losses: tuple[Cell, ...], held_out: Sequence[float]) -> Row:
    """A row: the number of updates, the training losses, and the first and last value on held-out radiographs."""
    updates = Cell(text=f"{steps[-1]:,}", value=steps[-1], kind="text")
    ends = (_figure(held_out[0]), _figure(held_out[-1])) if held_out else (EMPTY, EMPTY)
    return Row(title=title, cells=(updates, *losses, *ends))


def _figure(value: float) -> Cell:
    """A loss or another measure, to four digits."""
    if not math.isfinite(value):
        return Cell(text="not finite", kind="text")
    return Cell(text=f"{value:.4g}", value=value, kind="text")


def _mean(values: Sequence[float], share: float, *, first: bool) -> float:
    """Mean over a share of the values at one of their ends, over one at least."""
    count = max(1, round(len(values) * share))
    chosen = values[:count] if first else values[-count:]
    return sum(chosen) / len(chosen)


REPORT = Report(label="Pre-training", build=build, order=59, part="runs")
