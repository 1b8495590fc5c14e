"""Publishes results as an entry of a registry, and builds a registry's page from a folder of entries."""

from __future__ import annotations

from pathlib import Path

import click

from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER, PLAN
from refers_bench.cli.results_bundle import packed, scratch_folder
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.files import publish_bytes, publish_json
from refers_bench.render.quantity import quantity


@click.command("publish")
@PLAN
@click.option("--out", type=FOLDER, required=True, help="Folder of the registry's entries.")
@click.pass_obj
def publish(settings: Settings, manifest: str, out: Path) -> None:
    """Write an entry of a registry of results for MANIFEST: metrics of every cell and class, provenance, a digest.

    It holds no image or patient ids, no predictions and no paths of this machine. The digest is that of the archive
    which 'results bundle' writes, so that whoever gets the archive can check the entry.
    """
    from refers_bench.analysis import registry as room
    from refers_bench.analysis.results import load
    from refers_bench.reporting.provenance import commands

    results = load(settings.results, name_of(manifest))
    with scratch_folder() as scratch:
        archive = Path(scratch) / "bundle.tar.gz"
        _, digest = packed(settings, results, archive)
        size = archive.stat().st_size
    entry = room.entry(results, cache=settings.cache, sha256=digest, size=size, commands=commands(results))
    path = out / entry.file_name
    publish_json(path, entry.model_dump(mode="json"))
    done = sum(cell.mean_auc is not None for cell in entry.cells)
    echo(f"{path}: {done} of {quantity(len(entry.cells), 'cell')} with a figure")
    echo(f"bundle: sha256 {digest}, {size / 2**20:.1f} MiB; 'refers-bench results bundle' writes it")


@click.group("registry")
def registry() -> None:
    """Build the page of a registry of results."""


@registry.command("build")
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder of the page.")
def build(folder: Path, out: Path) -> None:
    """Write index.html: all entries of FOLDER as leaderboards, one for each task and share of labels.

    One file without network access. Entries that are malformed or contradict themselves are errors, each with its path.
    """
    from refers_bench.analysis.registry import read
    from refers_bench.render import html
    from refers_bench.reporting.leaderboard import page

    entries = read(folder)
    content = page(entries)
    publish_bytes(out / "index.html", html.page(content).encode("utf-8"))
    tables = sum(len(section.items) for section in content.sections)
    echo(f"{out / 'index.html'}: {_entries(len(entries))}, {quantity(tables, 'table')}")


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"
