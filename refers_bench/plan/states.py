"""Which jobs of a plan are done, failed, to do or unavailable, what do manifests share, and what disk do they need?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from refers_bench.errors import UserError, nearest
from refers_bench.plan.lock import LOCK, Job, Plan, read
from refers_bench.store.results import ResultStore

STATES = ("done", "to do", "failed", "unavailable")


def state_of(job: Job, store: ResultStore, cache: Path) -> str:
    """One of `STATES`. A prepare job also needs its pixels in the cache."""
    state = store.state(job.key)
    if state == "done" and job.kind == "prepare" and not (cache / "prepared" / job.key / "meta.json").is_file():
        state = "to do"
    if state == "done":
        return state
    return "unavailable" if job.unavailable else state


def states(plan: Plan, store: ResultStore, cache: Path) -> dict[str, str]:
    """Key -> state of every job."""
    return {job.key: state_of(job, store, cache) for job in plan.jobs}


def shared(plan: Plan, results: Path) -> dict[str, int]:
    """Other planned manifests below the results folder -> how many of this plan's jobs they have, too."""
    own = {job.key for job in plan.jobs}
    others = {
        path.parent.name: read(path) for path in sorted(results.glob(f"*/{LOCK}")) if path.parent.name != plan.name
    }
    counts = {name: sum(job.key in own for job in other.jobs) for name, other in others.items()}
    return {name: count for name, count in counts.items() if count}


def disk_bytes(plan: Plan) -> dict[str, int]:
    """What the results will take, by kind of job, estimated from sizes: pixels, float32 weights, predictions."""
    need: Counter[str] = Counter()
    for job in plan.jobs:
        if job.kind == "prepare":
            phantom = job.spec.get("phantom")
            images = phantom["studies"] * phantom["views"] if phantom else _EXPECTED.get(job.spec["dataset"], 1000)
            need["prepared images"] += images * job.spec["prepared_size"] ** 2
        elif job.kind == "pretrain":
            net = job.spec["network"]
            need["checkpoints"] += 4 * net["depth"] * (4 * net["width"] ** 2 + 2 * net["width"] * net["mlp_width"])
        else:
            images = _EXPECTED.get(job.spec["dataset"], 1000)
            need["predictions"] += int(0.3 * images * max(1, len(job.spec["classes"])) * 12)
    return dict(need)


#: Images of each dataset, from its card, for estimates before it is on disk.
_EXPECTED = {
    "mimic_cxr_jpg": 377_110, "openi": 7_470, "nih_chestxray14": 112_120, "vinbigdata_cxr": 15_000, "shenzhen_tb": 662,
    "covid19_idc": 929,
}  # fmt: skip


def explain(plan: Plan, before: Plan | None, pattern: str, store: ResultStore, cache: Path) -> Iterator[str]:
    """Lines that say, for each cell whose name matches, its state and which input changed since the last plan.

    Args:
        plan: of now.
        before: of the previous lock, or None.
        pattern: shell pattern over job names.
        store: results.
        cache: prepared images.

    Raises:
        UserError: no job matches.
    """
    chosen = [job for job in plan.jobs if fnmatch(job.name, pattern)]
    if not chosen:
        close = nearest(pattern, [job.name for job in plan.jobs])
        raise UserError(f"no job is called '{pattern}'" + (f"; did you mean '{close}'?" if close else ""))
    old_by_name = {job.name: job for job in before.jobs} if before else {}
    for job in chosen:
        yield f"{job.name}: {state_of(job, store, cache)} ({job.key})"
        if job.unavailable:
            yield f"  unavailable: {job.unavailable}"
        old = old_by_name.get(job.name)
        if before is None or old is None:
            yield "  no earlier plan holds this cell"
        elif old.key == job.key:
            yield f"  unchanged since the last plan (key {job.key})"
        else:
            yield f"  was {old.key}; changed:"
            yield from _changes(job, old, plan, before)


def _changes(job: Job, old: Job, plan: Plan, before: Plan, indent: str = "    ") -> Iterator[str]:
    """Differences of two specifications; those of a needed job are followed to their own inputs."""
    now_jobs, old_jobs = ({item.key: item for item in one.jobs} for one in (plan, before))
    new_flat, old_flat = flat(job.spec), flat(old.spec)
    for name in sorted({*new_flat, *old_flat}):
        new, was = new_flat.get(name), old_flat.get(name)
        if new == was:
            continue
        needed = now_jobs.get(new) if isinstance(new, str) else None
        earlier = old_jobs.get(was) if isinstance(was, str) else None
        if needed and earlier:
            yield f"{indent}{name}: {needed.name} changed"
            yield from _changes(needed, earlier, plan, before, indent + "  ")
            continue
        origin = plan.values.get(name, {}).get("origin", "")
        yield f"{indent}{name}: {was!r} -> {new!r}" + (f" ({origin})" if origin else "")


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names."""
    if not isinstance(node, Mapping):
        return {prefix.rstrip("."): node}
    return {name: value for key, part in node.items() for name, value in flat(part, f"{prefix}{key}.").items()}
