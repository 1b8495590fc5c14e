"""Checks manifests, all errors at once; exports the JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli import completing
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import FILE, changes_manifest
from refers_bench.errors import Problem, UserError
from refers_bench.render.quantity import quantity

if TYPE_CHECKING:
    from refers_bench.execution.settings import Settings
    from refers_bench.manifest.changes import Changes
    from refers_bench.manifest.load import Manifest


@click.command("validate")
@click.argument("manifests", nargs=-1, type=FILE, shell_complete=completing.manifests)
@click.option("--json-schema", is_flag=True, help="Print the JSON Schema of manifests, for editors.")
@changes_manifest
@click.pass_obj
def command(settings: Settings, manifests: tuple[Path, ...], json_schema: bool, changes: Changes) -> None:
    """Check MANIFESTS: every error of every file as file:line:col, exit code 2 if there is one.

    One's own images that a manifest declares are looked at, too: their table, labels, splits and files.
    """
    if json_schema:
        from refers_bench.manifest.schema import json_schema as schema

        echo_lines(json.dumps(schema(), indent=1))
        return
    if not manifests:
        raise click.UsageError("name a manifest, or ask for --json-schema")
    from refers_bench.manifest.load import load

    problems: list[Problem] = []
    for path in manifests:
        try:
            manifest = load(path, changes)
            own = [*_own(settings, manifest), *_missing(settings, manifest)]
        except UserError as error:
            problems += error.problems
        else:
            found = manifest.content
            counts = ", ".join(
                (
                    quantity(len(found.methods), "method"),
                    quantity(len(found.targets), "target"),
                    quantity(len(found.runs), "seed"),
                )
            )
            echo(f"{path}: right ({counts})")
            for line in own:
                echo(f"  {line}")
    if problems:
        raise UserError(problems)


def _missing(settings: Settings, manifest: Manifest) -> list[str]:
    """A line for what this machine lacks of a manifest's data: that is no error of the manifest."""
    from refers_bench.manifest.roots import Roots
    from refers_bench.plan import missing_roots
    from refers_bench.plan.expand import expand

    # Without roots no index is read.
    return missing_roots.sentences(expand(manifest, Roots(), cache=settings.cache), settings.roots())


def _own(settings: Settings, manifest: Manifest) -> Iterator[str]:
    """A line for each of a manifest's own images: how many there are in each split, classes, remarks.

    Raises:
        UserError: something is wrong with them.
    """
    if not any(part.readers for part in manifest.content.data.values()):
        return
    from refers_bench import plugins
    from refers_bench.manifest.declared import brought_along
    from refers_bench.plan.data import own_data

    roots = brought_along(settings.roots(), manifest.content.model_dump(mode="json"), manifest.path.parent)
    for one in own_data(manifest, roots, cache=settings.cache):
        dataset = plugins.load("dataset", one.reader)
        counts = ", ".join(
            f"{split or 'unused'} {n}" for split, n in sorted(one.splits.items(), key=lambda item: item[0])
        )
        classes = [name for names in one.classes.values() for name in names]
        facts = [f"{one.images} images ({counts})", f"classes {', '.join(classes) or 'none'}"]
        yield f"{one.dataset}: " + "; ".join([*facts, *dataset.notes(dataset.Params(**one.params))])
