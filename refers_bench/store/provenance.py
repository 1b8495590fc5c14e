"""Collects the circumstances of a computation, which are recorded beside its result and never part of its key."""

import functools
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import refers_bench

PACKAGES = (
    *("numpy", "pandas", "pillow", "pyarrow", "safetensors"),
    *("scipy", "timm", "tokenizers", "torch", "transformers"),
)


def git_state(folder: Path) -> dict[str, Any]:
    """Commit and cleanliness of the checkout that holds `folder`, or the reason why there is none."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError) as error:
        return {"commit": None, "reason": f"no git state: {type(error).__name__}"}


def version(package: str) -> str:
    """Version of an installed package; '' where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def packages() -> dict[str, str]:
    """Versions of what can move a number, and of this package."""
    found = {"refers-bench": refers_bench.__version__, "python": platform.python_version()}
    return found | {name: installed for name in PACKAGES if (installed := version(name))}


def hardware() -> dict[str, Any]:
    """Processor, cores and memory; GPUs are added by the job, which has torch loaded."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    found = re.search(r"^model name[^:\n]*:(.*)$", text, flags=re.MULTILINE)
    model = found[1].strip() if found else platform.processor() or platform.machine()
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": model, "cores": os.cpu_count(), "memory_bytes": pages * size, "platform": platform.platform()}


def scheduler() -> dict[str, Any]:
    """The cluster's own name of what runs this process, and how often it went back to the queue; empty without one."""
    if "SLURM_JOB_ID" not in os.environ:
        return {}
    array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    task = f"{array}_{number}" if array else os.environ["SLURM_JOB_ID"]
    node, restarts = os.environ.get("SLURMD_NODENAME", ""), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    return {"scheduler": {"name": "slurm", "task": task, "node": node, "restarts": restarts}}


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@functools.cache
def _unchanging() -> dict[str, Any]:
    return {"git": git_state(Path.cwd()), "packages": packages(), "hardware": hardware()}


def provenance(**more: Any) -> dict[str, Any]:
    """Everything to record beside a result, with the job's own additions."""
    return {**_unchanging(), **scheduler(), **more}
