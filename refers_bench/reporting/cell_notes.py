"""Gathers the footnotes that every table must give to the runs behind a cell, whatever it shows of them."""

from __future__ import annotations

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.render.table import Note
from refers_bench.reporting import memory, sharing


def notes(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """What must be said of some rows in a column: batches processed in parts, and scores shared with other rows."""
    return (*memory.notes(results, *methods, target=target), *sharing.notes(results, *methods, target=target))
