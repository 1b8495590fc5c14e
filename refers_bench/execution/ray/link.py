"""Connects a coordinator with the process that talks to Ray, and notices when that process ends."""

import contextlib
import multiprocessing
import subprocess
import sys
import tempfile
import time
from typing import Any

from refers_bench.errors import UserError
from refers_bench.machine import environment

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
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the link
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refers_bench.execution.ray.driver", address, str(theirs.fileno())],
            env=environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,  # closed with this process, which ends that one
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for the coordinator
        )
        theirs.close()
        deadline = time.monotonic() + CONNECT_S
        try:
            while not self.nodes:
                if time.monotonic() > deadline:
                    found = f"the Ray cluster at {address} does not let this run in within {CONNECT_S:g} s"
                    raise UserError(found, allowed="the address of a head that runs")
                self.endings(0.5)
        except BaseException:
            self.close(at_once=True)
            raise

    def send(self, do: str, **facts: Any) -> None:
        """Send a command; when the process has ended, `endings` raises."""
        with contextlib.suppress(OSError):
            self._pipe.send({"do": do, **facts})

    def endings(self, seconds: float) -> list[dict[str, Any]]:
        """Calls that have ended since, after at most so many seconds.

        Raises:
            UserError: the cluster is gone, or cannot be used.
        """
        ended: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while self._pipe.poll(0.0 if ended else max(0.0, until - time.monotonic())):
            try:
                report = self._pipe.recv()
            except (EOFError, OSError) as error:
                found = f"the Ray cluster at {self.address} is gone{self._last_words()}"
                raise UserError(found, allowed="the same command again, once its head runs") from error
            match report["say"]:
                case "refused":
                    raise UserError(report["found"], allowed=report["allowed"])
                case "connected":
                    self.address = report["address"]
                case "nodes":
                    self.nodes = report["nodes"]
                case "ended":
                    ended.append(report)
        return ended

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
            at_once: do not wait for it to end by itself.
        """
        self._pipe.close()
        try:
            self._process.wait(0.0 if at_once else CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.communicate()
        self._log.close()
