"""Runs manifests on real data and keeps what they measured in `results/evidence`, without images or weights.

    python tests/evidence/collect.py real_frozen real_pretrain --results DIR --cache DIR

A manifest runs where its data roots are set; results that are there already are used. Where evidence of it was committed
before, the new figures are compared with it first. Its folder then holds the manifest, its lock, a baseline with the AUC
of every class of every cell, the digests of the label subsets, and the report as Markdown with its figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from refers_bench.store import plan
from refers_bench.store.results import ResultStore

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "results" / "evidence"
#: Manifests that are run without being told which.
ALL = ("real_frozen", "real_pretrain", "real_pretrain_nih", "real_language")


def subsets(planned: plan.Plan, store: ResultStore) -> dict[str, dict[str, object]]:
    """Name of each finished training or probe -> digest of its label subset, and its positive labels by class."""
    found = {}
    for job in planned.jobs:
        record = store.record(job.key)
        if record is not None and "subset" in record["facts"]:
            subset = record["facts"]["subset"]
            found[job.name] = {"digest": subset["digest"], "positives": subset["positives"]}
    return found


def collect(name: str, *, results: Path, cache: Path) -> int:
    """Run one manifest and keep its evidence; returns the exit code of the comparison with what was there."""
    manifest, folder = f"manifests/{name}.yaml", EVIDENCE / name
    command = [sys.executable, "-m", "refers_bench", "--results", str(results), "--cache", str(cache)]

    def call(*arguments: str) -> int:
        return subprocess.run([*command, *arguments], cwd=ROOT, check=False).returncode

    if code := call("run", manifest):
        return code
    baseline = folder / "baseline.json"
    compared = call("check", manifest, "--baseline", str(baseline)) if baseline.is_file() else 0
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    call("report", name, "--format", "markdown", "--out", str(folder))
    call("check", manifest, "--baseline", str(baseline), "--update", "--bands", "test-images")
    shutil.copy(ROOT / manifest, folder / "manifest.yaml")
    lock = results / name / plan.LOCK
    shutil.copy(lock, folder / plan.LOCK)
    text = json.dumps(subsets(plan.read(lock), ResultStore(results)), indent=1)
    (folder / "subsets.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        f"Measured by `nox -s evidence -- {name}` (`refers-bench run {manifest}`); `report.md` holds tables and figures.\n",
        encoding="utf-8",
    )
    return compared


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect the evidence of the manifests that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=ALL, help="of manifests in manifests/")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="results folder")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "refers-bench", help="cache folder")
    given = parser.parse_args(arguments)
    return max(collect(name, results=given.results.resolve(), cache=given.cache.resolve()) for name in given.names)


if __name__ == "__main__":
    sys.exit(main())
