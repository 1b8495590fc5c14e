"""Lists the cells without a result, with the reasons."""

from collections.abc import Mapping
from typing import Any

from refers_bench.analysis.cells import PlannedRun
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import MISSING
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Row, Table, columns, words
from refers_bench.reporting import grid

#: CSS class of each state.
_KIND = {"failed": "failed", "unavailable": "unavailable", "missing": "missing", "done": "text"}


def build(results: Results) -> Table | None:
    """One row per method, target and reason, worst first; None when every cell has a figure."""
    groups: dict[tuple[str, str, str, str], list[PlannedRun]] = {}
    for planned in results.planned:
        if not planned.run.counts:
            target, run = grid.where(planned.target), planned.run
            groups.setdefault((planned.method, target, run.state, run.reason), []).append(planned)
    if not groups:
        return None
    order = {"failed": 0, "done": 1, MISSING: 2, "unavailable": 3}
    titles = grid.titles(results)
    rows = [
        Row(
            title=titles[method],
            cells=(
                *words(target, grid.seeds(run.run.seed for run in runs)),
                Cell(text="undefined" if state == "done" else state, kind=_KIND[state]),
                *words(reason, _messages(_failed(results, runs))),
                _attempts(_failed(results, runs)),
            ),
        )
        for (method, target, state, reason), runs in sorted(groups.items(), key=lambda item: order[item[0][2]])
    ]
    absent = sum(map(len, groups.values()))
    return Table(
        id="failures",
        caption=f"Cells without a figure: {absent} of {len(results.planned)}.",
        stub="Method",
        columns=columns("target", "seeds", "state", "reason", "message", "attempts"),
        rows=tuple(rows),
        notes=("'refers-bench run' does what is missing or failed, and nothing else.",),
        numeric=False,
    )


def _failed(results: Results, runs: list[PlannedRun]) -> list[Mapping[str, Any]]:
    """Records of the failed jobs behind these cells, each once."""
    keys = dict.fromkeys(key for run in runs for key in results.failed_needs(run.run.key))
    return [results.failures[key] for key in keys]


def _attempts(failed: list[Mapping[str, Any]]) -> Cell:
    """Largest number of attempts; empty when no job failed."""
    attempts = [int(record.get("attempts") or 1) for record in failed]
    return grid.count_cell(max(attempts)) if attempts else Cell(text="", kind="text")


def _messages(failed: list[Mapping[str, Any]]) -> str:
    """Messages of the failed jobs, each once, cut to a line that can be read."""
    texts = dict.fromkeys(str(record.get("message", "")) for record in failed)
    return "; ".join(text if len(text) <= 200 else text[:197] + "..." for text in texts if text)


REPORT = Report(label="Cells without a figure", build=build, order=30, part="runs")
