"""What is a running training doing right now, for whoever watches from another process?"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench.files import publish_json

if TYPE_CHECKING:
    import torch

#: Seconds between two writes.
EVERY_S = 1.0
#: Seconds between two questions for a GPU's utilisation, and after which an answer is no longer waited for.
ASK_S, GIVE_UP_S = 10.0, 30.0


class ProgressFile:
    """Writes a small JSON file at most once a second, always whole: the view, where it runs, memory, time left.

    Args:
        path: where it appears.
        device: of the training, None for a job without torch; the memory of a GPU is torch's own count of this
            process, and its utilisation is told where ``nvidia-smi`` answers.
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
        self.begun = self.begun or (now, step)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        publish_json(
            self.path,
            {
                **view,
                **self.where,
                "peak_mem_bytes": memory,
                **self._left(now, step, view.get("steps", 0)),
                **self._gpu(now),
                "time": time.time(),
            },
        )
        self.written = now

    def _left(self, now: float, step: int, steps: int) -> dict[str, float]:
        """Seconds to the last step at this attempt's pace so far, validations included; absent at first."""
        since, first = self.begun or (now, step)
        return {"left_s": round((now - since) / (step - first) * (steps - step), 1)} if step > first else {}

    def _gpu(self, now: float) -> dict[str, Any]:
        if self.gpu is None:
            return {}
        import torch

        properties = torch.cuda.get_device_properties(self.gpu)
        busy = self.utilisation.percent(now)
        return {
            "gpu": {
                "name": properties.name,
                "mem_bytes": torch.cuda.memory_allocated(self.gpu),
                "peak_mem_bytes": torch.cuda.max_memory_allocated(self.gpu),
                "total_bytes": properties.total_memory,
                **({} if busy is None else {"utilisation_percent": busy}),
            }
        }


def _uuid(device: torch.device) -> str:
    """By which `nvidia-smi` knows a GPU, whatever CUDA_VISIBLE_DEVICES makes of its number; '' for unknown."""
    import torch

    found = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    return found if not found or found.startswith("GPU-") else f"GPU-{found}"


class Utilisation:
    """Share of the last moments in which a GPU was busy, asked for now and then without waiting for the answer.

    Args:
        uuid: of the GPU; '' asks nothing.
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
            self.answer = int(printed) if good else None
            self.question = None
        elif self.question is not None and now - self.asked > GIVE_UP_S:
            self.question.kill()
            self.answer, self.asks = None, False
        elif self.question is None and self.asks and now - self.asked >= ASK_S:
            self.asked = now
            self.question = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
            )
        return self.answer
