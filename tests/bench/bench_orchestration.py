"""What does orchestration cost a job? No-op jobs through the whole way: claim, worker, publication, record.

Prints milliseconds a job, beside what publishing the same record costs alone in one process.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from refers_bench import identity
from refers_bench.execution.engine import PRELOAD, Settings, Slot
from refers_bench.execution.local import execute
from refers_bench.plan.lock import Job
from refers_bench.store.context import JobContext

SUPPORT = str(Path(__file__).parents[1] / "support")
sys.path.append(SUPPORT)
os.environ["PYTHONPATH"] = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)

import noop_jobs  # noqa: E402
from tiny_jobs import ENTRY  # noqa: E402


class Silent:
    """Listens to nothing."""

    def started(self, job: Job) -> None: ...
    def ended(self, job: Job, category: str, seconds: float, message: str) -> None: ...
    def tick(self, running: object, left: int) -> None: ...


def jobs(count: int) -> list[Job]:
    """No-op jobs; every tenth one is needed by the nine that follow."""
    made: list[Job] = []
    for number in range(count):
        spec = {"kind": "noop", "number": number}
        needs = (made[number - number % 10].key,) if number % 10 else ()
        made.append(Job(key=identity.key(spec), kind="noop", name=f"noop{number}", needs=needs, spec=spec))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone = JobContext(results=Path(folder) / "alone", cache=Path(folder) / "cache")
        start = time.perf_counter()
        for job in jobs(options.jobs):
            noop_jobs.run(
                {"key": job.key, "kind": job.kind, "name": job.name, "needs": [], "spec": dict(job.spec)}, alone
            )
        bare = time.perf_counter() - start

        def orchestrated(count: int, name: str) -> float:
            settings = Settings(
                results=Path(folder) / name, cache=Path(folder) / "cache", preload=PRELOAD,
                slots=[Slot(device="cpu")] * options.workers, entry=ENTRY,
            )  # fmt: skip
            begun = time.perf_counter()
            outcome = execute(jobs(count), settings, Silent())
            assert len(outcome.done) == count
            return time.perf_counter() - begun

        first = orchestrated(10, "few")  # starting the workers is paid once a run, not per job
        whole = orchestrated(options.jobs, "many")
    each = (whole - first) / (options.jobs - 10)
    print(f"{options.jobs} no-op jobs, {options.workers} workers: {1000 * each:.1f} ms a job after the first ten")
    print(f"publishing alone: {1000 * bare / options.jobs:.1f} ms a job, ratio {each / (bare / options.jobs):.2f}")
    print(f"first ten jobs with the start of the workers: {first:.2f} s")


if __name__ == "__main__":
    main()
