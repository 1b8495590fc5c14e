"""Talks to a Ray cluster in a process of its own: commands in, reports of what happened out, over a pipe.

Ray prints to the standard output, takes over signals, waits more than a minute for a head that is not there, and ends
its process when the head is gone. None of that may happen to a coordinator, so it happens here; when the coordinator
ends this process ends, and Ray stops what it has started.

In: ``start`` (a batch and what it needs), ``cancel``. Out: ``connected``, ``nodes``, ``ended``, ``refused``.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from refers_bench import __version__
from refers_bench.errors import UserError
from refers_bench.machine import exit_with_parent

#: Seconds for a head to answer at all.
REACH_S = 5.0
#: Seconds between two checks of which nodes there are.
NODES_S = 1.0
#: Seconds of one wait for calls to end; commands are read in between.
WAIT_S = 0.1


def main() -> None:
    """Serve the process that started this one, until it closes its end of the pipe."""
    exit_with_parent()
    pipe: Connection[Any, Any] = Connection(int(sys.argv[2]))
    try:
        report(pipe, "connected", address=_connected(sys.argv[1]))
        _Driver(pipe).serve()
    except UserError as error:
        problem = error.problems[0]
        report(pipe, "refused", found=problem.found, allowed=problem.allowed)
    # Without Ray's own clean-up, which waits for calls that are still running.
    os._exit(0)


def report(pipe: Connection[Any, Any], what: str, **facts: Any) -> None:
    """Report to the coordinator; this process ends when that has ended."""
    try:
        pipe.send({"say": what, **facts})
    except OSError:
        os._exit(0)


# --- the connection -------------------------------------------------------------------------------------------------


def _connected(address: str) -> str:
    """Join the cluster at this address; its address without "auto".

    Raises:
        UserError: nobody there, another version, or this machine is no part of it.
    """
    try:
        import ray
    except ImportError as error:
        allowed = "pip install 'refers-bench[ray]' on every node"
        raise UserError(f"Ray cannot be loaded ({error})", allowed=allowed) from error
    _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="refers-bench")
    except (ConnectionError, RuntimeError, ValueError, OSError, SystemExit) as error:
        raise _why(address, error) from error
    return str(ray.get_runtime_context().gcs_address)


def _why(address: str, error: BaseException) -> UserError:
    """What an error of Ray means, and what is allowed."""
    text = " ".join(str(error).split())
    if "Version mismatch" in text:
        found = f"the Ray cluster at {address} runs other versions: {text}"
        return UserError(found, allowed="the same Ray and Python on every node")
    if isinstance(error, ConnectionError) and address == "auto":
        return UserError("no Ray cluster runs on this machine", allowed="an address host:port, or 'ray start' before")
    found = f"the Ray cluster at {address} cannot be joined: {text or type(error).__name__}"
    return UserError(found, allowed="a command on one of its nodes")


def _address(address: str) -> tuple[str, int] | None:
    """Host and port that Ray is going to ask, if that is known beforehand.

    Raises:
        UserError: it is none.
    """
    origin = ""
    if address == "auto":
        current = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"
        if address := os.environ.get("RAY_ADDRESS", ""):
            origin = " (of $RAY_ADDRESS)"
        elif current.is_file():
            address, origin = current.read_text(encoding="utf-8").strip(), f" (of {current})"
        if address in ("", "auto"):
            return None
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        allowed = "auto, or host:port of the head, such as 10.0.0.5:6379"
        raise UserError(f"Ray address '{address}'{origin}", allowed=allowed)
    return host.strip("[]"), int(port)


def _reach(address: str) -> None:
    """Check that a head answers there.

    Raises:
        UserError: none does, or it is no address.
    """
    if (found := _address(address)) is None:
        return
    try:
        socket.create_connection(found, timeout=REACH_S).close()
    except OSError as error:
        allowed = "the address of a head that runs; 'ray status' on one of its nodes shows it"
        raise UserError(f"no Ray cluster answers at {found[0]}:{found[1]} ({error})", allowed=allowed) from error


# --- calls ----------------------------------------------------------------------------------------------------------


class _Driver:
    """Calls that run on the cluster, by the id that the coordinator gave them."""

    def __init__(self, pipe: Connection[Any, Any]) -> None:
        import ray

        from refers_bench.execution.ray import node as ray_node

        self.ray, self.pipe = ray, pipe
        # No second attempt by Ray, which nobody would notice; workers stay, so that torch is imported once in each.
        self.remote = ray.remote(max_retries=0, max_calls=0)(ray_node.work)
        self.running: dict[Any, str] = {}
        self.nodes: list[dict[str, float]] | None = None
        self.looked = 0.0

    def serve(self) -> None:
        """Until the coordinator closes its end."""
        while True:
            self.look()
            while self.pipe.poll(0.0 if self.running else WAIT_S):
                try:
                    command = self.pipe.recv()
                except (EOFError, OSError):
                    return
                self.obey(command)
            if self.running:
                ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=WAIT_S)
                if ended:  # and whatever else has
                    ended, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
                for call in ended:
                    report(self.pipe, "ended", id=self.running.pop(call), **self.ending(call))

    def look(self) -> None:
        """Report the resources of each node that is alive, when they have changed."""
        now = time.monotonic()
        if self.nodes is not None and now - self.looked < NODES_S:
            return
        self.looked = now
        nodes = [dict(sorted(node["Resources"].items())) for node in self.ray.nodes() if node["Alive"]]
        nodes.sort(key=str)
        if nodes != self.nodes:
            self.nodes = nodes
            report(self.pipe, "nodes", nodes=nodes)

    def obey(self, command: dict[str, Any]) -> None:
        """Start a call, or cancel some."""
        if command["do"] == "start":
            options = {"num_gpus": command["gpus"], "num_cpus": command["cpus"], "resources": command["resources"]}
            if command["memory"]:
                options["memory"] = int(command["memory"])
            given = {name: command[name] for name in ("batch", "flag", "shared", "gpus")}
            call = self.remote.options(name=command["name"], **options).remote(version=__version__, **given)
            self.running[call] = command["id"]
        else:
            for call in [call for call, one in self.running.items() if one in command["ids"]]:
                self.ray.cancel(call, force=False, recursive=False)

    def ending(self, call: Any) -> dict[str, Any]:
        """How a call ended: what it returned, or why it did not."""
        errors = self.ray.exceptions
        try:
            return {"how": "returned", "value": self.ray.get(call)}
        except errors.TaskCancelledError:
            return {"how": "cancelled"}
        except errors.OutOfMemoryError as error:
            return {"how": "host_oom", "message": _line(error)}
        except errors.RayTaskError as error:
            tail = str(error).splitlines()[-40:]
            if isinstance(error.cause, ImportError):
                return {"how": "unusable", "message": f"a node cannot load refers-bench ({error.cause})"}
            return {"how": "crash", "message": tail[-1] if tail else _line(error), "traceback": tail}
        except (errors.RuntimeEnvSetupError, errors.TaskUnschedulableError) as error:
            return {"how": "unusable", "message": _line(error)}
        except errors.RayError as error:  # worker or node gone, or what it returned
            return {"how": "lost", "message": _line(error)}


def _line(error: BaseException) -> str:
    """The first sentence of what Ray prints, which is long."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:500]


if __name__ == "__main__":
    main()
