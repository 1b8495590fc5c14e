"""How does a coordinator talk to the process that talks to Ray, and know that it is gone?"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from refers_bench.errors import UserError

#: Seconds to be connected.
CONNECT_S = 60.0
#: Seconds for the process to end by itself.
CLOSE_S = 10.0


class Link:
    """The process of `refers_bench.execution.ray.driver`, started and connected.

    Args:
        address: of the cluster.

    Raises:
        UserError: no Ray here, nobody at the address, or it cannot be used.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        #: Resources of each node that is alive.
        self.nodes: list[dict[str, float]] = []
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the link
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refers_bench.execution.ray.driver", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the coordinator
        )
        threading.Thread(target=self._listen, daemon=True, name="ray driver").start()
        try:
            self._connect()
        except BaseException:
            self.close(at_once=True)
            raise

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.put(json.loads(line))
        self._heard.put(None)

    def _connect(self) -> None:
        deadline = time.monotonic() + CONNECT_S
        while not self.nodes:
            if time.monotonic() > deadline:
                found = f"the Ray cluster at {self.address} does not let this run in within {CONNECT_S:g} s"
                raise UserError(found, allowed="the address of a head that runs")
            self.endings(0.5)

    def tell(self, do: str, **facts: Any) -> None:
        """Send a command; that nobody listens any more is heard from `endings`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **facts}) + "\n")
            self._process.stdin.flush()

    def endings(self, seconds: float) -> list[dict[str, Any]]:
        """Calls that have ended since, after at most so many seconds.

        Raises:
            UserError: the cluster is gone, or cannot be used.
        """
        ended: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while True:
            left = 0.0 if ended else max(0.0, until - time.monotonic())
            try:
                said = self._heard.get(timeout=left)
            except queue.Empty:
                return ended
            if said is None:
                self._heard.put(None)
                found = f"the Ray cluster at {self.address} is gone{self._last_words()}"
                raise UserError(found, allowed="the same command again, once its head runs")
            match said["say"]:
                case "refused":
                    raise UserError(said["found"], allowed=said["allowed"])
                case "connected":
                    self.address = said["address"]
                case "nodes":
                    self.nodes = said["nodes"]
                case "ended":
                    ended.append(said)

    def _last_words(self) -> str:
        """The end of what Ray printed."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:300]}" if lines else ""

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def close(self, *, at_once: bool = False) -> None:
        """End the process; Ray ends the calls that it has started.

        Args:
            at_once: do not wait for it to leave by itself.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(0.0 if at_once else CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
