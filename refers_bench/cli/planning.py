"""Leads from a manifest to its plan, and from a plan to the jobs that are wanted and their states."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from refers_bench.cli.settings import Settings
from refers_bench.errors import UserError, nearest
from refers_bench.execution import engine
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import STATES

#: Kinds of jobs without a network.
WITHOUT_NETWORK = ("prepare", "localise", "out_of_fold")


def planned(settings: Settings, manifest: Path) -> Plan:
    """Load, check and expand a manifest; nothing is written."""
    from refers_bench.manifest.load import load
    from refers_bench.plan.expand import expand

    return expand(load(manifest), settings.roots(), cache=settings.cache)


def name_of(manifest: str) -> str:
    """The plan's name of a manifest given as a file or by name."""
    path = Path(manifest)
    if path.suffix not in (".yaml", ".yml"):
        return manifest
    from refers_bench.manifest.yaml_text import read

    given = read(path).content.get("name")
    return given if isinstance(given, str) else path.stem


def job_roots(settings: Settings, plan: Plan) -> dict[str, str]:
    """Data roots under their own names, and under the dataset ids by which jobs ask for them."""
    from refers_bench.manifest.declared import brought_along

    roots = brought_along(settings.roots(), plan.manifest, Path(plan.manifest_path).parent)
    paths = {name: str(path.absolute()) for name, path in roots.paths.items()}
    return paths | {known: paths[name] for name, known in plan.roots.items() if name in paths}


def run_options(
    settings: Settings, plan: Plan, todo: Iterable[Job], slots: Sequence[engine.Slot], **how: Any
) -> engine.Settings:
    """How jobs run: as the plan says, but for `how`.

    Args:
        settings: folders and data roots.
        plan: of a manifest.
        todo: jobs that are still to run: only networks need torch to be loaded before workers start.
        slots: of this machine.
        how: further fields of the options, or other values than the plan's.
    """
    networks = any(job.kind not in WITHOUT_NETWORK for job in todo)
    planned = {
        "threads": plan.execution["threads"],
        "arithmetic": plan.execution.get("arithmetic", "native"),
        "retries": plan.execution["retries"],
        "preload": (*engine.PRELOAD, *(engine.HEAVY if networks else ())),
    }
    folders = {"results": settings.results, "cache": settings.cache, "roots": job_roots(settings, plan)}
    return engine.Settings(**{**folders, "slots": slots, **planned, **how})


def selected(plan: Plan, patterns: tuple[str, ...]) -> list[Job]:
    """Jobs whose name matches a pattern, with everything they need; all without a pattern.

    Raises:
        UserError: a pattern matches no job.
    """
    jobs = {job.key: job for job in plan.jobs}
    waiting = [] if patterns else list(jobs)
    for pattern in patterns:
        matching = [job.key for job in plan.jobs if fnmatch(job.name, pattern)]
        if not matching:
            close = nearest(pattern, [job.name for job in plan.jobs])
            raise UserError(f"--only {pattern} matches no job" + (f"; did you mean '{close}'?" if close else ""))
        waiting += matching
    chosen: set[str] = set()
    while waiting:
        key = waiting.pop()
        chosen.add(key)
        waiting += [need for need in jobs[key].needs if need not in chosen]
    return [job for job in plan.jobs if job.key in chosen]


def show_counts(plan: Plan, states: Mapping[str, str]) -> None:
    """Print how many jobs of each kind are in each state.

    Args:
        plan: its jobs.
        states: key -> state of each.
    """
    counts: dict[str, dict[str, int]] = {}
    for job in plan.jobs:
        counts.setdefault(job.kind, dict.fromkeys(STATES, 0))[states[job.key]] += 1
    click.echo(f"{'jobs':<12}" + "".join(f"{state:>13}" for state in STATES))
    for kind, row in counts.items():
        click.echo(f"{kind:<12}" + "".join(f"{count:>13}" for count in row.values()))
