"""Lists the manifests that come with the package, and copies one."""

from pathlib import Path

import click

from refers_bench.cli import completing
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER
from refers_bench.errors import UserError, unknown
from refers_bench.files import publish_bytes
from refers_bench.manifest import packaged


@click.group("manifests")
def command() -> None:
    """The manifests that come with the package: 'refers-bench run smoke' works in any folder."""


@command.command("list")
def list_manifests() -> None:
    """List the manifests by name, with their titles."""
    from refers_bench.manifest.yaml_text import read

    known = packaged.names()
    wide = max(map(len, known))
    for name in known:
        echo(f"{name:<{wide}}  {read(packaged.found(Path(name))).content.get('title', '')}".rstrip())


@command.command("copy")
@click.argument("name", shell_complete=completing.manifests)
@click.option("--to", "folder", type=FOLDER, default=Path(), help="Folder of the copy.")
def copy(name: str, folder: Path) -> None:
    """Copy the manifest NAME, with the files that it includes or brings along, to be changed.

    A file that is there already is never replaced.
    """
    known = packaged.names()
    if name not in known:
        raise UserError(unknown("manifest", name, known))
    sources = packaged.files_of(name)
    if there := [folder / source.name for source in sources if (folder / source.name).exists()]:
        raise UserError(f"{there[0]} exists already", allowed="another folder: --to FOLDER")
    for source in sources:
        publish_bytes(folder / source.name, source.read_bytes())
        echo(f"copied: {folder / source.name}")
