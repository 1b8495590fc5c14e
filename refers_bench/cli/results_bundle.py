"""Puts the results of a manifest into one archive, checks one, and takes one in."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import FILE, FILE_OR_FOLDER, PLAN
from refers_bench.cli.progress import counted
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.render.quantity import quantity

if TYPE_CHECKING:
    from refers_bench.analysis.bundle import Contents
    from refers_bench.analysis.results import Results


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder, removed at the end of its block."""
    return tempfile.TemporaryDirectory(prefix="refers-bench-")


def packed(settings: Settings, results: Results, target: Path, *, checkpoints: bool = False) -> tuple[Contents, str]:
    """Write the archive of a manifest's results; equal results give equal bytes.

    Args:
        settings: of the command line.
        results: of the manifest.
        target: the archive.
        checkpoints: whether weights go along.

    Returns:
        What is in it, and its SHA-256.
    """
    from refers_bench.analysis import bundle as room
    from refers_bench.analysis import ro_crate
    from refers_bench.analysis.paper.references import release_of
    from refers_bench.analysis.results import load
    from refers_bench.reporting.page import write
    from refers_bench.reporting.provenance import commands
    from refers_bench.store import archive

    contents = room.gather(results, cache=settings.cache, checkpoints=checkpoints)
    with scratch_folder() as scratch:
        staged = room.stage(contents, Path(scratch))
        # The report is written from the archive's content alone, so that it says no more than the archive does.
        room.lend(results, release_of(results), staged)
        for path in write(staged, [results.name], ("html", "latex", "csv", "json"), progress=counted):
            contents.members[f"report/{path.name}"] = path
        travels = load(staged, results.name)
        again = commands(travels)
        contents.members[room.ABOUT] = room.about(results, contents, commands=again)
        contents.members[ro_crate.NAME] = ro_crate.metadata(travels, contents.members, commands=again)
        digest = archive.write(target, contents.members, top=results.name, progress=counted("files packed"))
    return contents, digest


@click.command("bundle")
@PLAN
@click.option("--out", type=FILE, help="The archive.  [default: <name>.tar.gz]")
@click.option("--checkpoints", is_flag=True, help="With pre-trained weights, which may be large.")
@click.pass_obj
def bundle(settings: Settings, manifest: str, out: Path | None, checkpoints: bool) -> None:
    """Write one archive: manifest, lock, environment, predictions, metrics, records, subsets, report, RO-Crate, sums.

    Equal results give equal bytes. Absolute paths of this machine are replaced and counted; prepared images, report
    text and (unless asked for) weights are left out. The archive unpacks to a results folder of its own.
    """
    from refers_bench.analysis.results import load

    results = load(settings.results, name_of(manifest))
    target = out or Path(f"{results.name}.tar.gz")
    contents, digest = packed(settings, results, target, checkpoints=checkpoints)
    jobs = ", ".join(f"{count} {kind}" for kind, count in contents.jobs.items()) or "no finished job"
    echo(f"{target}: {target.stat().st_size / 2**20:.1f} MiB, {quantity(len(contents.members), 'file')} ({jobs})")
    echo(f"sha256 {digest}")
    _echo_counts("absolute paths replaced", contents.replaced)
    _echo_counts("not in the archive", contents.left_out)


def _echo_counts(title: str, counts: Mapping[str, int]) -> None:
    if counts:
        echo(f"{title}: {', '.join(f'{count} x {name}' for name, count in sorted(counts.items()))}")


@click.command("verify")
@click.argument("file", type=FILE_OR_FOLDER)
def verify(file: Path) -> None:
    """Check a bundle: checksums, plan, keys, records, and metrics against their predictions. Nothing is taken in."""
    from refers_bench.jobs.imports.bundle import checked

    with scratch_folder() as scratch:
        results, recomputed = checked(file, Path(scratch), progress=counted("results recomputed"))
        done = sum(planned.run.counts for planned in results.planned)
    cells = f"{done} of {quantity(len(results.planned), 'cell')} with a figure"
    runs = quantity(recomputed, "result")
    echo(f"{file}: sound; {results.name}, {cells}; metrics of {runs} computed again from their predictions")


@click.command("bundle")
@click.argument("file", type=FILE_OR_FOLDER)
@click.option("--name", help="Name of the plan below RESULTS.  [default: the bundle's]")
@click.pass_obj
def import_bundle(settings: Settings, file: Path, name: str | None) -> None:
    """A bundle of somebody's results: checked as 'results verify' does, then put into the store."""
    from refers_bench.jobs.imports.bundle import publish
    from refers_bench.reporting.page import printed

    with scratch_folder() as scratch:
        progress = counted("results recomputed")
        found = publish(file, results=settings.results, scratch=Path(scratch), name=name, progress=progress)
    echo_lines(printed(settings.results, found.name))
    known = f"{found.known} were here with the same predictions"
    runs = quantity(found.recomputed, "result")
    echo(f"{quantity(found.added, 'result')} added, {known}; metrics of {runs} computed again")
    if found.left:
        echo(f"{found.left} records of preparation and pre-training not taken in: their results do not travel")
    echo(f"report: refers-bench report {found.name}")
