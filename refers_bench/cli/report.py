"""Write tables and figures from stored predictions."""

from __future__ import annotations

import time
from pathlib import Path

import click

from refers_bench.cli.settings import Settings


@click.command("report")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["html", "latex", "markdown", "csv", "json"]),
    default=("html",),
    show_default=True,
    help="Repeatable.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: RESULTS/<name>/report]"
)
@click.option(
    "--published/--no-published", default=True, show_default=True, help="Show the paper's values beside ours."
)
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.5),
    is_flag=False,
    flag_value=10.0,
    metavar="[SECONDS]",
    help="Write again whenever a result has come, until all are there or Ctrl-C; looks every 10 s by default.",
)
@click.pass_obj
def command(
    settings: Settings,
    manifests: tuple[str, ...],
    formats: tuple[str, ...],
    out: Path | None,
    published: bool,
    open_: bool,
    watch: float | None,
) -> None:
    """Write the report of MANIFEST (a file, or the name of a plan), or of everything planned. Needs no torch."""
    from refers_bench.cli.progress import counted
    from refers_bench.reporting import page as _page

    names = [name_of(settings, manifest) for manifest in manifests] or None
    if open_ and "html" not in formats:
        formats = (*formats, "html")
    written = _page.write(settings.results, names, formats, out, published=published, progress=counted)
    for path in written:
        click.echo(str(path))
    if open_:
        import webbrowser

        page = next(path for path in written if path.name == "index.html")
        if not webbrowser.open(page.resolve().as_uri()):
            click.echo(f"no browser found: open {page}", err=True)
    if watch is not None:
        _watch(settings, names, formats, out, published=published, seconds=watch)


def _watch(
    settings: Settings,
    names: list[str] | None,
    formats: tuple[str, ...],
    out: Path | None,
    *,
    published: bool,
    seconds: float,
) -> None:
    """Write the report again whenever the number of results has changed."""
    from refers_bench.reporting import page as _page

    before = _page.progress(settings.results, names)
    while before[0] < before[1]:
        click.echo(f"{before[0]} of {before[1]} jobs are done; waiting for more (Ctrl-C ends this)", err=True)
        now = before
        while now == before:
            time.sleep(seconds)
            now = _page.progress(settings.results, names)
        before = now
        for path in _page.write(settings.results, names, formats, out, published=published):
            if path.name == "index.html" or len(formats) > 1:
                click.echo(f"written again: {path}")
    click.echo("all jobs are done")


def name_of(settings: Settings, manifest: str) -> str:
    """The plan's name of a manifest given as a file or by name."""
    path = Path(manifest)
    if path.suffix not in (".yaml", ".yml"):
        return manifest
    from refers_bench.manifest.yaml_text import read

    given = read(path).content.get("name")
    return given if isinstance(given, str) else path.stem
