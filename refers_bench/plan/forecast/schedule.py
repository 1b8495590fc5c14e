"""Schedules jobs on a number of slots; the longest chain of waiting jobs goes first."""

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


def chains(seconds: Mapping[str, float], needs: Needs) -> dict[str, float]:
    """Job -> seconds of the longest chain that begins with it: it, and those that wait for it.

    Raises:
        ValueError: jobs need each other.
    """
    return _chains(seconds, *_graph(seconds, needs))


def _graph(seconds: Mapping[str, float], needs: Needs) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many each job waits for, and who waits for it. By hand: `graphlib` takes twice as long on 100,000 jobs."""
    waits, children = dict.fromkeys(seconds, 0), dict[str, list[str]]()
    for job in seconds:
        for need in dict.fromkeys(needs.get(job, ())):
            if need in seconds:
                waits[job] += 1
                children.setdefault(need, []).append(job)
    return waits, children


def _in_order(waits: Mapping[str, int], children: Mapping[str, list[str]]) -> list[str]:
    """Jobs, each after those it needs; needed ones that are not among them are done."""
    left = dict(waits)
    found = [job for job, count in left.items() if not count]
    for job in found:  # which grows meanwhile
        for child in children.get(job, ()):
            left[child] -= 1
            if not left[child]:
                found.append(child)
    if len(found) < len(left):
        raise ValueError(f"jobs need each other: {sorted(left.keys() - set(found))[:3]}")
    return found


def _chains(
    seconds: Mapping[str, float], waits: Mapping[str, int], children: Mapping[str, list[str]]
) -> dict[str, float]:
    longest = dict(seconds)
    for job in reversed(_in_order(waits, children)):
        if job in children:
            longest[job] += max([longest[child] for child in children[job]])
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
    waits, children = _graph(seconds, needs)
    longest = _chains(seconds, waits, children)
    ranks = {job: -chain for job, chain in longest.items()} if ranks is None else ranks
    places = {job: place for place, job in enumerate(seconds)}
    room, beside = {True: 1, False: slots}, set(apart)
    waiting: dict[bool, list[tuple[float, int, str]]] = {True: [], False: []}
    running: list[tuple[float, int, str]] = []
    starts: dict[str, float] = {}
    now, free = 0.0, [job for job, count in waits.items() if not count]
    while running or len(starts) < len(seconds):
        for job in free:
            heapq.heappush(waiting[job in beside], (ranks.get(job, 0.0), places[job], job))
        for where, ready in waiting.items():
            while ready and room[where]:
                _, place, job = heapq.heappop(ready)
                starts[job] = now
                room[where] -= 1
                heapq.heappush(running, (now + seconds[job], place, job))
        now, _, job = heapq.heappop(running)
        room[job in beside] += 1
        free = []
        for child in children.get(job, ()):
            waits[child] -= 1
            if not waits[child]:
                free.append(child)
    path = _critical(longest, children)
    return Schedule(
        slots=slots,
        starts=starts,
        wall_s=now,
        total_s=sum(seconds.values()),
        apart_s=sum(seconds[job] for job in seconds if job in beside),
        critical=path,
        critical_s=longest[path[0]] if path else 0.0,
    )


def _critical(longest: Mapping[str, float], children: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The longest chain: what begins it, then whatever has waited longest for the one before."""
    path: list[str] = []
    candidates = list(longest)
    while candidates:
        path.append(max(candidates, key=longest.__getitem__))
        candidates = children.get(path[-1], [])
    return tuple(path)
