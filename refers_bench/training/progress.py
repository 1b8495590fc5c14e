"""Writes what a running job is doing now to a small file, for progress views in other processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench.files import publish_json
from refers_bench.store.provenance import peak_memory_bytes

if TYPE_CHECKING:
    import torch

#: Seconds between two writes.
EVERY_S = 1.0
#: Seconds between two queries of a GPU's utilisation, and after which a query without an answer is given up.
ASK_S, GIVE_UP_S = 10.0, 30.0


class ProgressFile:
    """Writes a small JSON file at most once a second, always whole: the view, where it runs, memory, time left.

    Args:
        path: where it appears.
        device: of the training, None for a job without torch; the memory of a GPU is torch's own count of this
            process, and its utilisation is reported where ``nvidia-smi`` answers.
    """

    def __init__(self, path: Path, *, device: torch.device | None = None) -> None:
        self.path = path
        self.written = float("-inf")
        self.begun: tuple[float, int] | None = None
        self.gpu = device if device is not None and device.type == "cuda" else None
        self.utilisation = Utilisation(_uuid(self.gpu) if self.gpu else "")
        self.where = {"host": socket.gethostname(), "pid": os.getpid(), "device": str(device or "cpu")}

    def __call__(self, view: Mapping[str, Any]) -> None:
        """Publish `view` unless the last one is younger than a second."""
        now = time.monotonic()
        if now - self.written < EVERY_S:
            return
        step = view.get("step", 0)
        since, first = self.begun = self.begun or (now, step)
        content = {**view, **self.where, "peak_mem_bytes": peak_memory_bytes()}
        if step > first:  # at this attempt's pace so far, validations included
            content["left_s"] = round((now - since) / (step - first) * (view.get("steps", 0) - step), 1)
        publish_json(self.path, {**content, **self._gpu(now), "time": time.time()})
        self.written = now

    def _gpu(self, now: float) -> dict[str, Any]:
        if self.gpu is None:
            return {}
        import torch

        properties = torch.cuda.get_device_properties(self.gpu)
        found = {
            "name": properties.name,
            "mem_bytes": torch.cuda.memory_allocated(self.gpu),
            "peak_mem_bytes": torch.cuda.max_memory_allocated(self.gpu),
            "total_bytes": properties.total_memory,
        }
        if (busy := self.utilisation.percent(now)) is not None:
            found["utilisation_percent"] = busy
        return {"gpu": found}


def _uuid(device: torch.device) -> str:
    """The id of a GPU for `nvidia-smi`, whatever number CUDA_VISIBLE_DEVICES gives it; '' where it is unknown."""
    import torch

    found = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    return found if not found or found.startswith("GPU-") else f"GPU-{found}"


class Utilisation:
    """Share of the last moments in which a GPU was busy, queried now and then without waiting for the answer.

    Args:
        uuid: of the GPU; '' queries nothing.
    """

    def __init__(self, uuid: str) -> None:
        self.command = ["nvidia-smi", f"--id={uuid}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        self.asks = bool(uuid) and shutil.which("nvidia-smi") is not None
        self.asked = float("-inf")
        self.question: subprocess.Popen[str] | None = None
        self.answer: int | None = None

    def percent(self, now: float) -> int | None:
        """The last answer, 0 to 100; None before the first one, and where there is none.

        Args:
            now: monotonic time in seconds.
        """
        if self.question is not None and self.question.poll() is not None:
            printed, _ = self.question.communicate()
            good = self.question.returncode == 0 and printed.strip().isdigit()
            self.answer, self.question = int(printed) if good else None, None
        elif self.question is not None and now - self.asked > GIVE_UP_S:
            self.question.kill()
            self.answer, self.asks = None, False
        elif self.question is None and self.asks and now - self.asked >= ASK_S:
            self.asked = now
            self.question = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
            )
        return self.answer
