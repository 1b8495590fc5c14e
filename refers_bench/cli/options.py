"""Declares the types, arguments and options that several commands share."""

from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(path_type=Path)
#: A number of processes, threads or places.
POSITIVE = click.IntRange(min=1)

#: A manifest's file.
MANIFEST = click.argument("manifest", type=FILE)
#: A manifest's file, or the name of its plan.
PLAN = click.argument("manifest")
DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
