"""Writes tables and figures from stored predictions."""

import time
import webbrowser
from pathlib import Path
from typing import Any

import click

from refers_bench.cli import completing
from refers_bench.cli.damage import show
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER
from refers_bench.cli.progress import counted
from refers_bench.errors import Problem
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings

CHECKLISTS = click.Choice(["claim", "tripod-ai", "neurips", "reforms"])
FORMAT = click.Choice(["html", "latex", "markdown", "csv", "json"])
WATCH = "Write the report again after new results, until all are there or Ctrl-C; checks every 10 s by default."
STYLE = (
    "Of LaTeX. paper: Tables 1 to 3, else all cells, for an article; each file names commands for caption and label."
)
CHECKLIST = (
    "Fill in a checklist from the results, beside the page, as checklist-NAME.md; the rest is left open. Repeatable."
)


@click.command("report")
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...", shell_complete=completing.plans)
@click.option("--format", "formats", multiple=True, type=FORMAT, default=("html",), help="Repeatable.")
@click.option("--out", type=FOLDER, help="Folder.  [default: RESULTS/<name>/report]")
@click.option("--published/--no-published", default=True, help="Show the paper's values beside ours.")
@click.option("--style", type=click.Choice(["full", "paper"]), default="full", help=STYLE)
@click.option("--footnotes/--no-footnotes", default=True, help="Of style paper: notes below the tables.")
@click.option("--checklist", "checklists", multiple=True, type=CHECKLISTS, help=CHECKLIST)
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--watch", type=click.FloatRange(min=0.5), is_flag=False, flag_value=10.0, metavar="[SECONDS]", help=WATCH
)
@click.pass_obj
def command(
    settings: Settings,
    /,
    manifests: tuple[str, ...],
    formats: tuple[str, ...],
    open_: bool,
    watch: float | None,
    **how: Any,
) -> int:
    """Write the report of MANIFEST (a file, or the name of a plan), or of everything planned. Needs no torch.

    Files of results are checked against the digests that their jobs recorded; a cell whose files have changed gives no
    figure and is named.

    \b
    Exit codes: 0 written, 1 written without damaged results, 2 user error.
    """
    names = [name_of(manifest) for manifest in manifests] or None
    if (open_ or how["checklists"]) and "html" not in formats:
        formats = (*formats, "html")
    found: list[Problem] = []
    written = _write(settings.results, names, formats, **how, progress=counted, damaged=found.append)
    for path in written:
        echo(str(path))
    if open_:
        page = next(path for path in written if path.name == "index.html")
        if not webbrowser.open(page.resolve().as_uri()):
            echo(f"no browser found: open {page}", err=True)
    if watch is not None:
        _watch(settings.results, names, formats, watch, **how)
    return show(found)


def _write(
    results: Path, names: list[str] | None, formats: tuple[str, ...], *, checklists: tuple[str, ...], **how: Any
) -> list[Path]:
    """Write the report, then the checklists that link to it."""
    from refers_bench.reporting import checklist
    from refers_bench.reporting import page as pages

    about = checklist.one_manifest(names) if checklists else ""
    written = pages.write(results, names, formats, **how)
    if checklists:
        page = next(path for path in written if path.name == "index.html")
        written += checklist.write(results, about, page, checklists)
    return written


def _watch(results: Path, names: list[str] | None, formats: tuple[str, ...], seconds: float, **how: Any) -> None:
    """Write the report again whenever the number of results has changed."""
    from refers_bench.reporting import page as pages

    before = pages.progress(results, names)
    while before[0] < before[1]:
        echo(f"{before[0]} of {before[1]} jobs are done; waiting for more (Ctrl-C ends this)", err=True)
        now = before
        while now == before:
            time.sleep(seconds)
            now = pages.progress(results, names)
        before = now
        for path in _write(results, names, formats, **how):
            if path.name == "index.html" or len(formats) > 1:
                echo(f"written again: {path}")
    echo("all jobs are done")
