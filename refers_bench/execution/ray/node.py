"""Runs a batch of jobs in a Ray worker, and stops when its coordinator asks for it or no longer runs."""

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from refers_bench import __version__
from refers_bench.errors import StorageError
from refers_bench.execution import task
from refers_bench.execution.background import repeat

#: Content of the flag while jobs are to run; any other content, and a flag that is gone, makes them save and end.
RUN = "run"
#: Seconds between two checks of the flag; it is opened each time, which shows its newest content on NFS, too.
LOOK_S = 1.0


def work(*, batch: str, flag: str, shared: list[str], version: str, gpus: float) -> dict[str, Any]:
    """Run a batch, and return whether that was possible here; what became of its jobs is in the store.

    Args:
        batch: file of a `refers_bench.execution.task.Batch`.
        flag: file that contains `RUN` while its coordinator runs and wants the jobs.
        shared: files that the coordinator has put into folders which every node must see.
        version: of refers-bench at the coordinator.
        gpus: GPUs, or the share of one, that Ray reserves for this call.
    """
    node = socket.gethostname()
    if version != __version__:
        found = f"node {node} has refers-bench {__version__}, and this run is one of {version}"
        return {"unusable": found, "allowed": "the same installation on every node", "node": node}
    for path in [*shared, flag]:
        if not Path(path).is_file():
            found = f"node {node} does not see {Path(path).parent}"
            return {"unusable": found, "allowed": "results and cache on a file system of all nodes", "node": node}
    # Workers would import the script of their parent's process, which here is Ray's and takes a second each time.
    vars(sys.modules["__main__"]).pop("__file__", None)
    if gpus:
        import ray

        # Ray sets it, too, unless its site forbids it.
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, ray.get_gpu_ids()))
    if not _wanted(Path(flag)):
        return {"settled": [], "node": node}
    stop = threading.Event()

    def look() -> bool:
        if not _wanted(Path(flag)):
            stop.set()
        return stop.is_set()

    end_watch = repeat(look, LOOK_S)
    try:
        outcome = task.run(task.Batch.read(Path(batch)), stop=stop)
    except StorageError as error:
        return {"storage": str(error), "node": node}
    finally:
        end_watch()
    return {"settled": [*outcome.done, *outcome.failed], "node": node}


def _wanted(flag: Path) -> bool:
    try:
        return flag.read_text(encoding="utf-8").startswith(RUN)
    except FileNotFoundError:
        return False
