"""Blocks of commands on the pages of docs/, and a shell that runs them as a user would, far from the repository."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What stands before a block that no test runs, with the reason.
NOT_RUN = re.compile(r"<!-- not run in the tests: \S[^\n]* -->\n\Z")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
Shell = Callable[[str], subprocess.CompletedProcess[str]]


def all_blocks(page: Path) -> list[tuple[str, str, bool]]:
    """Language, text, and whether it is marked as not run, of each block of a page."""
    text = page.read_text(encoding="utf-8")
    return [(one[1], one[2], bool(NOT_RUN.search(text, 0, one.start()))) for one in _BLOCK.finditer(text)]


def blocks(page: str) -> list[str]:
    """The blocks of a page of docs/ that a shell runs."""
    found = [text for language, text, skipped in all_blocks(ROOT / "docs" / page) if language == "bash" and not skipped]
    assert found
    return found


def shell_in(folder: Path) -> Shell:
    """Runs lines of a shell in ``folder/work``, where the package is what an installation has of it."""
    site, bin_, home = (folder / name for name in ("site", "bin", "work"))
    shutil.copytree(ROOT / "refers_bench", site / "refers_bench")
    # In a wheel the manifests lie in the package.
    shutil.copytree(ROOT / "manifests", site / "refers_bench" / "manifests")
    bin_.mkdir()
    home.mkdir()
    for name, line in (("refers-bench", "-m refers_bench "), ("python", "")):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {line}"$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("REFERS_BENCH_")},
        "PATH": os.pathsep.join((str(bin_), os.environ["PATH"])),
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "OMP_NUM_THREADS": "1",
    }

    def run(lines: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", lines]
        return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)

    return run
