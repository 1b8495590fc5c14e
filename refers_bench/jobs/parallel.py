"""How does one job run in several processes of one machine: torchrun around the same recipe?"""

from __future__ import annotations

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
from refers_bench.errors import DataError, NotFiniteLoss, Problem, UserError
from refers_bench.files import publish_json
from refers_bench.jobs.entry import RECIPES
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Set for the processes of a job, so that they do not start processes of their own.
INSIDE = "REFERS_BENCH_PARALLEL_JOB"
#: What a process leaves where it fails, by the class of its error.
FAILURE = "failure-{rank}.json"
ERRORS: Mapping[str, type[Exception]] = {
    "NotFiniteLoss": NotFiniteLoss, "DataError": DataError, "UserError": UserError, "OutOfMemoryError": MemoryError,
    "MemoryError": MemoryError,
}  # fmt: skip
#: Lines of its output that the message of a crash holds.
TAIL = 15


def inside() -> bool:
    """Whether this process is one of several of a job."""
    return INSIDE in os.environ


def launched(job: Mapping[str, Any], context: JobContext, *, processes: int) -> None:
    """Run a job in several processes and wait; they end with this process, whatever ends it.

    Raises:
        UserError: more processes than GPUs.
        NotFiniteLoss: as one of the processes found.
        MemoryError: one of them ran out of memory.
        RuntimeError: one of them crashed, with the end of what it printed.
    """
    if context.device == "cuda" and torch.cuda.device_count() < processes:
        raise UserError(
            Problem(
                found=f"{processes} processes for {torch.cuda.device_count()} GPUs in this slot",
                allowed="as many GPUs as pretrain.processes",
            )
        )
    folder = ResultStore(context.results).work_folder(str(job["key"])) / "processes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fields = dataclasses.asdict(context)
    publish_json(
        folder / "job.json",
        {"job": dict(job), "context": {**fields, "results": str(context.results), "cache": str(context.cache)}},
    )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "--module", "refers_bench.jobs.parallel", str(folder),
    ]  # fmt: skip
    environment = {**os.environ, INSIDE: "1", "OMP_NUM_THREADS": str(context.threads)}
    with (folder / "output.txt").open("wb") as output:
        code = subprocess.run(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False, preexec_fn=_die_with_parent,
        ).returncode  # fmt: skip
    if code:
        raise _failure(folder, code)
    shutil.rmtree(folder, ignore_errors=True)  # publishing has removed it with the work folder


def _die_with_parent() -> None:
    """Ask Linux for a signal when the worker dies, even by SIGKILL; torchrun ends its processes on it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _failure(folder: Path, code: int) -> Exception:
    for path in sorted(folder.glob(FAILURE.format(rank="*"))):
        found = json.loads(path.read_text())
        return ERRORS.get(found["error"], RuntimeError)(found["message"])
    lines = (folder / "output.txt").read_text(errors="replace").splitlines()
    return RuntimeError(f"a process of the job ended with exit code {code}: " + "\n".join(lines[-TAIL:]))


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
    except Exception as error:
        publish_json(
            folder / FAILURE.format(rank=dist.get_rank()), {"error": type(error).__name__, "message": str(error)}
        )
        raise
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
