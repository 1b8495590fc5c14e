"""Declares the types, arguments and options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from refers_bench.cli.completing import manifests, plans

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(path_type=Path)
#: A number of processes, threads or places.
POSITIVE = click.IntRange(min=1)

#: A manifest's file, "-" for standard input.
MANIFEST = click.argument("manifest", type=FILE, shell_complete=manifests)
#: A manifest's file, or the name of its plan.
PLAN = click.argument("manifest", shell_complete=plans)
DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")


def _listed(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Values given one by one or with commas between them."""
    found = [part.strip() for value in values for part in value.split(",")]
    if not all(found):
        raise click.BadParameter("a name is missing between commas", ctx=ctx, param=option)
    return tuple(dict.fromkeys(found))


def _numbers(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[int, ...]:
    """Whole numbers given one by one or with commas between them."""
    found = _listed(ctx, option, values)
    wrong = [one for one in found if not one.isdecimal()]
    if wrong:
        raise click.BadParameter(f"'{wrong[0]}' is no seed; such as --seeds 0,1", ctx=ctx, param=option)
    return tuple(map(int, found))


SET = (
    "Any value of the manifest or of its protocol, in YAML (repeatable): finetune.steps=300, methods.refers.label=Mine."
)
LIMIT = "Use at most N images of each split; every table says so."
SEEDS = "In place of the manifest's."
ROWS = "Only these of the manifest's rows (names, with commas or repeatable)."
PLUGIN_HELP = "Folder or Python file with one's own methods, datasets and reports (repeatable)."
PLUGINS = click.option(
    "--plugins", "plugin_places", multiple=True, type=FILE_OR_FOLDER, metavar="FOLDER", help=PLUGIN_HELP
)
_CHANGES = (
    click.option("--set", "set_values", multiple=True, metavar="KEY=VALUE", help=SET),
    click.option("--limit", type=POSITIVE, metavar="N", help=LIMIT),
    click.option("--seeds", multiple=True, callback=_numbers, metavar="0,1", help=SEEDS),
    click.option("--rows", multiple=True, callback=_listed, metavar="NAME,...", help=ROWS),
    PLUGINS,
)


def changes_manifest(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that change a manifest; the command gets them as `changes`."""

    @functools.wraps(command)
    def with_changes(
        *given: Any,
        set_values: tuple[str, ...],
        limit: int | None,
        seeds: tuple[int, ...],
        rows: tuple[str, ...],
        plugin_places: tuple[Path, ...],
        **more: Any,
    ) -> Any:
        from refers_bench.manifest.changes import Changes

        checked_places(plugin_places)
        # The option may stand before the command, too; the plan records both.
        before = click.get_current_context().find_root().params.get("plugin_places") or ()
        places = tuple(dict.fromkeys(path.absolute() for path in (*before, *plugin_places)))
        options = Changes(settings=set_values, limit=limit, seeds=seeds, rows=rows, plugins=places)
        return command(*given, changes=options, **more)

    changing: Callable[..., Any] = with_changes
    for option in reversed(_CHANGES):
        changing = option(changing)
    return changing


def checked_places(places: tuple[Path, ...]) -> None:
    """Refuse places where no plug-ins can be.

    Raises:
        BadParameter: neither a folder nor a Python file.
    """
    from refers_bench.plugin_files import is_place

    for place in places:
        if not is_place(place):
            raise click.BadParameter(f"'{place}' is no folder or Python file", param_hint="--plugins")
