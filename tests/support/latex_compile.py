"""Compiles what a report writes as LaTeX, where pdflatex is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PDFLATEX = shutil.which("pdflatex")


def compiled(folder: Path, name: str, *, times: int = 1) -> str:
    """The log of a compile that must succeed; twice where references are to be resolved."""
    if PDFLATEX is None:
        pytest.skip("pdflatex is not on the PATH")
    for _ in range(times):
        done = subprocess.run(
            [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name],
            cwd=folder, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
    log = (folder / name).with_suffix(".log").read_text(errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*(?:\n.*){4}", log, re.MULTILINE)[:2]
    return log
