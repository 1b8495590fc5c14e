"""Tells the state of each job of a plan, what manifests share, and why a job is stale."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import DataError, UserError, nearest
from refers_bench.plan.lock import LOCK, PREVIOUS, Job, Plan, keys, last
from refers_bench.store.context import CACHED
from refers_bench.store.leases import Leases
from refers_bench.store.results import Listing, ResultStore

#: Items of a changed list that an explanation names.
LISTED = 10
STATES = ("done", "running", "to do", "failed", "unavailable")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a results folder held at one moment.

    Attributes:
        listing: of the store.
        owners: key -> live job lease; of a job that waits in an engine's queue, that of the run that queued it.
    """

    listing: Listing
    owners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def look(store: ResultStore) -> Seen:
    """One look at each folder, however many jobs there are; nothing is written, so results may be read-only."""
    # Job leases first: a job that ends in between is then seen as done, not as one without a lease.
    owners = {}
    folder = store.results / "work" / "claims"
    if folder.is_dir():
        claims = Leases(store.results)
        claimed = [path.stem for path in folder.glob("*.json")]
        owners = {key: owner for key in claimed if (owner := claims.owner(key))}
    return Seen(listing=store.listing(), owners=owners)


def state_in(job: Job, seen: Seen, cache: Path) -> str:
    """One of `STATES`. What a job of `CACHED` keeps in the cache must also be there."""
    if job.key in seen.listing.done and _in_cache(job, cache):
        return "done"
    if job.unavailable:
        return "unavailable"
    if job.key in seen.owners and not seen.owners[job.key].get("queued"):
        return "running"
    return "failed" if job.key in seen.listing.failed else "to do"


def state_of(job: Job, store: ResultStore, cache: Path) -> str:
    """`state_in` for one job, from its own files."""
    owner, found, own = owner_of(job.key, store), store.state(job.key), frozenset({job.key})
    listing = Listing(**{found: own}) if found in ("done", "failed") else Listing()
    return state_in(job, Seen(listing=listing, owners={job.key: owner} if owner else {}), cache)


def _in_cache(job: Job, cache: Path) -> bool:
    return job.kind not in CACHED or (CACHED[job.kind](cache, job.key) / "meta.json").is_file()


def owner_of(key: str, store: ResultStore) -> dict[str, Any] | None:
    """The live job lease of one job; nothing is written, so read-only results can be looked at."""
    claimed = (store.results / "work" / "claims" / f"{key}.json").is_file()
    return Leases(store.results).owner(key) if claimed else None


def states(plan: Plan, store: ResultStore, cache: Path) -> dict[str, str]:
    """Key -> state of every job."""
    seen = look(store)
    return {job.key: state_in(job, seen, cache) for job in plan.jobs}


def shared(plan: Plan, results: Path) -> dict[str, int]:
    """Other planned manifests below the results folder -> how many of this plan's jobs they have, too."""
    own = {job.key for job in plan.jobs}
    counts: dict[str, int] = {}
    for path in sorted(results.glob(f"*/{LOCK}")):
        other = keys(path) if path.parent.name != plan.name else None
        if other and (count := len(own & other)):
            counts[path.parent.name] = count
    return counts


def explain(plan: Plan, before: Plan | None, pattern: str, store: ResultStore, cache: Path) -> Iterator[str]:
    """Lines that say, for each cell whose name matches, its state and which input changed.

    A job that is not done is compared with the last of its name that was, however often its inputs changed since; one
    that is, or never was, with the last plans.

    Args:
        plan: of now.
        before: of the lock that stands, or None; where it holds the same job, the lock before it is asked.
        pattern: shell pattern over the names of jobs and cells.
        store: results.
        cache: prepared images.

    Raises:
        UserError: no job matches.
    """
    matching = {job.key for job in plan.jobs if fnmatch(job.name, pattern)}
    matching |= {cell.key for cell in plan.cells if fnmatch(cell.name, pattern)}
    if not matching:
        names = [*(job.name for job in plan.jobs), *(cell.name for cell in plan.cells)]
        close = nearest(pattern, names)
        raise UserError(f"no job is called '{pattern}'" + (f"; did you mean '{close}'?" if close else ""))
    chosen = {job.name for job in plan.jobs if job.key in matching}
    now = _Now(plan, store, cache)
    finished = _Past({job.name: job for job in now.finished(chosen)}, now.recorded)
    plans = [one for one in (before, last(store.results / plan.name / PREVIOUS)) if one is not None]
    past = [_Past({job.name: job for job in one.jobs}, {job.key: job for job in one.jobs}.get) for one in plans]
    for job in plan.jobs:
        if job.key in matching:
            yield from now.explained(job, [finished, *past])


@dataclass(frozen=True)
class _Past:
    """Jobs of an earlier time, by name and by key."""

    named: Mapping[str, Job]
    keyed: Callable[[str], Job | None]


class _Now:
    """What there is now, for the explanations of its jobs."""

    def __init__(self, plan: Plan, store: ResultStore, cache: Path) -> None:
        self.plan, self.store, self.cache = plan, store, cache
        self.jobs = {job.key: job for job in plan.jobs}

    def recorded(self, key: str) -> Job | None:
        """A finished job, from its record; None where there is none."""
        record = self.record(key)
        return _job(record) if record else None

    def record(self, key: str) -> dict[str, Any] | None:
        """Record of a finished job; None where there is none that can be read."""
        with contextlib.suppress(DataError):
            return self.store.record(key)
        return None

    def finished(self, names: set[str]) -> list[Job]:
        """Finished jobs of these names, the newest last; not those that another plan has now under the same name."""
        locks = [path for path in self.store.results.glob(f"*/{LOCK}") if path.parent.name != self.plan.name]
        others = {key for path in locks for key in keys(path) or ()}
        found: dict[tuple[str, str], Job] = {}
        for key in self.store.listing().done - (others - set(self.jobs)):
            record = self.record(key)
            if record and record.get("name") in names:
                found[str(record.get("started", "")), key] = _job(record)
        return [found[place] for place in sorted(found)]

    def explained(self, job: Job, past: list[_Past]) -> Iterator[str]:
        state = state_of(job, self.store, self.cache)
        yield f"{job.name}: {state} ({job.key})"
        if job.unavailable:
            yield f"  unavailable: {job.unavailable}"
        elif state == "failed":
            failure = self.store.failure(job.key) or {}
            yield f"  failed ({failure.get('category', 'unknown')}): {failure.get('message', '')}".rstrip(": ")
        for need in [] if job.unavailable else self.plan.jobs:
            if need.key in job.needs and (waits := state_of(need, self.store, self.cache)) != "done":
                yield f"  waits for {need.name} ({waits})"
        asked = past[1:] if state == "done" else past
        earlier = [(one, one.named[job.name]) for one in asked if job.name in one.named]
        for one, was in earlier:
            if was.key != job.key:
                yield f"  was {was.key}; changed:"
                yield from self.changes(job, was, one)
                return
        yield f"  unchanged since the last plan (key {job.key})" if earlier else "  no earlier plan holds this cell"

    def changes(self, job: Job, old: Job, before: _Past, indent: str = "    ") -> Iterator[str]:
        """Differences of two specifications; those of a needed job are followed to their own inputs."""
        new_values, old_values = (
            {name: value for name, value in identity.dotted(one.spec).items() if value != {}} for one in (job, old)
        )
        for name in sorted({*new_values, *old_values}):
            new, was = new_values.get(name), old_values.get(name)
            if new == was:
                continue
            needed = self.jobs.get(new) if isinstance(new, str) else None
            earlier = before.keyed(was) if needed and isinstance(was, str) else None
            if needed and earlier:
                yield f"{indent}{name}: {needed.name} changed"
                yield from self.changes(needed, earlier, before, indent + "  ")
                continue
            origin = _MEANING.get(name) or _origin(name, job, self.plan.values)
            yield f"{indent}{name}: {_shown(was)} -> {_shown(new)}" + (f" ({origin})" if origin else "")


def _job(record: Mapping[str, Any]) -> Job:
    """The job of a record, which is that of its folder."""
    return Job(key=record["key"], kind=record["kind"], name=record["name"], spec=record["spec"])


def _shown(value: Any) -> str:
    """As Python writes it; of a long list the first items."""
    if isinstance(value, list) and len(value) > LISTED:
        return f"[{', '.join(map(repr, value[:LISTED]))}, ... {len(value)} in all]"
    return repr(value)


#: Inputs that stand in no manifest and no preset.
_MEANING = {
    "digest": "identity of the dataset's index: rows, labels, splits, reports, file sizes",
    "left_out": "files that 'data prepare --allow-missing' left out as unreadable",
    "impl": "revision of the plug-in",
    "recipe": "revision of preparation, training or evaluation",
    "crop_impl": "revision of the crop",
}


def _origin(name: str, job: Job, values: Mapping[str, Mapping[str, Any]]) -> str:
    """Where a constant of this job comes from: its row's own value, its target's, or the common one.

    A manifest's common override stands above a target's value in the preset, so it has no entry for the target.
    """
    row = job.name.split(".")[1 if job.kind in ("pretrain", "discover") else 0]
    for where in (f" [{row}]", f" [{job.spec.get('dataset', '')}]", ""):
        if f"{name}{where}" in values:
            return str(values[f"{name}{where}"].get("origin", ""))
    return ""
