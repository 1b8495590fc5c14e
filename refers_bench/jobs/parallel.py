"""Runs one job in several processes of one machine, with torchrun around the same recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from refers_bench.errors import DataError, Interrupted, NotFiniteLoss, UserError
from refers_bench.files import publish_json, read_json
from refers_bench.jobs import entry, interruption
from refers_bench.machine import environment, exit_with_parent, killed_with_parent
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Set for the processes of a job, so that they do not start processes of their own.
INSIDE = "REFERS_BENCH_PARALLEL_JOB"
#: What a process leaves where it fails: the class and the message of its error, which becomes the job's.
FAILURE = "failure-{rank}.json"
ERRORS: Mapping[str, type[Exception]] = {
    error.__name__: error
    for error in (NotFiniteLoss, DataError, UserError, MemoryError, torch.OutOfMemoryError, Interrupted)
}
#: Seconds between two looks at the processes.
LOOK_S = 0.5
#: Lines of its output that the message of a crash holds.
TAIL = 15


def inside() -> bool:
    """Whether this process is one of several of a job."""
    return INSIDE in os.environ


def launched(job: Mapping[str, Any], context: JobContext, *, processes: int) -> None:
    """Run a job in several processes and wait; they end with this process, whatever ends it.

    Raises:
        Interrupted: this process was preempted by a signal; one of them has saved the state.
        UserError: more processes than GPUs.
        NotFiniteLoss: as one of the processes found.
        MemoryError: one of them ran out of memory.
        torch.OutOfMemoryError: one of them ran out of its GPU's memory.
        RuntimeError: one of them crashed, with the end of what it printed.
    """
    if context.device == "cuda" and torch.cuda.device_count() < processes:
        found = f"{processes} processes for {torch.cuda.device_count()} GPUs in this slot"
        raise UserError(found, allowed="as many GPUs as pretrain.processes")
    folder = ResultStore(context.results).work_folder(str(job["key"])) / interruption.PROCESSES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = {"results": str(context.results), "cache": str(context.cache)}
    publish_json(folder / "job.json", {"job": dict(job), "context": {**dataclasses.asdict(context), **paths}})
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    # Opened for reading now: publishing removes the folder, and what the processes print belongs in the job's log.
    with (
        interruption.caught() as signalled,
        (folder / "output.txt").open("wb") as output,
        (folder / "output.txt").open(encoding="utf-8", errors="replace", newline="") as printed,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", *torchrun, "--module", "refers_bench.jobs.parallel", str(folder)],
            env=environment(**{INSIDE: "1"}, OMP_NUM_THREADS=str(context.threads)),
            stdin=subprocess.PIPE,  # of its processes, too: they see when this one is gone
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_in_a_process,  # noqa: PLW1509
        )
        while (code := _ended(process)) is None:
            sys.stdout.write(printed.read())
            if signalled():
                with contextlib.suppress(FileNotFoundError):  # the result was published in this moment
                    (folder / interruption.STOP).touch()
        process.communicate()  # closes its standard input
        sys.stdout.write(printed.read())
        printed.seek(0)
        failures = sorted(folder.glob(FAILURE.format(rank="*")))
        if failures:
            found = read_json(failures[0])
            raise ERRORS.get(found["error"], RuntimeError)(found["message"])
        if code:
            tail = "\n".join(printed.read().splitlines()[-TAIL:])
            raise RuntimeError(f"a process of the job ended with exit code {code}: {tail}")
    shutil.rmtree(folder, ignore_errors=True)  # publishing has removed it with the work folder


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Exit status, after a short wait; None while it runs."""
    try:
        return process.wait(LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def _in_a_process() -> None:
    """Before torchrun starts: a warning signal to the whole job must not end it, and it must not outlive the worker."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    killed_with_parent(signal.SIGTERM)  # torchrun ends its processes on it


def _note(folder: Path, error: Exception) -> None:
    """Leave for the worker what this process ended with."""
    publish_json(folder / FAILURE.format(rank=dist.get_rank()), {"error": type(error).__name__, "message": str(error)})


def main(folder: Path) -> int:
    """One of the processes: join the others, run the recipe, leave a note of what went wrong."""
    exit_with_parent()
    content = read_json(folder / "job.json")
    job, fields = content["job"], content["context"]
    if on_gpu := fields["device"].startswith("cuda"):
        local = int(os.environ["LOCAL_RANK"])
        torch.cuda.set_device(local)
        fields["device"] = f"cuda:{local}"
    context = JobContext(**{**fields, "results": Path(fields["results"]), "cache": Path(fields["cache"])})
    context.use_plugins()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        entry.recipe_of(job["kind"])(job, context)
        dist.barrier()
    except Interrupted as error:
        # All of them stop after the same update, and none is a failure that torchrun should end the others for.
        _note(folder, error)
        dist.barrier()
    except Exception as error:
        _note(folder, error)
        raise
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
