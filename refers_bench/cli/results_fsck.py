"""Checks stored results against what their jobs recorded, and marks what is damaged as not done."""

from __future__ import annotations

from pathlib import Path

import click

from refers_bench.cli import completing
from refers_bench.cli.damage import DAMAGED
from refers_bench.cli.echo import echo
from refers_bench.cli.progress import counted
from refers_bench.errors import Problem
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.render.quantity import quantity
from refers_bench.store import explanations, plan
from refers_bench.store.context import CACHED

REPAIR = "Move what is damaged aside: it counts as not done, and nothing is deleted."


@click.command("fsck")
@click.argument("manifests", nargs=-1, metavar="[PLAN]...", shell_complete=completing.plans)
@click.option("--repair", is_flag=True, help=REPAIR)
@click.pass_obj
def fsck(settings: Settings, manifests: tuple[str, ...], repair: bool) -> int:
    """Check all stored results, or those of some plans: records, keys, and the digest of every file.

    Prepared images and features of the cache are checked, too: all, or those of the plans.

    Results that were written before digests were kept are checked as far as possible: what is missing, and what cannot
    be read. After --repair, 'refers-bench run MANIFEST' computes again what was moved aside.

    \b
    Exit codes: 0 sound, 1 damaged, 2 user error.
    """
    from refers_bench.data.cache_meta import set_aside
    from refers_bench.store import fsck as room

    keys = {key for one in manifests for key in _keys(settings, name_of(one))} if manifests else None
    echo(f"checking the results in {settings.store.root}", err=True)
    found = room.check(settings.store, keys, progress=counted("results checked"))
    broken = [one for one in found if one.problems or one.extra]
    caches = _caches(settings, keys)
    stored = (problem for one in broken for problem in (*one.problems, *one.extra))
    for problem in (*stored, *(problem for problems in caches.values() for problem in problems)):
        echo(str(problem))
    if repair:
        for path, aside in room.move_aside(settings.store, broken):
            echo(f"moved: {path} to {aside}")
        for folder, problems in caches.items():
            if problems:
                set_aside(folder)
                echo(f"marked as not made: {folder}")
        if broken or any(caches.values()):
            echo("'refers-bench run MANIFEST' computes them again; then compare or delete what was moved")
    old = sum(not one.digests for one in found)
    counts = f"{len(broken)} damaged, {old} written before digests were kept"
    echo(f"{quantity(len(found), 'result')} checked, {counts}")
    bad = sum(map(bool, caches.values()))
    echo(f"{quantity(len(caches), 'folder')} of the cache checked, {bad} damaged")
    return DAMAGED if broken or bad else 0


def _keys(settings: Settings, name: str) -> list[str]:
    """Keys of a plan's jobs, and of those that explain its cells."""
    jobs = plan.outline(settings.results / name / plan.LOCK).jobs
    explained = explanations.read(settings.results, name)
    return [*(job.key for job in jobs), *(key for one in explained for key in (one.attend, one.localise))]


def _caches(settings: Settings, keys: set[str] | None) -> dict[Path, list[Problem]]:
    """Folders of the cache, of these jobs or all, and what is wrong with each."""
    from refers_bench.data.damage import DAMAGE

    folders = {
        folder: kind
        for kind, place in CACHED.items()
        for folder in sorted(place(settings.cache, "").glob("[!.]*"))
        if keys is None or folder.name in keys
    }
    progress, found = counted("folders of the cache checked"), {}
    for done, (folder, kind) in enumerate(folders.items(), 1):
        found[folder] = DAMAGE[kind](folder)
        progress(done, len(folders))
    return found
