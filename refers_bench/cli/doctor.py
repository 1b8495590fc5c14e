"""Shows what this machine can run: packages, devices, folders, data roots."""

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from refers_bench.cli.echo import echo
from refers_bench.errors import nearest
from refers_bench.execution.settings import Settings
from refers_bench.manifest import declared
from refers_bench.manifest.roots import PREFIX, VARIABLES, config_path
from refers_bench.plugins import resolve
from refers_bench.store.provenance import version

OURS = "REFERS_BENCH_"
#: Variables that are no roots, without what all begin with.
ALL = [name.removeprefix(OURS) for name in VARIABLES]
PACKAGES = ("torch", "transformers", "tokenizers", "timm", "torchvision", "pandas", "pyarrow", "pydicom")


def _devices() -> None:
    torch = resolve("torch:cuda")
    if not torch.is_available():
        echo("  CUDA          none: jobs run on the CPU")
        return
    for index in range(torch.device_count()):
        free, total = torch.mem_get_info(index)
        echo(f"  cuda:{index}        {torch.get_device_name(index)}, {free >> 30} of {total >> 30} GiB free")


def _why_not(place: Path) -> str:
    """Why nothing can be written to a place that exists; '' where it can."""
    if not place.is_dir():
        return f"{place} is no folder"
    # Rights do not tell: a file system may be read-only, or none for files.
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=place):
        return ""
    return f"nothing can be written to {place}"


def misspelt(environment: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """A sentence on each variable of ours that nothing reads, or that is nearly one that something reads."""
    said = []
    for variable in sorted(one for one in environment if one.startswith(OURS)):
        root = variable.startswith(PREFIX)
        start = PREFIX if root else OURS
        name, names = variable.removeprefix(start), [one.upper() for one in known] if root else ALL
        close = nearest(name, names)
        # A manifest may want a root of any name.
        if name not in names and (close or not root):
            said.append(f"nothing reads {variable}" + (f"; did you mean {start}{close}?" if close else ""))
    return said


@click.command("doctor")
@click.option("--no-torch", is_flag=True, help="Skip the devices: do not load torch.")
@click.pass_obj
def command(settings: Settings, no_torch: bool) -> int:
    """Show what this machine can run: packages, devices, folders, data roots and the names that manifests can want.

    \b
    Exit codes: 0 fine, 1 results or cache cannot be written, 2 a data root that is set does not exist.
    """
    echo(f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
    echo("packages")
    for name in PACKAGES:
        echo(f"  {name:<14}{version(name) or 'not installed'}")
    if not no_torch:
        echo("devices")
        _devices()
    echo("folders")
    reasons = {}
    for name, folder in {"results": settings.results, "cache": settings.cache}.items():
        place = next(each for each in (folder, *folder.parents) if each.exists())
        reason = reasons[name] = _why_not(place)
        state = f"NOT WRITABLE: {reason}" if reason else f"writable, {shutil.disk_usage(place).free >> 30} GiB free"
        echo(f"  {name:<14}{folder}  ({state})")
    config = config_path()
    echo(f"  {'config':<14}{config}{'' if config.is_file() else '  (no such file)'}")
    echo("data roots")
    roots, datasets = settings.roots().all(), declared.datasets()
    for name, (path, origin) in sorted(roots.items()):
        echo(f"  {name:<20}{path}  ({origin}){'' if path.exists() else '  MISSING'}")
    if rest := [name for name in datasets if name not in roots]:
        echo(f"  not set: {', '.join(rest)}")
    echo(f"  a manifest may want others: {PREFIX}<NAME>=PATH, or data_roots in the config file, sets any name")
    configured = [name for name, (_, origin) in roots.items() if not origin.startswith("$")]
    for sentence in misspelt(os.environ, [*datasets, *configured]):
        echo(f"  {sentence}")
    if any(reasons.values()):
        return 1
    return 0 if all(path.exists() for path, _ in roots.values()) else 2
