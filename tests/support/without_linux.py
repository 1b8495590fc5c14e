"""Takes away from this process what Linux has and macOS has not, then runs commands of the product in it.

``python without_linux.py '[["validate", "smoke"], ...]'`` prints the exit code of each command. Other packages are
imported first: it is only this one that must not need Linux.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

#: Packages of others that the product imports on demand.
OTHERS = (
    *("click", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "numpy", "pandas"),
    *("pebble", "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "pyarrow.compute", "pyarrow.parquet"),
    *("pydantic", "pydicom", "rich.live", "ruamel.yaml", "safetensors.torch", "scipy.special", "timm", "tokenizers"),
    *("torch", "torch.distributed", "torchvision", "transformers.models.bert.modeling_bert"),
)
#: Module -> names that it has on Linux alone.
ABSENT: dict[Any, tuple[str, ...]] = {
    os: (
        *("copy_file_range", "eventfd", "fdatasync", "getrandom", "getresuid", "getxattr", "listxattr", "memfd_create"),
        *("pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "removexattr", "sched_getaffinity"),
        *("sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setscheduler"),
        *("setxattr", "splice", "POSIX_FADV_DONTNEED", "POSIX_FADV_SEQUENTIAL", "SCHED_BATCH", "SCHED_IDLE"),
    ),
    signal: ("SIGCLD", "SIGPOLL", "SIGPWR", "SIGRTMAX", "SIGRTMIN", "SIGSTKFLT", "sigtimedwait", "sigwaitinfo"),
    resource: ("prlimit", "RUSAGE_THREAD", "RLIMIT_NICE", "RLIMIT_OFILE", "RLIMIT_RTPRIO", "RLIMIT_SIGPENDING"),
    socket: ("AF_ALG", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"),
}
FOLDERS = ("/proc", "/sys")


def take_away() -> None:
    """Names, files and the platform's own name; what was imported before keeps what it found."""
    for module, names in ABSENT.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc, assignment]

    def absent(path: object) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        return any(text == folder or text.startswith(f"{folder}/") for folder in FOLDERS)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and absent(arguments[0]):
            raise FileNotFoundError(2, "as on macOS", str(arguments[0]))

    stat: Callable[..., os.stat_result] = os.stat

    def without(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if absent(path):
            raise FileNotFoundError(2, "as on macOS", str(path))
        return stat(path, *arguments, **more)

    sys.addaudithook(refuse)
    os.stat = without  # type: ignore[assignment]
    sys.platform = "darwin"


def import_all() -> int:
    """Import every module of the package but those that start something; how many."""
    import refers_bench

    names = [one.name for one in pkgutil.walk_packages(refers_bench.__path__, "refers_bench.")]
    # Contract tests need pytest, the driver of Ray needs Ray.
    names = [one for one in names if "__main__" not in one and ".contracts" not in one and not one.endswith(".driver")]
    for name in names:
        importlib.import_module(name)
    return len(names)


def main() -> None:
    """Run the commands of the first argument."""
    for name in OTHERS:
        importlib.import_module(name)
    commands = json.loads(sys.argv[1])
    take_away()
    from refers_bench.cli import main as command_line

    codes = []
    for command in commands:
        try:
            command_line(command)
        except SystemExit as end:
            codes.append(end.code)
    print("IMPORTED", import_all())
    print("CODES", json.dumps(codes))


if __name__ == "__main__":
    main()
