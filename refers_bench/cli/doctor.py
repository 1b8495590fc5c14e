"""What can this machine run: torch, devices, data roots, disk?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import click

from refers_bench.cli.settings import Settings

PACKAGES = ("torch", "transformers", "tokenizers", "timm", "torchvision", "pandas", "pyarrow", "pydicom")


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _packages() -> None:
    for name in PACKAGES:
        try:
            click.echo(f"  {name:<14}{importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            click.echo(f"  {name:<14}not installed")


def _devices() -> None:
    from refers_bench.plugins import resolve

    torch = resolve("torch:cuda")
    if not torch.is_available():
        click.echo("  CUDA          none: jobs run on the CPU")
        return
    for index in range(torch.device_count()):
        free, total = torch.mem_get_info(index)
        click.echo(f"  cuda:{index}        {torch.get_device_name(index)}, {free >> 30} of {total >> 30} GiB free")


def _folders(settings: Settings) -> None:
    for name, folder in (("results", settings.results), ("cache", settings.cache)):
        place = _existing(folder)
        writable = "writable" if os.access(place, os.W_OK) else "NOT WRITABLE"
        click.echo(f"  {name:<14}{folder}  ({writable}, {shutil.disk_usage(place).free >> 30} GiB free)")


@click.command("doctor")
@click.option("--no-torch", is_flag=True, help="Skip the devices: do not load torch.")
@click.pass_obj
def command(settings: Settings, no_torch: bool) -> None:
    """Show what this machine can run: packages, devices, folders, data roots.

    Exit code 2 when a data root that is set does not exist.
    """
    click.echo(f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
    click.echo("packages")
    _packages()
    if not no_torch:
        click.echo("devices")
        _devices()
    click.echo("folders")
    _folders(settings)
    click.echo("data roots")
    roots = settings.roots()
    missing = []
    for name, (path, origin) in sorted(roots.all().items()):
        present = path.is_dir() or path.is_file()
        click.echo(f"  {name:<20}{path}  ({origin}){'' if present else '  MISSING'}")
        if not present:
            missing.append(name)
    if not roots.all():
        click.echo("  none set: REFERS_BENCH_ROOT_<NAME>=FOLDER, or data_roots in the config file")
    if missing:
        raise click.exceptions.Exit(2)
