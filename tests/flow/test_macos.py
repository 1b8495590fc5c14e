"""Nothing that the product does at import, in light commands or in a run on the CPU needs Linux.

No Mac has been at hand: on Linux, all that macOS lacks is taken away from a process, which then runs the commands.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import without_linux

SMALL = """
version: 1
protocol: {preset: smoke, overrides: {pretrain: &short {steps: 2, warmup_steps: 1, validate_every: 2}, finetune: *short}}
data: {phantom: {phantom: {seed: 4, studies: 24, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [lsp_transformer]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
FILES = {"small.yaml": SMALL}
COMMANDS = (
    ["validate", "smoke"],
    ["plan", "smoke"],
    ["doctor", "--no-torch"],
    ["run", "small.yaml", "--executor", "debug"],
    ["report", "small", "--format", "html", "--format", "csv"],
    ["status"],
)


def test_without_what_macos_lacks(home: Path) -> None:
    command = [sys.executable, without_linux.__file__, json.dumps(COMMANDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    codes = json.loads(done.stdout.rpartition("CODES ")[2])
    assert codes == [0] * len(COMMANDS), done.stdout + done.stderr
    assert int(done.stdout.rpartition("IMPORTED ")[2].split()[0]) > 300
    assert "lsp_transformer" in (home / "results" / "small" / "report" / "tidy-cells.csv").read_text()


def test_what_is_taken_away_is_missed(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    program = (
        "import os, signal, sys; from pathlib import Path; import without_linux; without_linux.take_away()\n"
        "assert not hasattr(os, 'sched_getaffinity') and not hasattr(signal, 'SIGRTMIN')\n"
        "assert sys.platform == 'darwin' and not Path('/proc/self/stat').exists()\n"
        "try: Path('/proc/cpuinfo').read_text()\n"
        "except FileNotFoundError: print('missed')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "missed\n"
