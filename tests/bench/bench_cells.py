"""Do `plan` and `status` stand 100,000 cells? Whole processes: wall and CPU seconds and peak memory of each.

A manifest of 100 rows x 10 label ratios x 100 seeds on procedural radiographs is planned twice (without and with a
lock that stands), then looked at while most of it is done, some failed and one job running; the results are written in
bulk. Half of the rows pre-train.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from refers_bench.plan import lock
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore

ROOT = Path(__file__).resolve().parents[2]
RATIOS = 10
#: Of 100 jobs: these many done, and these many failed.
DONE, FAILED = 95, 2


def manifest(rows: int, seeds: int) -> str:
    """Rows that differ in their learning rate, so that no two share a job."""
    methods = [
        f"  - {{id: {'model_genesis' if row % 2 else 'scratch'}, name: row{row:03d}, "
        f"overrides: {{finetune: {{learning_rate: {0.001 * (row + 1):.6f}}}}}}}"
        for row in range(rows)
    ]
    ratios = ", ".join(f"{10 * (step + 1)}%" for step in range(RATIOS))
    return "\n".join([
        "version: 1", "protocol: {preset: smoke}", "data: {phantom: {phantom: {studies: 60, size: 40}}}",
        "source: {dataset: phantom}", "methods:", *methods,
        f"targets: [{{dataset: phantom, tasks: [findings], label_ratios: [{ratios}]}}]",
        f"seeds: [{', '.join(map(str, range(seeds)))}]", "",
    ])  # fmt: skip


def fill(results: Path, name: str) -> dict[str, int]:
    """Write records of most jobs, failures of some, and one claim with its progress; returns how many of each."""
    plan = lock.read(results / name / lock.LOCK)
    store, counts = ResultStore(results), {"done": 0, "failed": 0, "running": 0}
    store.root.mkdir(parents=True, exist_ok=True)
    for number, job in enumerate(plan.jobs):
        place = number % 100
        if place < DONE:
            folder = store.folder(job.key)
            folder.mkdir()
            record = {"version": 1, "key": job.key, "kind": job.kind, "name": job.name, "category": "ok", "wall_s": 1.0}
            (folder / "run.json").write_text(json.dumps(record))
            counts["done"] += 1
        elif place < DONE + FAILED:
            record = {"version": 1, "key": job.key, "category": "nan", "name": job.name, "message": "loss is NaN"}
            (store.root / f"{job.key}.failed.json").write_text(json.dumps(record))
            counts["failed"] += 1
        elif not counts["running"]:
            assert Leases(results).acquire(job.key)
            view = {"step": 3, "steps": 10, "losses": {"bce": 0.5}, "images_per_s": 10.0, "time": time.time()}
            folder = store.work_folder(job.key)
            folder.mkdir(parents=True)
            (folder / "progress.json").write_text(json.dumps(view))
            counts["running"] += 1
    return counts


def measured(what: str, command: list[str], folder: Path) -> str:
    """Run a command of ours in a process of its own, print what it cost, return what it printed."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
    program = [sys.executable, "-m", "refers_bench", "--results", str(folder / "results"), *command]
    start = time.perf_counter()
    child = subprocess.Popen(program, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, printed
    print(f"{what}: {wall:.2f} s wall, {usage.ru_utime:.2f} s user, {usage.ru_stime:.2f} s system, "
          f"peak {usage.ru_maxrss / 2**20:.2f} GiB", flush=True)  # fmt: skip
    return printed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.yaml").write_text(manifest(options.rows, options.seeds))
        cells = options.rows * RATIOS * options.seeds
        printed = measured(f"plan {cells:,} cells", ["plan", str(folder / "many.yaml")], folder)
        assert f"{cells}" in printed, printed
        size = (folder / "results" / "many" / lock.LOCK).stat().st_size
        print(f"plan.lock.json: {size / 2**20:.1f} MiB")
        measured("plan again, with the lock there", ["plan", str(folder / "many.yaml")], folder)
        counts = fill(folder / "results", "many")
        printed = measured(f"status of {counts}", ["status"], folder)
        print(printed.rstrip())
        measured("status --failed", ["status", "--failed"], folder)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; a bare start of the interpreter: "
              f"{bare():.2f} s; this process at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")  # fmt: skip


def bare() -> float:
    """Wall seconds of a start of the interpreter that does nothing."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
