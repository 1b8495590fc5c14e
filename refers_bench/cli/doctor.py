"""Shows what this machine can run: packages, devices, folders, data roots."""

import os
import platform
import shutil

import click

from refers_bench.execution.settings import Settings
from refers_bench.plugins import resolve
from refers_bench.store.provenance import version

PACKAGES = ("torch", "transformers", "tokenizers", "timm", "torchvision", "pandas", "pyarrow", "pydicom")


def _devices() -> None:
    torch = resolve("torch:cuda")
    if not torch.is_available():
        click.echo("  CUDA          none: jobs run on the CPU")
        return
    for index in range(torch.device_count()):
        free, total = torch.mem_get_info(index)
        click.echo(f"  cuda:{index}        {torch.get_device_name(index)}, {free >> 30} of {total >> 30} GiB free")


@click.command("doctor")
@click.option("--no-torch", is_flag=True, help="Skip the devices: do not load torch.")
@click.pass_obj
def command(settings: Settings, no_torch: bool) -> None:
    """Show what this machine can run: packages, devices, folders, data roots.

    Exit code 2 when a data root that is set does not exist.
    """
    click.echo(f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
    click.echo("packages")
    for name in PACKAGES:
        click.echo(f"  {name:<14}{version(name) or 'not installed'}")
    if not no_torch:
        click.echo("devices")
        _devices()
    click.echo("folders")
    for name, folder in (("results", settings.results), ("cache", settings.cache)):
        place = next(each for each in (folder, *folder.parents) if each.exists())
        writable = "writable" if os.access(place, os.W_OK) else "NOT WRITABLE"
        click.echo(f"  {name:<14}{folder}  ({writable}, {shutil.disk_usage(place).free >> 30} GiB free)")
    click.echo("data roots")
    roots = settings.roots().all()
    for name, (path, origin) in sorted(roots.items()):
        click.echo(f"  {name:<20}{path}  ({origin}){'' if path.exists() else '  MISSING'}")
    if not roots:
        click.echo("  none set: REFERS_BENCH_ROOT_<NAME>=FOLDER, or data_roots in the config file")
    if not all(path.exists() for path, _ in roots.values()):
        raise click.exceptions.Exit(2)
