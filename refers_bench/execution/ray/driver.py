"""How does a process of its own talk to a Ray cluster: commands in, what happened out, a JSON line each?

Ray prints to the standard output, takes over signals, waits more than a minute for a head that is not there, and ends
its process when the head is gone. None of that may happen to a coordinator, so it lives here; when the coordinator is
gone this process ends, and Ray stops what it has started.

In: ``start`` (a batch and what it needs), ``cancel``. Out: ``connected``, ``nodes``, ``ended``, ``refused``.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from refers_bench import __version__

#: Seconds for a head to answer at all.
REACH_S = 5.0
#: Seconds between looks at which nodes there are.
NODES_S = 1.0
#: Seconds of one wait for calls to end; commands are read in between.
WAIT_S = 0.1


class Refused(Exception):
    """The cluster cannot be used: what was found, and what is allowed."""

    def __init__(self, found: str, allowed: str = "") -> None:
        super().__init__(found)
        self.found, self.allowed = found, allowed


def main() -> None:
    """Serve the process that started this one, until it closes its end."""
    # Whatever Ray prints goes where errors go; the lines have the standard output for themselves.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    commands: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(commands,), daemon=True, name="commands").start()
    try:
        _connect(sys.argv[1], out)
        _Driver(out, commands).serve()
    except Refused as refusal:
        say(out, "refused", found=refusal.found, allowed=refusal.allowed)
    # Without Ray's own farewell, which waits for calls that are still running.
    os._exit(0)


def say(out: TextIO, what: str, **facts: Any) -> None:
    """One line for the coordinator; this process ends when that is gone."""
    try:
        out.write(json.dumps({"say": what, **facts}) + "\n")
        out.flush()
    except BrokenPipeError:
        os._exit(0)


def _read(commands: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put(None)


# --- the connection -------------------------------------------------------------------------------------------------


def _connect(address: str, out: TextIO) -> None:
    """Join the cluster at this address.

    Raises:
        Refused: nobody there, another version, or this machine is no part of it.
    """
    try:
        import ray
    except ImportError as error:
        raise Refused(f"Ray cannot be loaded ({error})", "pip install 'refers-bench[ray]' on every node") from error
    if found := _address(address):
        _reach(*found)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="refers-bench")
    except (ConnectionError, RuntimeError, ValueError, OSError, SystemExit) as error:
        raise Refused(*_why(address, error)) from error
    say(out, "connected", address=ray.get_runtime_context().gcs_address)


def _why(address: str, error: BaseException) -> tuple[str, str]:
    """What a refusal of Ray means, and what is allowed."""
    text = " ".join(str(error).split())
    if "Version mismatch" in text:
        return f"the Ray cluster at {address} runs other versions: {text}", "the same Ray and Python on every node"
    if isinstance(error, ConnectionError) and address == "auto":
        return "no Ray cluster runs on this machine", "an address host:port, or 'ray start' before"
    return (
        f"the Ray cluster at {address} cannot be joined: {text or type(error).__name__}",
        "a command on one of its nodes",
    )


def _address(address: str) -> tuple[str, int] | None:
    """Host and port that Ray is going to ask, as far as that is known beforehand.

    Raises:
        Refused: it is none.
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
        raise Refused(f"Ray address '{address}'{origin}", "auto, or host:port of the head, such as 10.0.0.5:6379")
    return host.strip("[]"), int(port)


def _reach(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=REACH_S).close()
    except OSError as error:
        raise Refused(
            f"no Ray cluster answers at {host}:{port} ({error})",
            "the address of a head that runs; 'ray status' on one of its nodes shows it",
        ) from error


# --- calls ----------------------------------------------------------------------------------------------------------


class _Driver:
    """Calls that run on the cluster, by the id that the coordinator gave them."""

    def __init__(self, out: TextIO, commands: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        import ray

        from refers_bench.execution.ray import node as ray_node

        self.ray, self.out, self.commands = ray, out, commands
        # No second attempt by Ray, which nobody would hear of; workers stay, so that torch is imported once in each.
        self.remote = ray.remote(max_retries=0, max_calls=0)(ray_node.work)
        self.running: dict[Any, str] = {}
        self.nodes: list[dict[str, float]] | None = None
        self.looked = 0.0

    def serve(self) -> None:
        """Until the coordinator closes its end."""
        while True:
            self.look()
            while True:
                try:
                    command = self.commands.get(timeout=0.0 if self.running else WAIT_S)
                except queue.Empty:
                    break
                if command is None:
                    return
                self.obey(command)
            if self.running:
                ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=WAIT_S)
                if ended:  # and whatever else has
                    ended, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
                for call in ended:
                    say(self.out, "ended", id=self.running.pop(call), **self.ending(call))

    def look(self) -> None:
        """Tell the resources of each node that is alive, when they have changed."""
        now = time.monotonic()
        if self.nodes is not None and now - self.looked < NODES_S:
            return
        self.looked = now
        nodes = [dict(sorted(node["Resources"].items())) for node in self.ray.nodes() if node["Alive"]]
        nodes.sort(key=str)
        if nodes != self.nodes:
            self.nodes = nodes
            say(self.out, "nodes", nodes=nodes)

    def obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "start":
            options = {"num_gpus": command["gpus"], "num_cpus": command["cpus"], "resources": command["resources"]}
            if command["memory"]:
                options["memory"] = int(command["memory"])
            call = self.remote.options(name=command["name"], **options).remote(
                batch=command["batch"],
                flag=command["flag"],
                shared=command["shared"],
                version=__version__,
                gpus=command["gpus"],
            )
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
    """The first sentence of what Ray says, which is long."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:500]


if __name__ == "__main__":
    main()
