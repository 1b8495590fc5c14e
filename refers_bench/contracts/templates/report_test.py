"""Tests of template_name: run them with `pytest` after each change of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("template_name.py")


def refers_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as it is typed on the command line."""
    command = [sys.executable, "-m", "refers_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_keeps_the_contract_of_a_report() -> None:
    done = refers_bench("plugins", "check", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr
