"""Tests of template_name: run them with `pytest` after each change of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("template_name.yaml")


def refers_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as it is typed on the command line."""
    command = [sys.executable, "-m", "refers_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_right() -> None:
    done = refers_bench("validate", str(FILE))
    assert done.returncode == 0, done.stderr


def test_it_can_be_planned() -> None:
    done = refers_bench("plan", str(FILE), "--no-write")
    assert done.returncode == 0, done.stderr
    assert "unavailable (" not in done.stdout, done.stdout
