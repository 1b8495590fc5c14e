"""Jobs that say when and where they ran: an entry for workers, found by the nodes of the tests' cluster on their path."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import noop_jobs
from refers_bench.store.context import JobContext


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Run a job; a line in ``watched.jsonl`` when it starts and one when its result is published."""
    _say(job, context, "start")
    if job["spec"].get("fail") == "ray worker" and context.attempt == 1:
        server = Path(f"/proc/{os.getppid()}/stat").read_text()  # workers' server, whose parent is Ray's process
        os.kill(int(server.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(60)
    plain = {name: value for name, value in job["spec"].items() if (name, value) != ("fail", "ray worker")}
    noop_jobs.run({**job, "spec": plain}, context)
    _say(job, context, "published")


def _say(job: Mapping[str, Any], context: JobContext, event: str) -> None:
    facts = {
        "name": job["name"], "event": event, "at": time.time(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "node": os.environ.get("TEST_NODE"), "attempt": context.attempt, "device": context.device,
    }  # fmt: skip
    with (context.results / "watched.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(facts) + "\n")
