"""Compares two sets of results: plans, results folders, bundles or baselines of `check`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli.damage import show
from refers_bench.cli.echo import echo_lines
from refers_bench.cli.progress import counted
from refers_bench.cli.results_bundle import scratch_folder
from refers_bench.errors import UserError
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.store.plan import LOCK, known_names

if TYPE_CHECKING:
    from refers_bench.analysis.results import Results


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@click.option("--all", "everything", is_flag=True, help="Every line, not the first 20 of a kind.")
@click.pass_obj
def diff(settings: Settings, a: str, b: str, as_json: bool, everything: bool) -> int:
    """What differs between A and B: cells, predictions, mean and class AUCs with intervals, settings and their origins.

    Each is the name or manifest of a plan in RESULTS, another results folder (or FOLDER/PLAN), a bundle (.tar.gz) or a
    baseline of 'refers-bench check' (.json).

    \b
    Exit codes: 0 same, 1 bug, 2 user error, 5 different.
    """
    from refers_bench.analysis.compare.difference import compare
    from refers_bench.render import difference

    with contextlib.ExitStack() as stack:
        sides = [_side(settings, given, stack) for given in (a, b)]
        found = compare(*sides, names=(a, b), progress=counted("table cells compared"))
    text = difference.as_json(found) if as_json else difference.text(found, limit=0 if everything else 20)
    echo_lines(text.removesuffix("\n"))
    show([problem for side in sides for problem in side.damaged.values()])
    return 0 if found.same else 5


def _side(settings: Settings, given: str, stack: contextlib.ExitStack) -> Results:
    """The results that a user means."""
    from refers_bench.analysis.compare import regression
    from refers_bench.analysis.results import load
    from refers_bench.jobs.imports.bundle import checked

    path = Path(given)
    if given.endswith((".tar.gz", ".tgz")):
        return checked(path, Path(stack.enter_context(scratch_folder())))[0]
    if path.suffix == ".json":
        return regression.as_results(regression.read_baseline(path))
    if (path / LOCK).is_file():
        return load(path.absolute().parent, path.absolute().name)
    if path.is_dir() and given not in known_names(settings.results):
        names = known_names(path)
        if len(names) != 1:
            allowed = f"FOLDER/PLAN, one of {', '.join(names)}" if names else "a folder with <plan>/plan.lock.json"
            raise UserError(f"{len(names)} plans in this folder", allowed=allowed, path=path)
        return load(path.absolute(), names[0])
    return load(settings.results, name_of(given))
