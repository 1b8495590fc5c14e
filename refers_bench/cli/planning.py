"""How does a command get from a manifest's path to its plan?"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli.settings import Settings
from refers_bench.errors import UserError, nearest

if TYPE_CHECKING:
    from refers_bench.plan.lock import Job, Plan
    from refers_bench.store.results import ResultStore

MANIFEST = click.Path(dir_okay=False, path_type=Path)


def planned(settings: Settings, manifest: Path) -> Plan:
    """Load, check and expand a manifest; nothing is written."""
    from refers_bench.manifest.load import load
    from refers_bench.plan.expand import expand

    return expand(load(manifest), settings.roots(), cache=settings.cache)


def job_roots(settings: Settings, plan: Plan) -> dict[str, str]:
    """Data roots under their own names, and under the dataset ids by which jobs ask for them."""
    from refers_bench.manifest.roots import with_files

    roots = with_files(settings.roots(), plan.manifest.get("files", {}), Path(plan.manifest_path).parent)
    paths = {name: str(path.absolute()) for name, path in roots.paths.items()}
    return paths | {known: paths[name] for name, known in plan.roots.items() if name in paths}


def selected(plan: Plan, patterns: tuple[str, ...]) -> list[Job]:
    """Jobs whose name matches a pattern, with everything they need; all without a pattern.

    Raises:
        UserError: a pattern matches no job.
    """
    jobs = {job.key: job for job in plan.jobs}
    if not patterns:
        return list(jobs.values())
    chosen: set[str] = set()
    for pattern in patterns:
        matching = [job for job in plan.jobs if fnmatch(job.name, pattern)]
        if not matching:
            close = nearest(pattern, [job.name for job in plan.jobs])
            raise UserError(f"--only {pattern} matches no job" + (f"; did you mean '{close}'?" if close else ""))
        waiting = [job.key for job in matching]
        while waiting:
            key = waiting.pop()
            chosen.add(key)
            waiting += [need for need in jobs[key].needs if need not in chosen]
    return [job for job in plan.jobs if job.key in chosen]


def counted(plan: Plan, store: ResultStore, cache: Path) -> dict[str, dict[str, int]]:
    """Kind -> state -> number of jobs."""
    from refers_bench.plan import states

    return tallied(plan, states.states(plan, store, cache))


def tallied(plan: Plan, found: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Kind -> state -> number of jobs.

    Args:
        plan: its jobs.
        found: key -> state of each.
    """
    from refers_bench.plan.states import STATES

    table: dict[str, dict[str, int]] = {}
    for job in plan.jobs:
        row = table.setdefault(job.kind, dict.fromkeys(STATES, 0))
        row[found[job.key]] += 1
    return table


def show_counts(table: dict[str, dict[str, int]]) -> None:
    """Print `counted` as a table."""
    from refers_bench.plan.states import STATES

    click.echo(f"{'jobs':<12}" + "".join(f"{state:>13}" for state in STATES))
    for kind, row in table.items():
        click.echo(f"{kind:<12}" + "".join(f"{row[state]:>13}" for state in STATES))
