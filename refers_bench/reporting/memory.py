"""Writes the footnote of figures whose training processed its batches in parts to save memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.render.table import Note

#: Kind of a job that a cell needs -> how a note begins that is about it.
ABOUT = {"pretrain": "pre-training: ", "discover": "discovery of visual words: "}
#: What equals a run at once and what does not.
SAME = "the effective batch is the same, rounding and what is drawn while losses are computed (dropout) are not"


def notes(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each way in which batches behind these table cells were processed in parts.

    Args:
        results: the results.
        *methods: row names.
        target: their column.
    """
    if target is None:
        return ()
    found: dict[str, None] = {}
    for method in methods:
        if method is not None:
            found |= dict.fromkeys(_texts(results, method, target))
    return tuple(Note(text=text) for text in found)


def _texts(results: Results, method: str, target: Target) -> Iterator[str]:
    """Sentences about the cell's own jobs, with their seeds where not all are meant, then about those they need."""
    runs = [planned.run for planned in results.runs(method, target) if planned.run.key in results.records]
    seeds: dict[str, list[int]] = {}
    needed: dict[str, None] = {}
    for run in runs:
        if text := in_parts(results.records[run.key]):
            seeds.setdefault(text, []).append(run.seed)
        needed |= dict.fromkeys(_needed(results, run.key))
    for text, some in seeds.items():
        which = "" if len(some) == len(runs) else f" (seed{'s' * (len(some) > 1)} {', '.join(map(str, some))})"
        yield f"{text}{which}; {SAME}."
    for key in needed:
        if text := in_parts(results.records.get(key, {})):
            yield f"{ABOUT.get(results.jobs[key].kind, '')}{text}; {SAME}."


def _needed(results: Results, key: str) -> Iterator[str]:
    """Keys of all jobs that a job needs, directly or not."""
    for need in results.jobs[key].needs if key in results.jobs else ():
        yield need
        yield from _needed(results, need)


def in_parts(record: Mapping[str, Any]) -> str:
    """Of one job: "batch processed in 2 parts after running out of memory"; '' for one whose batches were whole."""
    about = (record.get("facts") or {}).get("accumulation")
    if not about:
        return ""
    why = "after running out of memory" if about.get("after") else "as asked for"
    norm = ", whose batch statistics are those of a part" if about.get("batch_statistics") else ""
    return f"batch processed in {about['parts']} parts {why}{norm}"
