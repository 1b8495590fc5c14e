"""Completes what a shell asks for: manifests, plans, cells, datasets, executors.

What cannot be read completes to nothing: a shell shows no errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from refers_bench.errors import UserError

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(names: Callable[[Path], Iterable[str]], *, files: bool = False) -> Completer:
    """Completes to the names that begin as typed, and to files where those are meant as well.

    A name that a terminal would obey is left out: a shell would write it into the line.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: list[str] = []
        with contextlib.suppress(UserError, OSError):
            found = [name for name in names(_results(ctx)) if name.startswith(incomplete) and name.isprintable()]
        more = [CompletionItem(incomplete, type="file")] if files else []
        return [*map(CompletionItem, dict.fromkeys(found)), *more]

    return complete


def _results(ctx: click.Context) -> Path:
    from refers_bench.execution.settings import Settings

    given = ctx.find_root().params.get("results")
    return Settings(results_option=Path(given) if given else None).results


def _manifests(results: Path) -> list[str]:
    from refers_bench.manifest import packaged

    return packaged.names()


def _plans(results: Path) -> list[str]:
    from refers_bench.store.plan import known_names

    return known_names(results)


def _cells(results: Path) -> list[str]:
    from refers_bench.plan import lock

    return [job.name for name in _plans(results) for job in lock.outline(results / name / lock.LOCK).jobs]


def _datasets(results: Path) -> list[str]:
    from refers_bench.manifest import declared

    return declared.datasets()


def _executors(results: Path) -> list[str]:
    from refers_bench import plugins

    return list(plugins.engines())


#: Manifests: files, and those of the package.
manifests = _completer(_manifests, files=True)
#: Planned manifests, and files.
plans = _completer(_plans, files=True)
cells = _completer(_cells)
datasets = _completer(_datasets)
executors = _completer(_executors)
