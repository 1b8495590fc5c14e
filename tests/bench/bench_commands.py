"""How long do the light commands take, beside a bare interpreter start? Whole processes, median of several runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "refers-bench --help": [sys.executable, "-m", "refers_bench", "--help"],
    "refers-bench status": [sys.executable, "-m", "refers_bench", "status"],
    "refers-bench report --format markdown": [sys.executable, "-m", "refers_bench", "report", "--format", "markdown"],
    "refers-bench plan manifests/table1.yaml": [sys.executable, "-m", "refers_bench", "plan", "manifests/table1.yaml"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Print the median wall time of each command and its ratio to a bare interpreter start."""
    runs: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(6):  # the first round warms the file cache
        for name, command in COMMANDS.items():
            runs[name].append(seconds(command))
    bare = statistics.median(runs["python -c pass"][1:])
    for name, times in runs.items():
        middle = statistics.median(times[1:])
        print(f"{name:<42} {middle:6.3f} s  (x{middle / bare:.1f} of a bare start)")


if __name__ == "__main__":
    main()
