"""Write tables and figures from stored predictions."""

from __future__ import annotations

from pathlib import Path

import click

from refers_bench.cli.settings import Settings


@click.command("report")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(["html", "latex", "markdown", "csv"]), default=("html",),
    show_default=True, help="Repeatable.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: RESULTS/<name>/report]"
)
@click.option(
    "--published/--no-published", default=True, show_default=True, help="Show the paper's values beside ours."
)
@click.pass_obj
def command(
    settings: Settings, manifests: tuple[str, ...], formats: tuple[str, ...], out: Path | None, published: bool
) -> None:
    """Write the report of MANIFEST (a file, or the name of a plan), or of everything planned. Needs no torch."""
    from refers_bench.reports import _page

    names = [name_of(settings, manifest) for manifest in manifests] or None
    for path in _page.write(settings.results, names, formats, out, published=published):
        click.echo(str(path))


def name_of(settings: Settings, manifest: str) -> str:
    """The plan's name of a manifest given as a file or by name."""
    path = Path(manifest)
    if path.suffix not in (".yaml", ".yml"):
        return manifest
    from refers_bench.manifest.yaml_text import read

    given = read(path).content.get("name")
    return given if isinstance(given, str) else path.stem
