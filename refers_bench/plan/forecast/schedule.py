"""Schedules jobs on a number of slots; the longest chain of waiting jobs goes first."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

Needs = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Jobs on slots.

    Attributes:
        slots: jobs at a time.
        starts: job -> second at which it starts.
        wall_s: when the last one ends.
        total_s: their sum.
        apart_s: the part of it that jobs take which are in no slot.
        critical: the longest chain of jobs that wait for each other, in order.
        critical_s: what it takes.
    """

    slots: int
    starts: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    total_s: float = 0.0
    apart_s: float = 0.0
    critical: tuple[str, ...] = ()
    critical_s: float = 0.0

    @property
    def bound_s(self) -> float:
        """No schedule on these slots ends sooner."""
        return max(self.critical_s, (self.total_s - self.apart_s) / self.slots, self.apart_s)


def in_order(seconds: Mapping[str, float], needs: Needs) -> list[str]:
    """Jobs, each after those it needs; needed ones that are not among them are done.

    Raises:
        ValueError: jobs need each other.
    """
    try:
        return list(_sorter(seconds, needs).static_order())
    except CycleError as error:
        raise ValueError(f"jobs need each other: {error.args[1][:3]}") from error


def _sorter(seconds: Mapping[str, float], needs: Needs) -> TopologicalSorter[str]:
    return TopologicalSorter({job: [need for need in needs.get(job, ()) if need in seconds] for job in seconds})


def chains(seconds: Mapping[str, float], needs: Needs) -> dict[str, float]:
    """Job -> seconds of the longest chain that begins with it: it, and those that wait for it."""
    longest = dict(seconds)
    after: dict[str, float] = {}
    for job in reversed(in_order(seconds, needs)):
        longest[job] = seconds[job] + after.get(job, 0.0)
        for need in needs.get(job, ()):
            after[need] = max(after.get(need, 0.0), longest[job])
    return longest


def schedule(
    seconds: Mapping[str, float],
    needs: Needs,
    *,
    slots: int,
    ranks: Mapping[str, float] | None = None,
    apart: Collection[str] = (),
) -> Schedule:
    """List scheduling: whenever a slot is free, the first of the jobs that can start goes.

    Args:
        seconds: job -> what it takes.
        needs: job -> those that must end before; ones that are not in `seconds` are done.
        slots: jobs at a time, at least one.
        ranks: lower starts first; None for the longest chain first, which is never far from `Schedule.bound_s`.
        apart: jobs that run beside the slots, one at a time.

    Raises:
        ValueError: jobs need each other, or there is no slot.
    """
    if slots < 1:
        raise ValueError("no slot, no schedule")
    longest = chains(seconds, needs)
    ranks = {job: -chain for job, chain in longest.items()} if ranks is None else ranks
    places = {job: place for place, job in enumerate(seconds)}
    room, beside = {True: 1, False: slots}, set(apart)
    waiting: dict[bool, list[tuple[float, int, str]]] = {True: [], False: []}
    running: list[tuple[float, int, str]] = []
    starts: dict[str, float] = {}
    now, sorter = 0.0, _sorter(seconds, needs)
    sorter.prepare()
    while sorter.is_active():
        for job in sorter.get_ready():
            heapq.heappush(waiting[job in beside], (ranks.get(job, 0.0), places[job], job))
        for where, ready in waiting.items():
            while ready and room[where]:
                _, place, job = heapq.heappop(ready)
                starts[job] = now
                room[where] -= 1
                heapq.heappush(running, (now + seconds[job], place, job))
        now, _, job = heapq.heappop(running)
        room[job in beside] += 1
        sorter.done(job)
    path = _critical(longest, needs)
    return Schedule(
        slots=slots,
        starts=starts,
        wall_s=now,
        total_s=sum(seconds.values()),
        apart_s=sum(seconds[job] for job in seconds if job in beside),
        critical=path,
        critical_s=longest[path[0]] if path else 0.0,
    )


def _critical(longest: Mapping[str, float], needs: Needs) -> tuple[str, ...]:
    """The longest chain: what begins it, then whatever has waited longest for the one before."""
    path: list[str] = []
    candidates = list(longest)
    while candidates:
        path.append(max(candidates, key=longest.__getitem__))
        candidates = [job for job in longest if path[-1] in needs.get(job, ())]
    return tuple(path)
