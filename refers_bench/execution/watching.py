"""What does a person see of jobs that run anywhere: how far, where, with what memory, and since when silent?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from refers_bench.plan.running import SILENT_S, Running, whose
from refers_bench.render.duration import duration

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("job", "update", "losses", "images/s", "left", "memory", "GPU", "where", "")


def columns(run: Running) -> dict[str, str]:
    """Column of `COLUMNS` -> its text; '' for what nobody knows."""
    view = run.view
    gpu = view.get("gpu", {})
    memory = gpu.get("mem_bytes", view.get("peak_mem_bytes"))
    return {
        "job": run.job.name,
        "update": f"{view.get('step', 0)}/{view.get('steps', '?')}" if view else "",
        "losses": " ".join(f"{name} {value:.3f}" for name, value in view.get("losses", {}).items()),
        "images/s": f"{view['images_per_s']:.0f}" if view.get("images_per_s") else "",
        "left": duration(view["left_s"]) if "left_s" in view else "",
        "memory": _gib(memory, gpu.get("total_bytes")),
        "GPU": f"{gpu['utilisation_percent']} %" if "utilisation_percent" in gpu else "",
        "where": _where(run),
        "": _word(run),
    }


def _gib(used: int | None, whole: int | None) -> str:
    if used is None:
        return ""
    return f"{used / 2**30:.1f}" + (f" of {whole / 2**30:.1f}" if whole else "") + " GiB"


def _where(run: Running) -> str:
    """Host and device as the job says them, engine and process as its claim does."""
    host, pid = run.view.get("host", run.owner["host"]), run.view.get("pid", run.owner["pid"])
    device = run.view.get("gpu", {}).get("name") or run.view.get("device", "")
    parts = [str(host), *([str(device)] if device else []), str(run.owner.get("engine", "")), f"process {pid}"]
    return ", ".join(part for part in parts if part)


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
    texts = columns(run)
    named = {"images/s": "{} images/s", "left": "{} left", "GPU": "GPU {} busy"}
    parts = [named.get(name, "{}").format(texts[name]) for name in COLUMNS[1:] if texts[name]]
    return f"{texts['job']}: {', '.join(parts)}"


def table(runs: Sequence[Running]) -> Table:
    """The same for a terminal."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    rows = [columns(run) for run in runs]
    used = [name for name in COLUMNS if name == "job" or any(row[name] for row in rows)]
    for name in used:
        shown.add_column(name, no_wrap=name in ("update", "images/s", "left", "GPU"), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(row[name]) for name in used))  # names are text, not markup
    return shown


class Pace:
    """How long will the rest take, at the rate at which jobs were seen to end?

    Args:
        done: jobs that were over at the first look.
        now: its time in seconds.
    """

    #: Jobs that must have ended before anything is said.
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
    counts: dict[str, int] = {}
    for state in states.values():
        counts[state] = counts.get(state, 0) + 1
    done = f"{counts.pop('done', 0)} of {len(states)} done"
    return ", ".join([done, *(f"{count} {state}" for state, count in sorted(counts.items()))])


def hopeless(jobs: Sequence[Any], states: Mapping[str, str]) -> set[str]:
    """Keys of the jobs that cannot come to anything as things stand: failed, unavailable, or in need of such a one.

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
