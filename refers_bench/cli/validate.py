"""Checks manifests, all errors at once; exports the JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli.options import FILE, changes_manifest
from refers_bench.errors import Problem, UserError

if TYPE_CHECKING:
    from refers_bench.manifest.changes import Changes


@click.command("validate")
@click.argument("manifests", nargs=-1, type=FILE)
@click.option("--json-schema", is_flag=True, help="Print the JSON Schema of manifests, for editors.")
@changes_manifest
def command(manifests: tuple[Path, ...], json_schema: bool, changes: Changes) -> None:
    """Check MANIFESTS: every error of every file as file:line:col, exit code 2 if there is one."""
    if json_schema:
        from refers_bench.manifest.schema import json_schema as schema

        click.echo(json.dumps(schema(), indent=1))
        return
    if not manifests:
        raise click.UsageError("name a manifest, or ask for --json-schema")
    from refers_bench.manifest.load import load

    problems: list[Problem] = []
    for path in manifests:
        try:
            found = load(path, changes).content
        except UserError as error:
            problems += error.problems
        else:
            counts = f"{len(found.methods)} methods, {len(found.targets)} targets, {len(found.runs)} seeds"
            click.echo(f"{path}: right ({counts})")
    if problems:
        raise UserError(problems)
