"""Describes running jobs for people, wherever they run: progress, place, memory, and since when they are silent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from refers_bench.execution.progress import facts_of, in_line
from refers_bench.plan.running import SILENT_S, Running, whose
from refers_bench.printable import printable
from refers_bench.render.duration import duration

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("job", "update", "losses", "images/s", "left", "memory", "GPU", "where", "")


def columns(run: Running) -> dict[str, str]:
    """Column of `COLUMNS` -> its text; '' for what is not known."""
    view, gpu = run.view, run.view.get("gpu", {})
    return {
        "job": run.job.name,
        **facts_of(view),
        "memory": _gib(gpu.get("mem_bytes", view.get("peak_mem_bytes")), gpu.get("total_bytes")),
        "GPU": f"{gpu['utilisation_percent']} %" if "utilisation_percent" in gpu else "",
        "where": _where(run),
        "": _word(run),
    }


def _gib(used: int | None, whole: int | None) -> str:
    if used is None:
        return ""
    return f"{used / 2**30:.1f}" + (f" of {whole / 2**30:.1f}" if whole else "") + " GiB"


def _where(run: Running) -> str:
    """Host, device and process as the job reports them, engine (and what is missing) as its lease does."""
    known = {**run.owner, **run.view}
    device = run.view.get("gpu", {}).get("name") or run.view.get("device")
    parts = (known["host"], device, run.owner.get("engine"), f"process {known['pid']}")
    return ", ".join(str(part) for part in parts if part)


def _word(run: Running) -> str:
    if run.queued:
        return whose(run.owner)
    if run.silent_s is None:
        return "starting"
    if run.silent_s > SILENT_S:
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - run.silent_s))
        return f"silent for {duration(run.silent_s)}, since {since}"
    return ""


def line(run: Running) -> str:
    """A running job in one line."""
    facts = columns(run)
    return in_line(facts.pop("job"), facts)


def table(runs: Sequence[Running]) -> Table:
    """Running jobs as a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    rows = [columns(run) for run in runs]
    used = [name for name in COLUMNS if name == "job" or any(row[name] for row in rows)]
    for name in used:
        shown.add_column(name, no_wrap=name in ("update", "images/s", "left", "GPU"), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(printable(row[name])) for name in used))  # names are text, not markup
    return shown


class Pace:
    """The time that the rest will take, at the rate at which jobs were seen to end.

    Args:
        done: jobs that were over at the first look.
        now: its time in seconds.
    """

    #: Jobs that must have ended before a time is estimated.
    LEAST = 3

    def __init__(self, done: int, now: float) -> None:
        self.done, self.since = done, now

    def left(self, done: int, total: int, now: float) -> str:
        """About how long, in words; '' before enough have ended."""
        ended = done - self.done
        if ended < self.LEAST or done >= total:
            return ""
        return f"about {duration((now - self.since) / ended * (total - done))} left at this rate"


def summary(states: Mapping[str, str]) -> str:
    """How many jobs are in which state: "5 of 10 done, 2 running"."""
    counts = Counter(states.values())
    done = f"{counts.pop('done', 0)} of {len(states)} done"
    return ", ".join([done, *(f"{count} {state}" for state, count in sorted(counts.items()))])


def hopeless(jobs: Sequence[Any], states: Mapping[str, str]) -> set[str]:
    """Keys of the jobs that cannot be done as things stand: failed, unavailable, or in need of such a job.

    Args:
        jobs: of a plan, needed ones before those that need them.
        states: key -> state.
    """
    found: set[str] = set()
    for job in jobs:
        state = states[job.key]
        if state in ("failed", "unavailable") or (state == "to do" and any(need in found for need in job.needs)):
            found.add(job.key)
    return found
