"""Leads from a manifest to its plan, and from a plan to the jobs that are wanted and to how they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench import plugin_files
from refers_bench.errors import Problem, UserError, nearest
from refers_bench.execution import engine
from refers_bench.execution.settings import Settings
from refers_bench.plan.lock import Job, Plan

if TYPE_CHECKING:
    from refers_bench.manifest.changes import Changes

#: Kinds of jobs without a network.
WITHOUT_NETWORK = ("prepare", "localise", "out_of_fold")


def planned(settings: Settings, manifest: Path | Mapping[str, Any], changes: Changes | None = None) -> Plan:
    """Load, check and expand a manifest, given as a file, by name, or as a mapping; nothing is written.

    Args:
        settings: folders and data roots.
        manifest: to be planned.
        changes: that the command line, or a caller from Python, makes.
    """
    from refers_bench.manifest.load import NO_CHANGES, load, of_values
    from refers_bench.plan.expand import expand

    changes = changes or NO_CHANGES
    loaded = of_values(manifest, changes) if isinstance(manifest, Mapping) else load(manifest, changes)
    return expand(loaded, settings.roots(), cache=settings.cache)


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
        todo: jobs that are still to run: only networks need torch to be loaded before workers start, and only
            pre-training may read reports.
        slots: of this machine.
        how: further fields of the options, or other values than the plan's.
    """
    kinds = {job.kind for job in todo}
    networks = engine.HEAVY if kinds - {*WITHOUT_NETWORK} else ()
    planned = {
        "threads": plan.execution["threads"],
        "arithmetic": plan.execution.get("arithmetic", "native"),
        "compile": plan.execution.get("compile", False),
        "retries": plan.execution["retries"],
        "preload": (*engine.PRELOAD, *networks, *(engine.TEXT if "pretrain" in kinds else ())),
    }
    folders: dict[str, Any] = {"results": settings.results, "cache": settings.cache, "roots": job_roots(settings, plan)}
    folders["plugins"] = plugin_files.places()
    return engine.Settings(**{**folders, "slots": slots, **planned, **how})


def selected(plan: Plan, patterns: tuple[str, ...]) -> list[Job]:
    """Jobs whose name matches a pattern, with everything they need; all without a pattern.

    A pattern may also match the name of a row, or of a cell, whose job has the name of another row that shares it.

    Raises:
        UserError: a pattern matches nothing.
    """
    jobs = {job.key: job for job in plan.jobs}
    waiting = [] if patterns else list(jobs)
    for pattern in patterns:
        matching = [job.key for job in plan.jobs if fnmatch(job.name, pattern)]
        names = [(cell.key, (cell.method, cell.best_of, cell.name)) for cell in plan.cells]
        matching += [key for key, known in names if any(fnmatch(name, pattern) for name in known if name)]
        if not matching:
            rows = list(dict.fromkeys(cell.method for cell in plan.cells))
            kinds = dict.fromkeys(job.kind for job in plan.jobs)
            some = [next(job.name for job in plan.jobs if job.kind == kind) for kind in kinds]
            allowed = f"rows {', '.join(rows)}; jobs such as {', '.join(some)} ('plan MANIFEST --jobs' lists all)"
            close = nearest(pattern, [*rows, *(job.name for job in plan.jobs)])
            raise UserError(
                Problem(found=f"--only {pattern or repr('')} matches no job", allowed=allowed, nearest=close)
            )
        waiting += matching
    chosen: set[str] = set()
    while waiting:
        key = waiting.pop()
        chosen.add(key)
        waiting += [need for need in jobs[key].needs if need not in chosen]
    return [job for job in plan.jobs if job.key in chosen]
