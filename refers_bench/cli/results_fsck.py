"""Checks stored results against what their jobs recorded, and marks what is damaged as not done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from refers_bench import plugins
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

if TYPE_CHECKING:
    from refers_bench.store.fsck import Found

#: Kind of job of `CACHED` -> "module:function" that takes its folder in the cache and returns what is wrong with it, as
#: a list of problems; a kind that is not listed is not checked.
CACHE_CHECKS: Mapping[str, str] = {}
REPAIR = "Move what is damaged aside within the store: it counts as not done, and nothing is deleted."


@click.command("fsck")
@click.argument("manifests", nargs=-1, metavar="[PLAN]...", shell_complete=completing.plans)
@click.option("--repair", is_flag=True, help=REPAIR)
@click.pass_obj
def fsck(settings: Settings, manifests: tuple[str, ...], repair: bool) -> int:
    """Check all stored results, or those of some plans: records, keys, and the digest of every file.

    Results that were written before digests were kept are checked as far as possible: what is missing, and what cannot
    be read. After --repair, 'refers-bench run MANIFEST' computes again what was moved aside.

    \b
    Exit codes: 0 sound, 1 damaged, 2 user error.
    """
    from refers_bench.store import fsck as room

    keys = {key for one in manifests for key in _keys(settings, name_of(one))} if manifests else None
    echo(f"checking the results in {settings.store.root}", err=True)
    found = room.check(settings.store, keys, progress=counted("results checked"))
    broken = [one for one in found if one.problems or one.extra]
    caches = _caches(settings, found)
    for problem in (*(problem for one in broken for problem in (*one.problems, *one.extra)), *caches):
        echo(str(problem))
    if repair:
        for path, aside in room.move_aside(settings.store, broken):
            echo(f"moved: {path} to {aside}")
        if broken:
            echo("'refers-bench run MANIFEST' computes them again; then compare or delete what was moved")
    old = sum(not one.digests for one in found)
    counts = f"{len(broken)} damaged, {old} written before digests were kept"
    echo(f"{quantity(len(found), 'result')} checked, {counts}")
    return DAMAGED if broken or caches else 0


def _keys(settings: Settings, name: str) -> list[str]:
    """Keys of a plan's jobs, and of those that explain its cells."""
    jobs = plan.outline(settings.results / name / plan.LOCK).jobs
    explained = explanations.read(settings.results, name)
    return [*(job.key for job in jobs), *(key for one in explained for key in (one.attend, one.localise))]


def _caches(settings: Settings, found: list[Found]) -> list[Problem]:
    """What is wrong with the folders in the cache that belong to sound results."""
    problems: list[Problem] = []
    for one in found:
        if one.kind in CACHE_CHECKS and not one.problems:
            folder = CACHED[one.kind](settings.cache, one.key)
            problems += plugins.resolve(CACHE_CHECKS[one.kind])(folder) if folder.exists() else []
    return problems
