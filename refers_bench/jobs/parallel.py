"""How does one job run in several processes of one machine: torchrun around the same recipe?"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
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

from refers_bench import plugins
from refers_bench.errors import DataError, Interrupted, NotFiniteLoss, UserError
from refers_bench.files import publish_json
from refers_bench.jobs import interruption
from refers_bench.jobs.entry import RECIPES
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Set for the processes of a job, so that they do not start processes of their own.
INSIDE = "REFERS_BENCH_PARALLEL_JOB"
#: What a process leaves where it fails, by the class of its error.
FAILURE = "failure-{rank}.json"
ERRORS: Mapping[str, type[Exception]] = {
    "NotFiniteLoss": NotFiniteLoss,
    "DataError": DataError,
    "UserError": UserError,
    "MemoryError": MemoryError,
    "OutOfMemoryError": torch.OutOfMemoryError,
    "Interrupted": Interrupted,
}
#: Seconds between looks at the processes.
LOOK_S = 0.5
#: Lines of its output that the message of a crash holds.
TAIL = 15


def inside() -> bool:
    """Whether this process is one of several of a job."""
    return INSIDE in os.environ


def launched(job: Mapping[str, Any], context: JobContext, *, processes: int) -> None:
    """Run a job in several processes and wait; they end with this process, whatever ends it.

    Raises:
        Interrupted: a signal told this process to make room; one of them has saved the state.
        UserError: more processes than GPUs.
        NotFiniteLoss: as one of the processes found.
        MemoryError: one of them ran out of memory.
        torch.OutOfMemoryError: one of them ran out of its GPU's memory.
        RuntimeError: one of them crashed, with the end of what it printed.
    """
    if context.device == "cuda" and torch.cuda.device_count() < processes:
        raise UserError(
            f"{processes} processes for {torch.cuda.device_count()} GPUs in this slot",
            allowed="as many GPUs as pretrain.processes",
        )
    folder = ResultStore(context.results).work_folder(str(job["key"])) / interruption.PROCESSES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fields = dataclasses.asdict(context)
    publish_json(
        folder / "job.json",
        {"job": dict(job), "context": {**fields, "results": str(context.results), "cache": str(context.cache)}},
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "--module",
        "refers_bench.jobs.parallel",
        str(folder),
    ]
    environment = {**os.environ, INSIDE: "1", "OMP_NUM_THREADS": str(context.threads)}
    with (folder / "output.txt").open("wb") as output, interruption.caught() as told:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_in_a_process,  # noqa: PLW1509
        )
        # Opened now: publishing removes the folder, and what the processes print belongs in the job's log.
        with (folder / "output.txt").open("rb") as printed:
            while (code := _ended(process)) is None:
                sys.stdout.write(printed.read().decode(errors="replace"))
                if told():
                    with contextlib.suppress(FileNotFoundError):  # published in this moment
                        (folder / interruption.STOP).touch()
            sys.stdout.write(printed.read().decode(errors="replace"))
            if code or list(folder.glob(FAILURE.format(rank="*"))):
                printed.seek(0)
                raise _failure(folder, code, printed.read().decode(errors="replace"))
    shutil.rmtree(folder, ignore_errors=True)  # publishing has removed it with the work folder


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Exit status, after a short wait; None while it runs."""
    try:
        return process.wait(LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def _in_a_process() -> None:
    """Before torchrun starts: a warning to the whole job must not end it, and it must not outlive the worker."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        # A signal when the worker dies, even by SIGKILL; torchrun ends its processes on it.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _failure(folder: Path, code: int, printed: str) -> Exception:
    for path in sorted(folder.glob(FAILURE.format(rank="*"))):
        found = json.loads(path.read_text())
        return ERRORS.get(found["error"], RuntimeError)(found["message"])
    tail = "\n".join(printed.splitlines()[-TAIL:])
    return RuntimeError(f"a process of the job ended with exit code {code}: {tail}")


def _note(folder: Path, error: Exception) -> None:
    """Tell the worker what this process ended with."""
    publish_json(folder / FAILURE.format(rank=dist.get_rank()), {"error": type(error).__name__, "message": str(error)})


def main(folder: Path) -> int:
    """One of the processes: join the others, run the recipe, leave a note of what went wrong."""
    content = json.loads((folder / "job.json").read_text())
    fields = content["context"]
    local = int(os.environ["LOCAL_RANK"])
    on_gpu = fields["device"].startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(local)
    device = f"cuda:{local}" if on_gpu else fields["device"]
    context = JobContext(
        **{**fields, "results": Path(fields["results"]), "cache": Path(fields["cache"]), "device": device}
    )
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        plugins.resolve(RECIPES[content["job"]["kind"]])(content["job"], context)
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
