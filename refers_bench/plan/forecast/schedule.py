"""Says when each job starts, on so many slots, if the longest chain of waiting jobs always goes first."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

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
    waits, children = _graph(seconds, needs)
    ready = [job for job, count in waits.items() if not count]
    found: list[str] = []
    while ready:
        job = ready.pop()
        found.append(job)
        for child in children.get(job, ()):
            waits[child] -= 1
            if not waits[child]:
                ready.append(child)
    if len(found) < len(seconds):
        raise ValueError(f"jobs need each other: {sorted(set(seconds) - set(found))[:3]}")
    return found


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
    waits, children = _graph(seconds, needs)
    places = {job: place for place, job in enumerate(seconds)}
    room, beside = {True: 1, False: slots}, set(apart)
    ready: dict[bool, list[tuple[float, int, str]]] = {True: [], False: []}

    def can_start(job: str) -> None:
        heapq.heappush(ready[job in beside], (ranks.get(job, 0.0), places[job], job))

    for job in seconds:
        if not waits[job]:
            can_start(job)
    running: list[tuple[float, int, str]] = []
    starts: dict[str, float] = {}
    now = 0.0
    while any(ready.values()) or running:
        for where, waiting in ready.items():
            while waiting and room[where]:
                _, place, job = heapq.heappop(waiting)
                starts[job] = now
                room[where] -= 1
                heapq.heappush(running, (now + seconds[job], place, job))
        now, _, job = heapq.heappop(running)
        room[job in beside] += 1
        for child in children.get(job, ()):
            waits[child] -= 1
            if not waits[child]:
                can_start(child)
    path = _critical(longest, seconds, children)
    return Schedule(
        slots=slots,
        starts=starts,
        wall_s=now,
        total_s=sum(seconds.values()),
        apart_s=sum(seconds[job] for job in seconds if job in beside),
        critical=path,
        critical_s=longest[path[0]] if path else 0.0,
    )


def _graph(seconds: Mapping[str, float], needs: Needs) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many each job waits for, and who waits for it."""
    waits, children = dict.fromkeys(seconds, 0), dict[str, list[str]]()
    for job in seconds:
        for need in dict.fromkeys(needs.get(job, ())):
            if need in seconds:
                waits[job] += 1
                children.setdefault(need, []).append(job)
    return waits, children


def _critical(
    longest: Mapping[str, float], seconds: Mapping[str, float], children: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    path: list[str] = []
    candidates: Sequence[str] = list(seconds)
    while candidates:
        path.append(max(candidates, key=lambda job: longest[job]))
        candidates = children.get(path[-1], ())
    return tuple(path)
