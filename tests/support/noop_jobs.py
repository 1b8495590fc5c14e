"""Jobs that only prove that orchestration works: they wait, publish, or fail in a stated way.

Workers find them by the entry `tiny_jobs.ENTRY`; the tests' folder is on the path of every process that a test starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refers_bench.errors import DataError, Interrupted, NotFiniteLoss
from refers_bench.files import publish_json, read_json
from refers_bench.jobs import entry, interruption
from refers_bench.jobs.record import Record
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Ways to fail that a specification may ask for under ``fail``.
FAILURES = ("memory", "nan", "data", "bug", "mistake", "exit", "kill", "hang")
#: Seconds of a step of a job that saves its state.
_STEP_S = 0.1

#: The entry of workers that know no-op jobs besides the package's own.
run = entry.run
entry.RECIPES = {**entry.RECIPES, "noop": "noop_jobs:noop"}


def noop(job: Mapping[str, Any], context: JobContext) -> None:
    """Sleep ``spec["sleep"]`` seconds, then fail as ``spec["fail"]`` says, or publish a record.

    ``spec["fail_attempts"]`` (default: all) limits failing to the first attempts, counted in the work folder. With
    ``spec["saves"]`` it notes how far it is, saves that when preempted, and resumes from there.
    ``spec["diary"]`` names a file that gets a line when it begins and when it ends well; ``spec["allocate_mb"]`` is
    memory that it fills while it sleeps; ``spec["deaf"]`` makes it ignore signals of preemption.
    """
    spec, store = job["spec"], ResultStore(context.results)
    record = Record(job, store, context)
    _note(spec, "began", job)
    for number in interruption.SIGNALS if spec.get("deaf") else ():
        signal.signal(number, signal.SIG_IGN)
    filled = bytearray(b"x") * (int(spec.get("allocate_mb", 0)) << 20)
    if spec.get("saves"):
        _steps(float(spec["sleep"]), store.work_folder(job["key"]))
    else:
        time.sleep(float(spec.get("sleep", 0)))
    del filled
    if spec.get("fail") and _attempt(store, job["key"]) <= spec.get("fail_attempts", float("inf")):
        _fail(str(spec["fail"]))
    with record.published({"echo": spec.get("echo")}):
        pass
    _note(spec, "ended", job)


def _note(spec: Mapping[str, Any], what: str, job: Mapping[str, Any]) -> None:
    """One line, whole beside those of other processes."""
    if "diary" in spec:
        line = {
            "what": what,
            "name": job["name"],
            "time": time.time(),
            "pid": os.getpid(),
            "slurm": os.environ.get("SLURM_ARRAY_TASK_ID"),
            "node": os.environ.get("SLURMD_NODENAME"),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        with Path(spec["diary"]).open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


def _steps(seconds: float, work: Path) -> None:
    """Sleep in steps, from where an earlier attempt stopped.

    Raises:
        Interrupted: it was preempted, and has saved how far it is.
    """
    state, step, steps = work / "state.json", 0, round(seconds / _STEP_S)
    with contextlib.suppress(FileNotFoundError):
        step = read_json(state)
    with interruption.caught() as preempted:
        while step < steps:
            time.sleep(_STEP_S)
            step += 1
            publish_json(work / "progress.json", {"step": step, "steps": steps, "losses": {}})
            if preempted():
                publish_json(state, step)
                raise Interrupted(f"saved at step {step}")


def _attempt(store: ResultStore, key: str) -> int:
    """1 for the first attempt, one more each time."""
    counter = store.work_folder(key) / "attempts"
    counter.parent.mkdir(parents=True, exist_ok=True)
    attempt = 1 + (int(counter.read_text()) if counter.exists() else 0)
    counter.write_text(str(attempt))
    return attempt


def _fail(how: str) -> None:
    match how:
        case "memory":
            raise MemoryError("asked for by the job")
        case "nan":
            raise NotFiniteLoss("asked for by the job")
        case "data":
            raise DataError("asked for by the job")
        case "exit":
            os._exit(13)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "bug":
            raise RuntimeError("asked for by the job")
        case "mistake":
            raise KeyError("asked for by the job")
        case _:
            raise ValueError(f"unknown failure {how!r}; allowed: {', '.join(FAILURES)}")
