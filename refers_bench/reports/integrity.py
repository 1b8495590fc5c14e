"""What do the prediction files contain that a reader should know?"""

from __future__ import annotations

from collections.abc import Mapping

from refers_bench.analysis.integrity import KINDS, Finding, findings
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import NO_VALUE, Cell, Column, Row, Table
from refers_bench.reports import _grid


def build(results: Results) -> Table | None:
    """One row per finding; None when no run has stored predictions."""
    if not results.records:
        return None
    found = findings(results)
    checked = "; ".join(KINDS)
    names = _grid.titles(results, results.methods)
    return Table(
        id="integrity",
        caption=f"{_grid.caption_prefix(results, results.targets)}Integrity of the stored test predictions: "
        f"{len(found)} findings.",
        stub="Target",
        columns=tuple(Column(title=title) for title in ("finding", "runs", "classes", "what the files contain")),
        rows=tuple(_row(one, names) for one in found),
        notes=(
            f"Looked for, in the predictions of every finished run: {checked}.",
            "These are facts about files. They say nothing about how the files came to be.",
        ),
        numeric=False,
    )


def _row(one: Finding, names: Mapping[str, str]) -> Row:
    texts = (one.kind, ", ".join(names.get(run, run) for run in one.runs), ", ".join(one.classes) or NO_VALUE, one.text)
    return Row(
        title=f"{_grid.target_title(one.target)}, {_grid.percent(one.target.label_ratio)}",
        cells=tuple(Cell(text=text, kind="text") for text in texts),
    )


REPORT = Report(label="Integrity", build=build, order=60)
